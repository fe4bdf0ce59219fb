// The experts of the default formulation: derivatives of the residual, the solve, and the whole loss through
// the implicit gradient against central differences, all in double.
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "src/experts/storage_mixture.hpp"
#include "src/pde/diffusion_sorption.hpp"

namespace rankine {
namespace {

constexpr int cells = 12, frames = 8, basis = 3;
constexpr double u0 = 0.11;

std::vector<double> graded_times(double duration) {
  std::vector<double> times(frames + 1);
  for (int j = 0; j <= frames; ++j) times[j] = duration * j * j / (frames * frames);
  return times;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// The exact discrete solution, disturbed, times smooth factors: the residual of their combinations is not
/// small, and their best combination stays away from u = 0, where the storage has its kink.
std::vector<double> some_fields(const StorageProblem& problem, unsigned seed) {
  const std::vector<double> exact = problem.solve_exactly();
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(0.5, 1.5);
  std::vector<double> fields(static_cast<size_t>(frames) * cells * basis);
  for (int i = 0; i < basis; ++i) {
    const double a = uniform(engine), b = uniform(engine);
    for (int j = 0; j < frames; ++j)
      for (int x = 0; x < cells; ++x) {
        const double s = (j + 1.0) / frames, y = (x + 0.5) / cells;
        const double shape = i == 0 ? 1 + 0.1 * a * std::cos(5 * y + 3 * s) : std::cos(b * i * y) + a * s;
        fields[(static_cast<size_t>(j) * cells + x) * basis + i] =
            (0.02 + exact[(j + 1) * cells + x]) * shape;
      }
  }
  return fields;
}

std::vector<Box> boxes(int experts) {
  return equal_boxes(frames, Grid({cells}, {1}), std::vector{1, experts});
}

class StorageProblemTest : public testing::Test {
 protected:
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  StorageModel model{pde, pde.grid({cells}), graded_times(500), 0.5, 2, {}};
  StorageProblem problem = model.sample(std::vector<double>(cells, u0));
};

TEST_F(StorageProblemTest, DerivativesOfTheResidualAgreeWithDifferences) {
  std::mt19937 engine(3);
  std::uniform_real_distribution<double> uniform(0.05, 0.9);
  std::vector<double> u(cells * (frames + 1)), v(problem.points()), s(problem.points()), w(problem.points());
  for (auto* field : {&u, &v, &s, &w})
    for (double& x : *field) x = uniform(engine);
  const auto moved = [&](double h) {
    std::vector<double> out(u);
    for (long p = 0; p < problem.points(); ++p) out[cells + p] += h * v[p];
    return out;
  };
  SchemePoint point = problem.at(u);
  std::vector<double> forward(problem.points()), back(problem.points());
  point.apply(v, 1, forward);
  point.apply_transpose(s, back);
  EXPECT_NEAR(dot(forward, s), dot(v, back), 1e-13 * std::abs(dot(forward, s)));

  const double h = 1e-6;
  const auto plus = problem.evaluate(moved(h)), minus = problem.evaluate(moved(-h));
  for (long p = 0; p < problem.points(); ++p) EXPECT_NEAR((plus[p] - minus[p]) / (2 * h), forward[p], 1e-7);

  std::vector<double> weight(problem.points()), at_plus(problem.points()), at_minus(problem.points());
  ASSERT_TRUE(point.curvature_weight(s, weight));
  problem.at(moved(h)).apply(w, 1, at_plus);
  problem.at(moved(-h)).apply(w, 1, at_minus);
  double exact = 0;
  for (long p = 0; p < problem.points(); ++p) exact += weight[p] * v[p] * w[p];
  EXPECT_NEAR((dot(s, at_plus) - dot(s, at_minus)) / (2 * h), exact, 1e-6 * std::abs(exact));
  point.second(s, v, back);
  EXPECT_NEAR(dot(back, w), exact, 1e-13 * std::abs(exact));
}

// Against an infinite residual every residual is small.
TEST_F(StorageProblemTest, ACorrectionThatStartsFromNothingFiniteHasDiverged) {
  for (const double start : {1e200, -1e200, std::numeric_limits<double>::max()}) {
    for (const int steps : {0, 1, 30}) {
      std::vector<double> u(cells * (frames + 1), u0);
      std::fill(u.begin() + cells, u.end(), start);
      const std::vector<double> before(u);
      const CorrectionReport report = problem.correct(u, {.steps = steps, .rtol = 1e-8});
      EXPECT_EQ(report.status, CorrectionStatus::diverged) << start << ", " << steps << " steps";
      EXPECT_FALSE(std::isfinite(report.residual_after));
      EXPECT_EQ(report.steps, 0);
      EXPECT_EQ(u, before);
    }
  }
}

TEST_F(StorageProblemTest, ExactSolutionHasNoResidualAndCorrectionConvergesToIt) {
  const std::vector<double> exact = problem.solve_exactly();
  for (double r : problem.evaluate(exact)) EXPECT_NEAR(r, 0, 1e-13);

  std::vector<double> u(exact);
  for (long p = 0; p < problem.points(); ++p)
    u[cells + p] *= 1 + 0.05 * std::sin(0.7 * static_cast<double>(p));
  double before = 0, after = 0, later = 0;
  const auto distance = [&](const std::vector<double>& a) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - exact[i]) * (a[i] - exact[i]);
    return std::sqrt(sum);
  };
  before = distance(u);
  problem.correct(u, {.steps = 1, .rtol = 0, .state = "frozen"});
  after = distance(u);
  problem.correct(u, {.steps = 40, .rtol = 0, .state = "frozen"});
  later = distance(u);
  EXPECT_LT(after, 0.6 * before);
  EXPECT_LT(later, 1e-6 * before);
}

struct Setting {
  int experts;
  Coupling coupling;
  Weighting rows, loss;
};

std::string name_of(const testing::TestParamInfo<Setting>& info) {
  const auto weighting = [](Weighting w) {
    return std::string(w == Weighting::plain ? "Plain" : w == Weighting::spatial ? "Spatial" : "Dual");
  };
  return "K" + std::to_string(info.param.experts) +
         (info.param.coupling == Coupling::assembled ? "Assembled" : "") + weighting(info.param.rows) +
         "Rows" + weighting(info.param.loss) + "Loss";
}

class MixtureGradient : public StorageProblemTest, public testing::WithParamInterface<Setting> {};

TEST_P(MixtureGradient, AgreesWithCentralDifferencesOfTheWholeLoss) {
  const auto [experts, coupling, rows, loss] = GetParam();
  SolverOptions options;
  options.max_steps = 400;
  options.atol = 1e-12;
  options.adjoint_damping = 0;
  const StorageMixture mixture(frames, Grid({cells}, {1}), 1, boxes(experts), basis, coupling, rows, options);
  std::vector<std::vector<long>> used;
  for (int s = 0; s < mixture.solves(); ++s) used.push_back(mixture.all_rows(s));
  const auto solve = [&](const std::vector<double>& fields) { return mixture.solve(problem, fields, used); };
  const auto loss_of = [&](const std::vector<double>& fields) {
    return problem.residual_norm(loss, solve(fields).u, {});
  };

  const std::vector<double> fields = some_fields(problem, 5);
  MixtureSolution solution = solve(fields);
  std::vector<double> u_bar(problem.points()), fields_bar(fields.size());
  problem.residual_norm(loss, solution.u, u_bar);
  mixture.pull_back(problem, fields, solution, u_bar, fields_bar);
  for (const SolveReport& report : solution.reports) {
    EXPECT_EQ(report.status, SolveStatus::converged) << report.reason;
    EXPECT_LE(report.gradient_norm, 1e-10);
  }
  for (double value : solution.u) EXPECT_GT(value, 0.002);

  std::mt19937 engine(11);
  std::normal_distribution<double> normal;
  for (int trial = 0; trial < 4; ++trial) {
    std::vector<double> direction(fields.size()), plus(fields), minus(fields);
    // Along the gradient, disturbed: a direction whose derivative is not lost in the rounding of the
    // differences.
    const double length = std::sqrt(dot(fields_bar, fields_bar));
    for (size_t i = 0; i < fields.size(); ++i)
      direction[i] = fields_bar[i] / length * (1 + 0.5 * normal(engine));
    const auto difference = [&](double step) {
      for (size_t i = 0; i < fields.size(); ++i) {
        plus[i] = fields[i] + step * direction[i];
        minus[i] = fields[i] - step * direction[i];
      }
      return (loss_of(plus) - loss_of(minus)) / (2 * step);
    };
    // Truncation grows with the step, rounding with its inverse: of three steps the best counts. A wrong
    // gradient fails all.
    const double analytic = dot(fields_bar, direction);
    double error = std::numeric_limits<double>::infinity();
    for (double h : {5e-5, 1e-5, 2e-6}) {
      const double central = (4 * difference(h) - difference(2 * h)) / 3;
      error = std::min(error, std::abs(analytic - central) / std::abs(central));
    }
    EXPECT_LE(error, 1e-6) << "direction " << trial;
  }
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Weighting rows : {Weighting::plain, Weighting::spatial, Weighting::dual})
    for (const Weighting loss : {Weighting::plain, Weighting::dual}) {
      all.push_back({1, Coupling::none, rows, loss});
      all.push_back({4, Coupling::none, rows, loss});
      all.push_back({4, Coupling::assembled, rows, loss});
    }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Formulations, MixtureGradient, testing::ValuesIn(settings()), name_of);

}  // namespace
}  // namespace rankine
