// The equations of inputs/: the order of their discretisation in space and in time against exact solutions,
// and the method of lines that references come from.
#include <cmath>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "src/experts/storage_problem.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

struct Case {
  const char* name;
  const char* text;  // the deck's terms, with walls and parameters that an exact solution has
  int unknowns;
  double duration;
};

// Exact solutions: heat with Dirichlet and Robin walls from the eigenfunction sin(k x), k cos k = -2 sin k;
// with Neumann walls; a wave that moves; the travelling front of Fisher-KPP (Ablowitz and Zeppetella, 1979)
// and of Allen-Cahn; the soliton of Korteweg and de Vries on a ring that is wide for it; a system with a
// source that is made for its solution.
const Case cases[] = {
    {"HeatBetweenAValueAndARadiatingWall", R"yaml(
duration: 1
parameters: {D: 0.1, k: 2.2889297281034412}
flux: -D*d(u,x)
walls: {left: {value: 0}, right: {u: 2, u_x: 1, value: 0}}
initial: {expression: sin(k*x)}
exact: exp(-D*k^2*t)*sin(k*x)
)yaml",
     1, 1},
    {"HeatBetweenInsulatedWalls", R"yaml(
duration: 1
parameters: {D: 0.05}
flux: -D*d(u,x)
walls: {left: {slope: 0}, right: {slope: 0}}
initial: {expression: cos(pi*x)}
exact: exp(-D*pi^2*t)*cos(pi*x)
)yaml",
     1, 1},
    {"Advection", R"yaml(
duration: 0.5
parameters: {c: 0.8}
flux: c*u
walls: periodic
initial: {expression: sin(2*pi*x)}
exact: sin(2*pi*(x - c*t))
)yaml",
     1, 0.5},
    {"FisherKpp", R"yaml(
duration: 1
parameters: {D: 0.02, r: 3}
functions: {"front(y, s)": "(1 + exp(sqrt(r/(6*D))*y - 5*r/6*s))^(-2)"}
flux: -D*d(u,x)
source: r*u*(1 - u)
walls: {left: {value: "front(0, t)"}, right: {value: "front(length, t)"}}
initial: {expression: "front(x, 0)"}
exact: front(x, t)
)yaml",
     1, 1},
    {"AllenCahn", R"yaml(
duration: 0.5
parameters: {D: 0.01, k: 5}
functions: {"front(y, s)": "0.5 - 0.5*tanh((y - 0.3 - 3*sqrt(k*D/2)*s)*sqrt(k/(8*D)))"}
flux: -D*d(u,x)
source: k*(u - u^3)
walls: {left: {value: "front(0, t)"}, right: {value: "front(length, t)"}}
initial: {expression: "front(x, 0)"}
exact: front(x, t)
)yaml",
     1, 0.5},
    {"KortewegDeVries", R"yaml(
length: 30
duration: 2
parameters: {c: 1}
flux: 3*u^2 + d(u,x,x)
walls: periodic
initial: {expression: c/2/cosh(sqrt(c)/2*(x - 14))^2}
exact: c/2/cosh(sqrt(c)/2*(x - 14 - c*t))^2
)yaml",
     1, 2},
    {"ReactionDiffusion", R"yaml(
duration: 1
unknowns: [u, v]
parameters: {Du: 0.05, Dv: 0.1, r: 2}
functions:
  "U(y, s)": 1 + 0.5*exp(-s)*cos(pi*y)
  "V(y, s)": 1 + 0.3*cos(2*s)*cos(2*pi*y)
flux: {u: "-Du*d(u,x)", v: "-Dv*d(v,x)"}
source:
  u: "r*u*(1 - u) - 2*u*v - 0.5*exp(-t)*cos(pi*x)*(1 - Du*pi^2) - r*U(x,t)*(1 - U(x,t)) + 2*U(x,t)*V(x,t)"
  v: "2*u*v - v - 0.6*sin(2*t)*cos(2*pi*x) + 0.3*Dv*4*pi^2*cos(2*t)*cos(2*pi*x) - 2*U(x,t)*V(x,t) + V(x,t)"
walls: {left: {u: {slope: 0}, v: {slope: 0}}, right: {u: {slope: 0}, v: {slope: 0}}}
initial: {u: {expression: "U(x, 0)"}, v: {expression: "V(x, 0)"}}
exact: {u: "U(x, t)", v: "V(x, t)"}
)yaml",
     2, 1},
};

class Library : public ::testing::TestWithParam<Case> {
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
  std::vector<double> exact(int cells) const {
    const int fine = pde.data_cells(), m = pde.unknowns();
    std::vector<double> x(fine), u(static_cast<size_t>(fine) * m);
    for (int i = 0; i < fine; ++i) x[i] = pde.length() * (i + 0.5) / fine;
    pde.exact(pde.duration(), values, x, u);
    return average_cells(u, fine, cells, m);
  }
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

INSTANTIATE_TEST_SUITE_P(Equations, Library, ::testing::ValuesIn(cases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
