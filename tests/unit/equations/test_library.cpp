// The equations of inputs/: the order of their discretisation in space and in time against exact solutions,
// and the method of lines that references come from.
#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "src/experts/storage_problem.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/support/library_equations.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

class Library : public ::testing::TestWithParam<LibraryEquation> {
 protected:
  EquationPde pde{parse_deck_text(std::string(GetParam().text) + "data_cells: 1024\nreference_rtol: 1e-9\n",
                                  "deck.yaml")};
  std::vector<double> values = [&] {
    std::vector<double> v;
    for (const PdeParameter& p : pde.parameters()) v.push_back(p.value);
    return v;
  }();
  std::vector<double> initial(int cells) const {
    return initial_cells(pde, std::vector<double>(), values, pde.grid({cells}));
  }
  /// Cell averages of the exact solution at the end.
  std::vector<double> exact(int cells) const {
    return exact_cells(pde, pde.duration(), values, pde.grid({cells}));
  }
  std::vector<double> stepped(int cells, int steps) const {
    std::vector<double> times;
    for (int j = 0; j <= steps; ++j) times.push_back(pde.duration() * j / steps);
    std::vector<double> u = StorageModel(pde, pde.grid({cells}), times, 0.5, 0, {})
                                .sample(initial(cells), {values, {}})
                                .solve_exactly();
    return {u.end() - cells * pde.unknowns(), u.end()};
  }
  std::vector<double> method_of_lines_at_end(int cells) const {
    const std::vector<double> times{0, pde.duration()};
    const std::vector<double> u =
        method_of_lines(pde, initial(cells), {values}, pde.grid({cells}), pde.grid({cells}), times);
    return {u.end() - cells * pde.unknowns(), u.end()};
  }
  static double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      sum += (a[i] - b[i]) * (a[i] - b[i]);
      size += b[i] * b[i];
    }
    return std::sqrt(sum / size);
  }
};

TEST_P(Library, SecondOrderInSpace) {
  const double coarse = distance(method_of_lines_at_end(64), exact(64)),
               fine = distance(method_of_lines_at_end(128), exact(128));
  EXPECT_NEAR(std::log2(coarse / fine), 2, 0.1) << coarse << " and " << fine;
}

TEST_P(Library, SecondOrderInTime) {
  const std::vector<double> reference = method_of_lines_at_end(64);
  const double coarse = distance(stepped(64, 80), reference), fine = distance(stepped(64, 160), reference);
  EXPECT_NEAR(std::log2(coarse / fine), 2, 0.1) << coarse << " and " << fine;
}

INSTANTIATE_TEST_SUITE_P(Equations, Library, ::testing::ValuesIn(library_equations),
                         [](const auto& info) { return info.param.name; });

/// u' = u^2 without a gradient, by the trapezoidal rule: u1 - u0 = dt (u0^2 + u1^2) / 2.
EquationPde growth() {
  return EquationPde(parse_deck_text(
      "{flux: '-1e-3*d(u,x)', source: u^2, walls: {left: {slope: 0}, right: {slope: 0}}, data_cells: 64, "
      "initial: {constant: {minimum: 0.2, maximum: 0.5}}, duration: 1.6}",
      "deck.yaml"));
}

TEST(ExactSolution, IsTheRootThatTheOldStateLeadsTo) {
  const EquationPde pde = growth();
  const std::vector<double> times{0, 0.8};
  const std::vector<double> u =
      StorageModel(pde, pde.grid({8}), times, 0.5, 0, {}).sample(std::vector<double>(8, 0.5)).solve_exactly();
  const double dt = 0.8, u0 = 0.5;
  const double root = (1 - std::sqrt(1 - 2 * dt * (u0 + dt * u0 * u0 / 2))) / dt;
  // The root's condition number is about 1 / 0.2: eps times that, and some steps of rounding.
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(u[8 + i], root, 1e-14);
}

TEST(ExactSolution, SaysWhereThereIsNone) {
  const EquationPde pde = growth();
  const StorageModel model(pde, pde.grid({8}), {0, 0.4, 1.6}, 0.5, 0, {});
  try {
    static_cast<void>(model.sample(std::vector<double>(8, 0.5)).solve_exactly());
    ADD_FAILURE() << "a solution was found";
  } catch (const NumericalError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("lost in frame 2 (t = 1.6)"), std::string::npos) << what;
  }
}

TEST(ExactSolution, CrossesTheKinksOfAnEnthalpy) {
  const EquationPde pde(parse_deck_text(
      "{parameters: {latent: 4, width: 0.001}, storage: 'u + latent*max(0, min(1, (u + width)/(2*width)))', "
      "flux: '-d(u,x)', walls: {left: {value: 1}, right: {slope: 0}}, data_cells: 64, "
      "initial: {constant: {minimum: -0.8, maximum: -0.2}}, duration: 0.5}",
      "deck.yaml"));
  std::vector<double> times;
  for (int j = 0; j <= 16; ++j) times.push_back(0.5 * (j / 16.0) * (j / 16.0));
  const StorageProblem problem =
      StorageModel(pde, pde.grid({32}), times, 0.5, 2, {}).sample(std::vector<double>(32, -0.5));
  const std::vector<double> u = problem.solve_exactly();
  double largest = 0;
  for (const double r : problem.evaluate(u)) largest = std::max(largest, std::abs(r));
  // Rounding of u, eps, times the steepest storage slope, 4 / 0.002.
  EXPECT_LT(largest, 1e-12 * 2000);
  EXPECT_GT(u[16 * 32], 0.5);
  EXPECT_LT(u.back(), 0);
}

}  // namespace
}  // namespace rankine
