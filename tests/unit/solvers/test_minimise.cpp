#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>

#include "solvers/minimise.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

/// Rosenbrock's function of n unknowns; its minimum is 0, at ones.
double rosenbrock(std::span<const double> x, std::span<double> g) {
  double value = 0;
  std::fill(g.begin(), g.end(), 0.0);
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    const double bend = x[i + 1] - x[i] * x[i], slope = 1 - x[i];
    value += 100 * bend * bend + slope * slope;
    g[i] += -400 * x[i] * bend - 2 * slope;
    g[i + 1] += 200 * bend;
  }
  return value;
}

TEST(Minimise, FindsTheMinimumOfRosenbrocksFunction) {
  std::vector<double> x{-1.2, 1, -1.2, 1, 0.5, 2};
  const MinimiseReport report = minimise_lbfgs(rosenbrock, x, {.max_iterations = 200, .rtol = 1e-12});
  EXPECT_EQ(report.status, SolveStatus::converged) << report.reason;
  for (const double value : x) EXPECT_NEAR(value, 1, 1e-8);
  EXPECT_LE(report.gradient_norm, 1e-12 * report.first_gradient_norm);
  EXPECT_LT(report.evaluations, 200);
}

TEST(Minimise, TheHistoryIsThatManyPairs) {
  // A quadratic with 6 different curvatures: with all 6 pairs it is known, with one it takes longer.
  const Objective f = [](std::span<const double> x, std::span<double> g) {
    double value = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double curvature = std::pow(10.0, static_cast<double>(i));
      g[i] = curvature * (x[i] - 1);
      value += 0.5 * curvature * (x[i] - 1) * (x[i] - 1);
    }
    return value;
  };
  const auto evaluations = [&](int history) {
    std::vector<double> x(6, 0.0);
    const MinimiseReport report =
        minimise_lbfgs(f, x, {.max_iterations = 5000, .history = history, .rtol = 1e-9});
    EXPECT_EQ(report.status, SolveStatus::converged) << report.reason;
    EXPECT_NEAR(x.front(), 1, 1e-3);
    return report.evaluations;
  };
  EXPECT_LT(evaluations(10), evaluations(1));
}

TEST(Minimise, SaysHowItEnded) {
  std::vector<double> x{-1.2, 1};
  const MinimiseReport few = minimise_lbfgs(rosenbrock, x, {.max_iterations = 3});
  EXPECT_EQ(few.status, SolveStatus::step_limit);
  EXPECT_EQ(few.iterations, 3);
  EXPECT_LT(few.objective, few.first_objective);
  std::vector<double> g(2);
  EXPECT_EQ(rosenbrock(x, g), few.objective);  // x is the point that the report is of

  const Objective nowhere = [](std::span<const double>, std::span<double> g) {
    std::fill(g.begin(), g.end(), 0.0);
    return std::numeric_limits<double>::quiet_NaN();
  };
  const std::vector<double> before = x;
  EXPECT_EQ(minimise_lbfgs(nowhere, x, {}).status, SolveStatus::not_finite);
  EXPECT_EQ(x, before);
}

TEST(Minimise, TurnsAwayFromWhereTheFunctionIsNotFinite) {
  // -log x + x, whose minimum is at 1, and which is NaN left of 0.
  const Objective f = [](std::span<const double> x, std::span<double> g) {
    g[0] = -1 / x[0] + 1;
    return x[0] - std::log(x[0]);
  };
  std::vector<double> x{20};
  const MinimiseReport report = minimise_lbfgs(f, x, {.max_iterations = 100, .rtol = 1e-9});
  EXPECT_EQ(report.status, SolveStatus::converged) << report.reason;
  EXPECT_NEAR(x[0], 1, 1e-6);
}

TEST(Minimise, PassesExceptionsOn) {
  const Objective f = [](std::span<const double>, std::span<double>) -> double {
    throw std::runtime_error("no value here");
  };
  std::vector<double> x{1};
  EXPECT_THROW(minimise_lbfgs(f, x, {}), std::runtime_error);
}

}  // namespace
}  // namespace rankine
