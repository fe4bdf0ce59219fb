// Orders of accuracy in space and time on manufactured solutions in two and three space axes: anisotropic diffusion with
// mixed derivatives, a nonlinear storage and flux, walls of every kind that vary along their faces.
#include <cmath>

#include <gtest/gtest.h>

#include "src/experts/storage_problem.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

struct Manufactured {
  const char* name;
  const char* text;
  std::vector<int> coarse;  // cells by axis
};

// u = exp(-t) g(x, y, z); sources are worked out by hand from the flux.
const Manufactured cases[] = {
    {"AnisotropicInAPlane",
     R"yaml(
length: [1.2, 0.8]
duration: 0.3
parameters: {D: 0.3, c: 0.1}
functions: {"g(p, q)": "sin(p + 0.3)*cos(2*q)", "m(p, q)": "cos(p + 0.3)*sin(2*q)"}
flux: {x: "-D*d(u,x) - c*d(u,y)", y: "-c*d(u,x) - D*d(u,y)"}
source: "exp(-t)*((5*D - 1)*g(x, y) + 4*c*m(x, y))"
walls:
  left: {value: "exp(-t)*g(0, y)"}
  right: {slope: "exp(-t)*cos(1.5)*cos(2*y)"}
  bottom: {u: 1, u_y: -0.5, value: "exp(-t)*sin(x + 0.3)"}
  top: {value: "exp(-t)*g(x, 0.8)"}
initial: {expression: "g(x, y)"}
exact: "exp(-t)*g(x, y)"
)yaml",
     {12, 8}},
    // u_t = (u^2/2 u_x)_x + ... with the storage u + u^2/2: M'(u) u_t = u^2-weighted diffusion plus its source.
    {"NonlinearOnACylinder",
     R"yaml(
length: [1, 1]
duration: 0.3
functions: {"g(p, q)": "2 + cos(pi*p)*sin(2*pi*q)"}
storage: "u + u^2/2"
flux: "-(0.05*u)*grad(u)"
source: >-
  -exp(-t)*g(x, y)*(1 + exp(-t)*g(x, y))
  + 0.05*exp(-2*t)*(5*pi^2*(g(x, y) - 2)*g(x, y)
  - (pi*sin(pi*x)*sin(2*pi*y))^2 - (2*pi*cos(pi*x)*cos(2*pi*y))^2)
walls: {left: {slope: 0}, right: {slope: 0}, y: periodic}
initial: {expression: "g(x, y)"}
exact: "exp(-t)*g(x, y)"
)yaml",
     {8, 16}},
    {"CarriedInABox",
     R"yaml(
length: [1, 1.5, 0.5]
duration: 0.2
parameters: {D: 0.2}
functions: {"g(p, q, r)": "sin(2*pi*p)*cos(q)*cos(2*r)"}
flux: "[0.4, -0.3, 0.2]*u - D*grad(u)"
source: >-
  exp(-t)*((D*(4*pi^2 + 5) - 1)*g(x, y, z) + 0.8*pi*cos(2*pi*x)*cos(y)*cos(2*z)
  + 0.3*sin(2*pi*x)*sin(y)*cos(2*z) - 0.4*sin(2*pi*x)*cos(y)*sin(2*z))
walls:
  x: periodic
  bottom: {value: "exp(-t)*g(x, 0, z)"}
  top: {slope: "-exp(-t)*sin(2*pi*x)*sin(1.5)*cos(2*z)"}
  back: {slope: 0}
  front: {u: 1, u_z: 0.5, value: "exp(-t)*sin(2*pi*x)*cos(y)*(cos(1) - sin(1))"}
initial: {expression: "g(x, y, z)"}
exact: "exp(-t)*g(x, y, z)"
)yaml",
     {6, 6, 4}},
};

class Orders : public ::testing::TestWithParam<Manufactured> {
 protected:
  EquationPde pde{parse_deck_text(
      std::string(GetParam().text) + "\ndata_cells: " + data_cells() + "\nreference_rtol: 1e-9\n",
      "deck.yaml")};
  std::vector<double> values = [&] {
    std::vector<double> v;
    for (const PdeParameter& p : pde.parameters()) v.push_back(p.value);
    return v;
  }();
  static std::string data_cells() {  // four times the finest grid, for means over cells
    std::string text = "[";
    for (const int n : GetParam().coarse) text += (text.size() > 1 ? ", " : "") + std::to_string(16 * n);
    return text + "]";
  }
  Grid grid(int ratio) const { return pde.grid(GetParam().coarse).refined(ratio); }
  static double distance(std::span<const double> a, std::span<const double> b) {
    double sum = 0;
    for (size_t i = 0; i < b.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum / static_cast<double>(b.size()));
  }
  std::vector<double> initial(int ratio) const { return initial_cells(pde, {}, values, grid(ratio)); }
  std::vector<double> lines(int ratio) const {
    const std::vector<double> times{0, pde.duration()};
    const std::vector<double> u =
        method_of_lines(pde, initial(ratio), {values}, grid(ratio), grid(ratio), times, {.rtol = 1e-8});
    return {u.end() - grid(ratio).cells(), u.end()};
  }
};

TEST_P(Orders, SecondInSpace) {
  double errors[2];
  for (const int i : {0, 1}) {
    const int ratio = 2 << i;
    errors[i] = distance(lines(ratio), exact_cells(pde, pde.duration(), values, grid(ratio)));
  }
  EXPECT_NEAR(std::log2(errors[0] / errors[1]), 2, 0.1) << errors[0] << " " << errors[1];
  EXPECT_LT(errors[1], 5e-3);
}

TEST_P(Orders, SecondInTime) {
  // Against the method of lines on the same grid, so that only the time levels differ.
  const std::vector<double> reference = lines(1);
  double errors[2];
  for (const int i : {0, 1}) {
    const int steps = 20 << i;
    std::vector<double> times;
    for (int j = 0; j <= steps; ++j) times.push_back(pde.duration() * j / steps);
    const std::vector<double> u =
        StorageModel(pde, grid(1), times, 0.5, 0, {}).sample(initial(1), {values}).solve_exactly();
    errors[i] = distance(std::span(u).last(reference.size()), reference);
  }
  EXPECT_NEAR(std::log2(errors[0] / errors[1]), 2, 0.1) << errors[0] << " " << errors[1];
}

INSTANTIATE_TEST_SUITE_P(Manufactured, Orders, ::testing::ValuesIn(cases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
