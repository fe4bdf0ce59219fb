#include <cmath>
#include <functional>

#include <gmock/gmock.h>

#include "kernels/error.hpp"
#include "solvers/least_squares.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using Vector = std::vector<double>;

/// A problem with a known minimiser, from a function that fills residual and (where it is not empty)
/// Jacobian.
struct Problem {
  std::string name;
  int n, m;
  std::function<void(std::span<const double> w, std::span<double> rho, std::span<double> jacobian)> rows;
  Vector start, minimiser;
};

class FromFunction final : public LeastSquaresProblem {
 public:
  explicit FromFunction(const Problem& problem) : problem_(problem) {}
  int unknowns() const override { return problem_.n; }
  long rows() const override { return problem_.m; }
  void residual(std::span<const double> w, std::span<double> rho) override { problem_.rows(w, rho, {}); }
  void linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) override {
    problem_.rows(w, rho, jacobian);
  }
  void add_curvature(std::span<double>) override {}

 private:
  const Problem& problem_;
};

Problem linear() {
  // rho = A w - b with A the 5 x 2 matrix of a straight-line fit through points of a line.
  return {"linear",
          2,
          5,
          [](auto w, auto rho, auto jacobian) {
            for (int i = 0; i < 5; ++i) {
              rho[i] = w[0] + w[1] * i - (3 - 0.5 * i);
              if (!jacobian.empty()) jacobian[2 * i] = 1, jacobian[2 * i + 1] = i;
            }
          },
          {0, 0},
          {3, -0.5}};
}

Problem rosenbrock() {
  return {"rosenbrock",
          2,
          2,
          [](auto w, auto rho, auto jacobian) {
            rho[0] = 10 * (w[1] - w[0] * w[0]);
            rho[1] = 1 - w[0];
            if (jacobian.empty()) return;
            jacobian[0] = -20 * w[0], jacobian[1] = 10;
            jacobian[2] = -1, jacobian[3] = 0;
          },
          {-1.2, 1},
          {1, 1}};
}

Problem exponential_fit() {
  // 20 points of 2 exp(-1.5 t) + 0.5, without noise.
  return {"exponential fit",
          3,
          20,
          [](auto w, auto rho, auto jacobian) {
            for (int i = 0; i < 20; ++i) {
              const double t = 0.1 * i, e = std::exp(-w[1] * t);
              rho[i] = w[0] * e + w[2] - (2 * std::exp(-1.5 * t) + 0.5);
              if (!jacobian.empty())
                jacobian[3 * i] = e, jacobian[3 * i + 1] = -w[0] * t * e, jacobian[3 * i + 2] = 1;
            }
          },
          {1, 1, 0},
          {2, 1.5, 0.5}};
}

Problem with_remainder() {
  // Residuals that cannot all vanish: rho = (w - 1, w + 1, w^2) has its minimum at 0 with 1/2 |rho|^2 = 1.
  return {"with remainder",
          1,
          3,
          [](auto w, auto rho, auto jacobian) {
            rho[0] = w[0] - 1, rho[1] = w[0] + 1, rho[2] = w[0] * w[0];
            if (!jacobian.empty()) jacobian[0] = 1, jacobian[1] = 1, jacobian[2] = 2 * w[0];
          },
          {0.7},
          {0}};
}

struct SolverEntry {
  const char* name;
  std::unique_ptr<LeastSquaresSolver> (*make)();
};
const SolverEntry solvers[] = {{"gauss_newton", make_gauss_newton},
                               {"levenberg_marquardt", make_levenberg_marquardt},
                               {"tao_brgn", make_tao_brgn}};

class EverySolver : public testing::TestWithParam<SolverEntry> {};

TEST_P(EverySolver, FindsTheMinimiser) {
  for (const Problem& problem : {linear(), rosenbrock(), exponential_fit(), with_remainder()}) {
    FromFunction rows(problem);
    Vector w = problem.start;
    const LeastSquaresOptions options{.max_steps = 200, .rtol = 1e-12, .atol = 1e-12, .damping = 1e-3};

    const SolveReport report = GetParam().make()->solve(rows, w, options);

    EXPECT_EQ(report.status, SolveStatus::converged) << problem.name << ": " << report.reason;
    EXPECT_LE(report.iterations, 60) << problem.name;
    EXPECT_LT(report.gradient_norm, 1e-8) << problem.name;
    for (int i = 0; i < problem.n; ++i)
      EXPECT_NEAR(w[i], problem.minimiser[i], 1e-8) << problem.name << ", w" << i;
    EXPECT_NEAR(report.objective, objective(rows, w), 1e-15) << problem.name;
  }
}

TEST_P(EverySolver, SaysThatTheBudgetIsUsedUp) {
  const Problem problem = rosenbrock();
  FromFunction rows(problem);
  Vector w = problem.start;
  const double before = objective(rows, w);

  const SolveReport report =
      GetParam().make()->solve(rows, w, {.max_steps = 3, .rtol = 1e-12, .atol = 1e-12});

  EXPECT_EQ(report.status, SolveStatus::step_limit);
  EXPECT_EQ(report.iterations, 3);
  EXPECT_THAT(report.reason, testing::HasSubstr("budget of 3 steps"));
  EXPECT_LT(report.objective, before);
}

TEST_P(EverySolver, SaysThatTheStartIsNotFinite) {
  const Problem problem = rosenbrock();
  FromFunction rows(problem);
  Vector w{NAN, 1};

  const SolveReport report = GetParam().make()->solve(rows, w, {});

  EXPECT_EQ(report.status, SolveStatus::not_finite);
  EXPECT_FALSE(report.reason.empty());
}

// A gradient whose norm overflows is not below any share of itself.
TEST_P(EverySolver, ANormThatOverflowsIsNotConvergence) {
  const Problem problem{"large",
                        1,
                        1,
                        [](auto w, auto rho, auto jacobian) {
                          rho[0] = 1e150 * w[0];
                          if (!jacobian.empty()) jacobian[0] = 1e150;
                        },
                        {1e3},
                        {0}};
  FromFunction rows(problem);
  Vector w = problem.start;
  const SolveReport report = GetParam().make()->solve(rows, w, {.max_steps = 5, .rtol = 1e-8});
  if (report.status == SolveStatus::converged) {
    EXPECT_LT(report.gradient_norm, 1e300);
    EXPECT_LT(std::abs(w[0]), 1e-3);
  }
  EXPECT_TRUE(std::isfinite(w[0]));
}

TEST_P(EverySolver, LetsAnExceptionOfTheProblemThrough) {
  Problem problem = rosenbrock();
  problem.rows = [](auto, auto, auto) { throw InputError("from the problem"); };
  FromFunction rows(problem);
  Vector w = problem.start;
  EXPECT_THROW(GetParam().make()->solve(rows, w, {}), InputError);
}

INSTANTIATE_TEST_SUITE_P(Solvers, EverySolver, testing::ValuesIn(solvers),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace rankine
