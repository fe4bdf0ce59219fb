// Experts on equations other than diffusion-sorption: rings, nonlinear fluxes, sources, two unknowns. The
// whole loss through the experts against central differences in double, the corrected targets and the state
// of P held fixed.
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "src/experts/storage_mixture.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/support/exercise_pde.hpp"
#include "tests/support/library_equations.hpp"

namespace rankine {
namespace {

constexpr int cells = 12, frames = 6, basis = 3;
using Field = std::vector<double>;

double dot(const Field& a, const Field& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

struct Case {
  const char* name;
  std::shared_ptr<const Pde> pde;
  bool linear = false;
};

class EquationTest : public ::testing::TestWithParam<Case> {
 protected:
  EquationTest() {
    for (int j = 0; j <= frames; ++j) times.push_back(0.5 * pde.duration() * j / frames);
    long redrawn = 0;
    Field values;
    for (const PdeParameter& p : pde.parameters()) values.push_back(p.value);
    initial = initial_cells(pde, pde.draw_initial(RandomStream(1, "initial"), 2, redrawn), values,
                            pde.grid({cells}));
  }
  StorageProblem problem(const char* state) const {
    return StorageModel(pde, pde.grid({cells}), times, 0.5, 2, {.state = state}).sample(initial);
  }
  std::vector<Box> boxes(int experts) const {
    return equal_boxes(frames, pde.grid({cells}), std::vector{1, experts});
  }
  /// The exact discrete solution, disturbed, in the first field, smooth shapes in the others.
  Field fields(const StorageProblem& sample) const {
    const Field exact = sample.solve_exactly();
    const int m = sample.unknowns();
    Field out(sample.points() * basis);
    for (long p = 0; p < sample.points(); ++p) {
      const double s = static_cast<double>(p / sample.width()) / frames,
                   y = static_cast<double>(p % sample.width() / m) / cells;
      for (int i = 0; i < basis; ++i)
        out[p * basis + i] = i == 0 ? exact[sample.width() + p] * (1 + 0.05 * std::cos(5 * y + 3 * s))
                                    : 0.3 * std::cos(2.3 * i * y + p % m) + 0.2 * s;
    }
    return out;
  }
  /// Of `loss` at `at` along the gradient, disturbed; three steps of which the best counts.
  template <class Loss>
  static double relative_error(const Loss& loss, const Field& at, const Field& gradient) {
    std::mt19937 engine(11);
    std::normal_distribution<double> normal;
    Field direction(at.size());
    const double length = std::sqrt(dot(gradient, gradient));
    for (size_t i = 0; i < at.size(); ++i) direction[i] = gradient[i] / length * (1 + 0.5 * normal(engine));
    const auto difference = [&](double h) {
      Field plus(at), minus(at);
      for (size_t i = 0; i < at.size(); ++i) {
        plus[i] += h * direction[i];
        minus[i] -= h * direction[i];
      }
      return (loss(plus) - loss(minus)) / (2 * h);
    };
    const double analytic = dot(gradient, direction);
    double error = std::numeric_limits<double>::infinity();
    for (double h : {2e-4, 5e-5, 1e-5}) {
      const double central = (4 * difference(h) - difference(2 * h)) / 3;
      error = std::min(error, std::abs(analytic - central) / std::abs(central));
    }
    return error;
  }

  const Pde& pde = *GetParam().pde;
  Field times, initial;
};

TEST_P(EquationTest, GradientThroughTheExpertsSolves) {
  for (const char* state : {"frozen", "initial"}) {
    const StorageProblem sample = problem(state);
    for (const int experts : {1, 4})
      for (const Coupling coupling : {Coupling::none, Coupling::assembled})
        for (const Weighting rows : {Weighting::plain, Weighting::dual}) {
          if (experts == 1 && coupling == Coupling::assembled) continue;
          SolverOptions options;
          options.max_steps = 400;
          options.atol = 1e-12;
          options.adjoint_damping = 0;
          options.ridge = 0.1;  // keeps experts without a wall of their own well posed
          const StorageMixture mixture(frames, pde.grid({cells}), sample.unknowns(), boxes(experts), basis,
                                       coupling, rows, options);
          std::vector<std::vector<long>> used;
          for (int s = 0; s < mixture.solves(); ++s) used.push_back(mixture.all_rows(s));
          const Field at = fields(sample);
          const auto loss = [&](const Field& b) {
            return sample.residual_norm(Weighting::dual, mixture.solve(sample, b, used).u, {});
          };
          MixtureSolution solution = mixture.solve(sample, at, used);
          for (const SolveReport& report : solution.reports)
            ASSERT_EQ(report.status, SolveStatus::converged) << report.reason;
          Field u_bar(sample.points()), gradient(at.size());
          sample.residual_norm(Weighting::dual, solution.u, u_bar);
          mixture.pull_back(sample, at, solution, u_bar, gradient);
          EXPECT_LE(relative_error(loss, at, gradient), 1e-6)
              << state << ", " << experts << " experts, coupling " << static_cast<int>(coupling) << ", rows "
              << static_cast<int>(rows);
        }
  }
}

TEST_P(EquationTest, GradientThroughTheFitOfATarget) {
  const StorageProblem sample = problem("prediction");
  const Field at = fields(sample);
  // The corrected prediction, held fixed.
  Field v(sample.points());
  for (long p = 0; p < sample.points(); ++p) v[p] = at[p * basis];
  Field u = sample.whole(v);
  std::vector<Field> states;
  sample.correct_steps(u, {.steps = 1}, states);
  const Field target(u.begin() + sample.width(), u.end());
  for (const int experts : {1, 4})
    for (const double ridge : {1e-6, 1e-2}) {
      const StorageMixture mixture(frames, pde.grid({cells}), sample.unknowns(), boxes(experts), basis,
                                   Coupling::none, Weighting::dual, {});
      const auto distance = [&](const MixtureSolution& solved, Field* bar) {
        double sum = 0;
        Field off(sample.points());
        for (long p = 0; p < sample.points(); ++p) {
          off[p] = solved.u[sample.width() + p] - target[p];
          sum += off[p] * off[p];
        }
        if (bar) {
          for (double& x : off) x /= std::sqrt(sum);
          *bar = off;
        }
        return std::sqrt(sum);
      };
      const MixtureSolution solved = mixture.fit(sample, at, target, ridge);
      Field u_bar, gradient(at.size());
      const double best = distance(solved, &u_bar);
      mixture.pull_back_fit(at, target, solved, ridge, u_bar, gradient);
      const auto loss = [&](const Field& b) {
        return distance(mixture.fit(sample, b, target, ridge), nullptr);
      };
      EXPECT_LE(relative_error(loss, at, gradient), 1e-6) << experts << " experts, ridge " << ridge;
      // It is the minimum over the coefficients: no other set does better by more than the ridge allows.
      if (ridge < 1e-3) {
        MixtureSolution moved = solved;
        for (int c = 0; c < mixture.coefficients(); ++c) {
          double change = 0;
          for (const double step : {1e-3, -1e-3}) {
            Field other(solved.u);
            for (long p = 0; p < sample.points(); ++p) {
              const int k = static_cast<int>((p % sample.width()) / sample.unknowns()) * experts / cells;
              if ((k * sample.unknowns() + static_cast<int>(p % sample.unknowns())) * basis + c % basis == c)
                other[sample.width() + p] += step * at[p * basis + c % basis];
            }
            moved.u = other;
            change = std::max(change, best - distance(moved, nullptr));
          }
          EXPECT_LE(change, 1e-6 * best);
        }
      }
    }
}

TEST_P(EquationTest, GradientThroughTrainedCorrectionsOfAPenalty) {
  const StorageProblem sample = problem("frozen");
  const Field all = fields(sample);
  Field at(sample.points());
  for (long p = 0; p < sample.points(); ++p) at[p] = all[p * basis];
  const CorrectionOptions options{.steps = 1};
  // The distance of the corrected state from some field.
  const auto corrected = [&](const Field& v, std::vector<Field>& states) {
    Field u = sample.whole(v);
    sample.correct_steps(u, options, states);
    for (long p = 0; p < sample.points(); ++p) u[sample.width() + p] -= all[p * basis + 1];
    return Field(u.begin() + sample.width(), u.end());
  };
  const auto loss = [&](const Field& v) {
    std::vector<Field> states;
    const Field off = corrected(v, states);
    return std::sqrt(dot(off, off));
  };
  std::vector<Field> states;
  Field gradient = corrected(at, states);
  const double length = std::sqrt(dot(gradient, gradient));
  for (double& x : gradient) x /= length;
  sample.correct_transpose(states, options, gradient, {});
  if (GetParam().linear) {
    // One correction solves a linear equation, whatever it starts from.
    EXPECT_LE(std::sqrt(dot(gradient, gradient)), 1e-10);
    return;
  }
  EXPECT_LE(relative_error(loss, at, gradient), 1e-6);
}

std::vector<Case> cases() {
  std::vector<Case> all{{"PeriodicBurgers", std::make_shared<Burgers>(BurgersOptions{})},
                        {"PeriodicSystem", std::make_shared<ExercisePde>(true)},
                        {"SystemBetweenWalls", std::make_shared<ExercisePde>(false)}};
  for (const LibraryEquation& e : library_equations)
    all.push_back({e.name, std::make_shared<EquationPde>(parse_deck_text(e.text, "deck.yaml")), e.linear});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Equations, EquationTest, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
