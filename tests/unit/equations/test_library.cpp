// The equations of inputs/: the order of their discretisation in space and in time against exact solutions,
// and the method of lines that references come from.
#include <cmath>

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
    return initial_cells(pde, std::vector<double>(), values, cells);
  }
  /// Cell averages of the exact solution at the end.
  std::vector<double> exact(int cells) const { return exact_cells(pde, pde.duration(), values, cells); }
  std::vector<double> stepped(int cells, int steps) const {
    std::vector<double> times;
    for (int j = 0; j <= steps; ++j) times.push_back(pde.duration() * j / steps);
    std::vector<double> u =
        StorageModel(pde, cells, times, 0.5, 0, {}).sample(initial(cells), {values, {}}).solve_exactly();
    return {u.end() - cells * pde.unknowns(), u.end()};
  }
  std::vector<double> method_of_lines_at_end(int cells) const {
    const std::vector<double> times{0, pde.duration()};
    const std::vector<double> u = method_of_lines(pde, initial(cells), values, cells, cells, times);
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

}  // namespace
}  // namespace rankine
