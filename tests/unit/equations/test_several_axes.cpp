// Equations of two and three space axes that a deck writes down: terms, walls on every face, initial states, and the
// message for everything that is wrong.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/wall_checks.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using kernels::TermValues;
using testing::AllOf;
using testing::HasSubstr;

constexpr double pi = std::numbers::pi;

EquationPde equation(const std::string& yaml) { return EquationPde(parse_deck_text(yaml, "deck.yaml")); }

/// Root mean square distance of the reference from the exact solution at time t, on data_grid().
double reference_error(const EquationPde& pde, double t) {
  const Grid grid = pde.data_grid();
  const std::vector<double> x = grid.centres(), times{0, t};
  std::vector<double> start(grid.cells()), exact(grid.cells());
  pde.initial_state({}, {}, x, start);
  pde.exact(t, {}, x, exact);
  const std::vector<double> u = pde.reference(start, {}, grid, times);
  double sum = 0;
  for (int i = 0; i < grid.cells(); ++i) sum += std::pow(u[grid.cells() + i] - exact[i], 2);
  return std::sqrt(sum / grid.cells());
}

/// Flux, source and storage of every way to write them.
TEST(SeveralAxes, TermsOfEveryAxis) {
  const std::string rest =
      "\nlength: [1, 2]\nparameters: {D: 0.5, c: 3}\nsource: y*u + x - t\nwalls: periodic\n"
      "initial: {constant: {minimum: 0.1, maximum: 1}}\n";
  for (const std::string flux :
       {"{x: \"c*u - D*d(u,x)\", y: \"x*u - D*d(u,y)\"}", "\"[c, x]*u - D*grad(u)\"",
        "[\"c*u - D*d(u,x)\", \"x*u - D*d(u,y)\"]", "{u: {x: \"c*u - D*d(u,x)\", y: \"x*u - D*d(u,y)\"}}",
        "{u: \"u*[c, x] - D*grad(u)\"}"}) {
    const EquationPde pde = equation("flux: " + flux + rest);
    ASSERT_EQ(pde.axes(), 2) << flux;
    EXPECT_EQ(pde.length(0), 1);
    EXPECT_EQ(pde.length(1), 2);
    EXPECT_EQ(pde.data_cells(1), 128);
    EXPECT_EQ(pde.flux_derivatives(), 1);
    EXPECT_FALSE(pde.mixed_derivatives());
    EXPECT_FALSE(pde.linear_flux());
    EXPECT_FALSE(pde.autonomous());
    EXPECT_TRUE(pde.periodic(0) && pde.periodic(1));
    // Two points: u, u_x, u_y; x, y.
    const std::vector<double> arguments{0.5, 2, 3, -1, 7, 4}, x{0.25, 0.5, 1.5, 1.75}, t{0, 2},
        parameters{0.5, 3};
    const std::vector<int> learned{0};
    TermValues out;
    pde.flux(0, {2, arguments, x, t, parameters, learned}, 1, out);
    EXPECT_EQ(out.arguments, 4);
    EXPECT_EQ(out.value, (std::vector<double>{1.5 - 1.5, 6 + 0.5}));
    EXPECT_EQ(out.by(0, 1)[1], -0.5);
    EXPECT_EQ(out.by(0, 2)[1], 0);
    EXPECT_EQ(out.by(0, 3)[0], -3);
    pde.flux(1, {2, arguments, x, t, parameters, learned}, 1, out);
    EXPECT_EQ(out.value, (std::vector<double>{0.125 - 3.5, 1 - 2}));
    EXPECT_EQ(out.by(0, 0)[1], 0.5);
    EXPECT_EQ(out.by(0, 2)[1], -0.5);
    pde.source({2, std::span(arguments).first(2), x, t, parameters, {}}, 0, out);
    EXPECT_EQ(out.value, (std::vector<double>{0.75 + 0.25, 3.5 + 0.5 - 2}));
  }
}

TEST(SeveralAxes, SeveralUnknownsInABox) {
  const EquationPde pde = equation(R"yaml(
length: [1, 2, 3]
data_cells: [8, 16, 24]
unknowns: [u, v]
flux: {u: {x: "-d(v,y)", z: u*length_z}, v: "-2*grad(v)"}
walls:
  x: periodic
  z: periodic
  bottom: {u: {value: 1}, v: {slope: 0}}
  top: {u: {slope: 0}, v: {v: 1, v_y: "z", value: "x"}}
initial: {u: {constant: {minimum: 0.1, maximum: 1}}, v: {expression: 1 + y}}
)yaml");
  EXPECT_EQ(pde.axes(), 3);
  EXPECT_EQ(pde.data_grid().describe(), "8 x 16 x 24");
  EXPECT_TRUE(pde.mixed_derivatives());
  EXPECT_FALSE(pde.convective(0));  // v_y
  EXPECT_TRUE(pde.linear_flux());
  EXPECT_TRUE(pde.walls_vary());
  EXPECT_TRUE(pde.periodic(0) && !pde.periodic(1) && pde.periodic(2));
  std::vector<double> arguments(8);
  for (int i = 0; i < 8; ++i) arguments[i] = 10 + i;  // u, v, u_x, v_x, u_y, v_y, u_z, v_z
  const std::vector<double> x{0.1, 0.2, 0.3}, t{0};
  TermValues out;
  pde.flux(0, {1, arguments, x, t, {}, {}}, 0, out);
  EXPECT_EQ(out.value, (std::vector<double>{-15, -26}));
  pde.flux(1, {1, arguments, x, t, {}, {}}, 0, out);
  EXPECT_EQ(out.value, (std::vector<double>{0, -30}));
  pde.flux(2, {1, arguments, x, t, {}, {}}, 0, out);
  EXPECT_EQ(out.value, (std::vector<double>{30, -34}));
  const WallCondition top = pde.wall({1, Side::right}, 1, {0.5, 2, 0.25}, 0, {}, {});
  EXPECT_EQ(top.value_factor, 1);
  EXPECT_EQ(top.slope_factor, 0.25);
  EXPECT_EQ(top.target, 0.5);
  EXPECT_EQ(pde.wall({1, Side::left}, 0, {0.5, 0, 0.25}, 0, {}, {}).target, 1);
  EXPECT_TRUE(equation("{length: [1, 1], flux: \"[u, 0]\", walls: periodic, initial: {expression: x}}")
                  .convective(0));
}

TEST(SeveralAxes, WallsOnEveryFace) {
  const EquationPde pde = equation(R"yaml(
length: [1, 2, 3]
parameters: {a: 2}
flux: -grad(u)
walls:
  left: {value: y*z + t}
  right: {slope: a*y}
  bottom: {slope: x}
  top: {u: a, u_y: 1 + x, value: 3*z, outside: 0.1}
  back: {slope: 0}
  front: {slope: x + y}
initial: {expression: 0}
)yaml");
  const std::vector<double> parameters{5};
  const std::vector<int> learned{0};
  const auto wall = [&](int axis, Side side) {
    return pde.wall({axis, side}, 0, {0.25, 0.5, 0.75}, 4, parameters, learned);
  };
  EXPECT_EQ(wall(0, Side::left).target, 0.5 * 0.75 + 4);
  EXPECT_EQ(wall(0, Side::right).target, 2.5);
  EXPECT_EQ(wall(0, Side::right).target_by, (std::vector<double>{0.5}));
  EXPECT_EQ(wall(1, Side::left).target, 0.25);
  EXPECT_EQ(wall(1, Side::right).value_factor, 5);
  EXPECT_EQ(wall(1, Side::right).slope_factor, 1.25);
  EXPECT_EQ(wall(1, Side::right).target, 2.25);
  EXPECT_EQ(wall(1, Side::right).outside, 0.1);
  EXPECT_EQ(wall(2, Side::right).target, 0.75);
  EXPECT_FALSE(pde.autonomous());
  EXPECT_FALSE(pde.linear_flux());
  EXPECT_EQ(pde.size(0), 7);  // y z + t at the edge, at the end
}

/// Covariance of the random states at points x [axis][point], and their mean. They are linear in their numbers,
/// which are independent and normal.
std::vector<double> covariance(const EquationPde& pde, const std::vector<double>& x,
                               std::vector<double>& mean) {
  long redrawn = 0;
  const size_t count = pde.draw_initial(RandomStream(1, "states"), 0, redrawn).size(),
               points = x.size() / pde.axes();
  std::vector<double> numbers(count, 0.0), state(points), sum(points * points, 0.0);
  mean.resize(points);
  pde.initial_state(numbers, {}, x, mean);
  for (size_t n = 0; n < count; ++n) {
    numbers.assign(count, 0.0);
    numbers[n] = 1;
    pde.initial_state(numbers, {}, x, state);
    for (size_t i = 0; i < points; ++i)
      for (size_t j = 0; j < points; ++j) sum[i * points + j] += (state[i] - mean[i]) * (state[j] - mean[j]);
  }
  return sum;
}

// As `rankine describe` promises, along an axis between walls and along a ring. The tolerance is that of one axis,
// twice.
TEST(SeveralAxes, GaussianRandomFieldsHaveThePromisedCovariance) {
  constexpr double length[] = {1, 2}, l = 0.4;
  const EquationPde pde = equation(
      "length: [1, 2]\nflux: -grad(u)\nwalls: {left: {slope: 0}, right: {slope: 0}, y: periodic}\n"
      "initial: {gaussian_random_field: {length_scale: 0.4, amplitude: 0.5, mean: 2}}\n");
  const Grid grid = pde.grid({5, 6});
  const std::vector<double> x = grid.centres();
  std::vector<double> mean;
  const std::vector<double> found = covariance(pde, x, mean);
  const auto images = [&](double r) {
    double sum = 0;
    for (int n = -5; n <= 5; ++n) sum += std::exp(-std::pow((r + n * length[1]) / l, 2) / 2);
    return sum;
  };
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(mean[i], 2);
    for (int j = 0; j < 30; ++j) {
      const double dx = x[i] - x[j], dy = x[30 + i] - x[30 + j];
      EXPECT_NEAR(found[i * 30 + j], 0.25 * std::exp(-dx * dx / (2 * l * l)) * images(dy) / images(0),
                  0.25 * 1e-5)
          << dx << " " << dy;
    }
  }
}

/// A factor of an axis, as src/pde/random_waves.hpp defines it, by wave number.
double cosine(int k, double s) { return k == 0 ? 1 : std::numbers::sqrt2 * std::cos(k * s); }

TEST(SeveralAxes, WavesAreProductsOfThoseOfEachAxis) {
  const EquationPde pde = equation(R"yaml(
length: [1, 2, 3]
flux: -grad(u)
walls: {left: {value: 1}, right: {value: 3}, bottom: {slope: 0}, top: {slope: 0}, z: periodic}
initial: {fourier: {modes: 2, amplitude: 0.7, decay: 1.5}}
)yaml");
  const Grid grid = pde.grid({4, 3, 5});
  const std::vector<double> x = grid.centres();
  long redrawn = 0;
  const std::vector<double> numbers = pde.draw_initial(RandomStream(1, "states"), 3, redrawn);
  ASSERT_EQ(numbers.size(), 2u * 3 * 5);
  std::vector<double> u(60), one(1), size(1);
  pde.initial_state(numbers, {}, x, u);
  double variance = 0;
  for (int a = 1; a <= 2; ++a)
    for (int b = 0; b <= 2; ++b)
      for (int c = 0; c <= 2; ++c) variance += std::pow(a * a + b * b + c * c, -1.5);
  for (int i = 0; i < 60; ++i) {
    const double at[3] = {x[i], x[60 + i], x[120 + i]};
    double sum = 1 + 2 * at[0];  // on what joins the two values
    size_t n = 0;
    for (int a = 1; a <= 2; ++a)
      for (int b = 0; b <= 2; ++b)
        for (int f = 0; f < 5; ++f) {
          const int c = (f + 1) / 2;
          const double ring = f == 0       ? 1
                              : f % 2 == 1 ? std::cos(2 * pi * c * at[2] / 3)
                                           : std::sin(2 * pi * c * at[2] / 3);
          sum += 0.7 * std::pow(a * a + b * b + c * c, -0.75) / std::sqrt(variance) * numbers[n++] *
                 std::numbers::sqrt2 * std::sin(pi * a * at[0]) * cosine(b, pi * at[1] / 2) * ring;
        }
    EXPECT_NEAR(u[i], sum, 1e-13);  // eps times the number of waves
    pde.initial_state(numbers, {}, at, one);
    EXPECT_EQ(u[i], one[0]);  // the same bits, whichever the other points are
  }
}

// The variance of each draw, averaged over the box, is amplitude^2: means over a grid that resolves the waves are
// exact.
TEST(SeveralAxes, RandomStatesHaveTheirAmplitude) {
  for (const std::string walls : {"periodic", "{x: periodic, bottom: {slope: 0}, top: {slope: 0}}",
                                  "{y: periodic, left: {value: 0}, right: {value: 0}}"}) {
    const EquationPde pde = equation("{length: [1, 2], flux: -grad(u), walls: " + walls +
                                     ", initial: {fourier: {modes: 3, amplitude: 0.7, decay: 1}}}");
    std::vector<double> mean;
    const std::vector<double> found = covariance(pde, pde.grid({8, 8}).centres(), mean);
    double sum = 0;
    for (int i = 0; i < 64; ++i) sum += found[i * 64 + i] / 64;
    EXPECT_NEAR(sum, 0.49, 1e-13) << walls;
  }
}

// Between four walls with values that vary along them the states hold these values at every wall.
TEST(SeveralAxes, WavesBetweenValuesStartFromTheWalls) {
  const EquationPde pde = equation(R"yaml(
length: [1, 2]
flux: -grad(u)
walls:
  left: {value: sin(y)}
  right: {value: sin(y) + 1 + y^2}
  bottom: {value: x}
  top: {value: sin(2) + 5*x^2}
initial: {fourier: {amplitude: 3}}
)yaml");
  std::vector<double> x, expected;
  std::vector<double> xs, ys;
  for (int i = 0; i <= 8; ++i) {
    const double share = i / 8.0, y = 2 * share;
    xs.insert(xs.end(), {0, 1, share, share});
    ys.insert(ys.end(), {y, y, 0, 2});
    expected.insert(expected.end(),
                    {std::sin(y), std::sin(y) + 1 + y * y, share, std::sin(2) + 5 * share * share});
  }
  x = xs;
  x.insert(x.end(), ys.begin(), ys.end());
  std::vector<double> u(36);
  long redrawn = 0;
  pde.initial_state(pde.draw_initial(RandomStream(1, "states"), 0, redrawn), {}, x, u);
  for (int i = 0; i < 36; ++i) EXPECT_NEAR(u[i], expected[i], 1e-12) << xs[i] << " " << ys[i];
}

// u = exp(-t) cos(pi x) (1 + y)^2 (2 + cos z) and the source that makes it the solution of u_t = laplacian(u) + S,
// between walls of all kinds: the reference has the second order of its cells.
TEST(SeveralAxes, ReferenceHasSecondOrder) {
  const auto error = [](int cells) {
    const EquationPde pde = equation(R"yaml(
length: [1, 0.5, 6.283185307179586]
duration: 0.1
reference_rtol: 1e-6
data_cells: )yaml" + std::to_string(cells) +
                                     R"yaml(
flux: -grad(u)
source: exp(-t)*cos(pi*x)*((pi^2 - 1)*(1 + y)^2*(2 + cos(z)) - 2*(2 + cos(z)) + (1 + y)^2*cos(z))
walls:
  left: {value: exp(-t)*(1 + y)^2*(2 + cos(z))}
  right: {slope: 0}
  bottom: {slope: 2*exp(-t)*cos(pi*x)*(2 + cos(z))}
  top: {u: 1, u_y: 0.5, value: "exp(-t)*cos(pi*x)*(2 + cos(z))*(2.25 + 1.5)"}
  z: periodic
initial: {expression: cos(pi*x)*(1 + y)^2*(2 + cos(z))}
exact: exp(-t)*cos(pi*x)*(1 + y)^2*(2 + cos(z))
)yaml");
    return reference_error(pde, 0.1);
  };
  const double coarse = error(6), fine = error(12);
  EXPECT_NEAR(std::log2(coarse / fine), 2, 0.1) << coarse << " and " << fine;
}

struct Mistake {
  const char* change;
  const char* message;
};

TEST(SeveralAxes, MistakesAreNamedWithPlaceRuleAndRemedy) {
  const auto fails = [](const std::string& text, const std::string& message) {
    try {
      equation(text);
      ADD_FAILURE() << "taken:\n" << text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("deck.yaml:"), HasSubstr(message))) << text;
    }
  };
  const std::string start = "length: [1, 2]\ninitial: {constant: {minimum: 0.1, maximum: 1}}\n";
  const Mistake terms[] = {
      {"flux: -d(u,x)",
       "deck.yaml:4:7: flux '-d(u,x)', character 1: this is a number, but the flux has 2 components"},
      {"flux: {x: \"-d(u,x)\", z: 1}",
       "deck.yaml:4:22: flux of 'u' along 'z', which is no axis (axes: x, y)"},
      {"flux: {x: -d(u,x)}", "inside { } a formula that holds a comma needs quotes"},
      {"flux: {x: grad(u)}",
       "deck.yaml:4:11: flux 'grad(u)', character 1: this is a vector; a number is needed"},
      {"flux: [1, 2, 3]", "deck.yaml:4:7: flux of 'u': 3 formulas for 2 axes (x, y)"},
      {"flux: {y: \"d(u,y)\"}",
       "deck.yaml:4:7: the flux of 'u' is anti-diffusion: its derivative by d(u,y) is 1 at an initial state (u = "},
      {"flux: {x: \"-d(u,x) - 3*d(u,y)\", y: \"-4*d(u,y) - 2*d(u,x)\"}",
       "the flux of 'u' is anti-diffusion in a direction between the axes: its matrix D in -D*grad(u) has the symmetric "
       "part [[1, 2.5], [2.5, 4]] with a negative eigenvalue at an initial state (u = "},
      {"flux: {y: u/(y - 0.0625)}",
       "the flux along y is not finite with its derivatives at an initial state (u = "},
      {"source: log(y - 1)",
       "x = 0.03125, y = 0.0625, t = 0): logarithm of a negative number in 'log(y - 1)'"},
      {"source: u*laplacian(u)", "the equation takes the divergence of the flux itself"},
      {"source: u*z", "the equation has the axes x, y, and z with 3 numbers in its length"},
      {"source: u*length", "unknown name 'length'; did you mean 'length_x'"},
      {"unknowns: [u, v]\nflux: {x: u, y: v}",
       "deck.yaml:5:7: flux by axis for 2 unknowns; each has its own: {u: {x: ..., y: ...}, ...}"},
      {"unknowns: [y]", "'y' is a word of the language"},
      {"parameters: {y: 1}", "'y' is a word of the language"},
      {"data_cells: [32, 32, 32]",
       "deck.yaml:4:1: data_cells has 3 numbers and length 2; give one for each axis"},
      {"data_cells: [2, 32]", "'data_cells[0]': '2' is out of range"},
  };
  for (const Mistake& mistake : terms) {
    std::string text = mistake.change;
    if (text.find("flux") == std::string::npos) text += "\nflux: -grad(u)";
    if (text.find("unknowns: [u, v]") != std::string::npos) text += "\nsource: [u, v]";
    fails(start + "walls: periodic\n" + text, mistake.message);
  }
  fails("length: [1, 2, 3, 4]\nflux: -grad(u)", "'length' has 4 entries");
  fails("length: [1, -2]\nflux: -grad(u)", "'length[1]': '-2' is out of range");
  fails("data_cells: [32, 32]\nflux: -grad(u)", "data_cells has 2 numbers and length 1");

  const std::string base = "flux: -grad(u)\n";
  const Mistake walls[] = {
      {"walls: {left: {value: 1}, right: {slope: 0}, bottom: {slope: 0}}",
       "the top wall is missing: each side needs a condition; allowed: walls: periodic, or a condition for each face"},
      {"walls: {x: periodic, left: {value: 1}, bottom: {slope: 0}, top: {slope: 0}}",
       "deck.yaml:4:22: the axis x is periodic, so that it has no left wall"},
      {"walls: {x: perodic, bottom: {slope: 0}, top: {slope: 0}}",
       "the walls of the axis x are neither periodic nor conditions; write x: periodic, or conditions for left and "
       "right"},
      {"walls: {x: periodic, bottom: periodic, top: {slope: 0}}", "write y: periodic"},
      {"walls: {x: periodic, bottom: {slope: 0}, top: {slope: 0}, front: {slope: 0}}", "unknown key 'front'"},
      {"walls: {x: periodic, bottom: {value: y}, top: {slope: 0}}",
       "the position 'y' cannot be used in the bottom wall; names: length_x, length_y, duration, x, t, pi"},
      {"walls: {x: periodic, bottom: {u_x: 1, value: 0}, top: {slope: 0}}",
       "unknown key 'u_x' in 'walls.bottom'; did you mean 'u_y'?"},
      {"walls: {x: periodic, bottom: {value: 1/(x - 0.5)}, top: {slope: 0}}",
       "the bottom wall is not finite at t = 0, at x = 0.5, y = 0: division by zero"},
      {"walls: {x: periodic, bottom: {u: 2*x - 1, value: 0}, top: {slope: 0}}",
       "the bottom wall is 0 = value at x = 0.5, y = 0: the factors of u and u_y are both 0"},
      {"walls: {x: periodic, bottom: {value: 1, outside: 3}, top: {slope: 0}}",
       "outside is 3; allowed: from 0 to the length 2"},
      {"walls: {left: {value: 1}, right: {slope: 0}, bottom: {value: x}, top: {value: 1}}",
       "deck.yaml:4:46: the bottom wall holds u = 0 at the corner x = 0, y = 0 (t = 0), where the left wall holds u = 1; "
       "both are one place, so write values that agree there, or give one of the walls a slope"},
      {"walls: {left: {value: t}, right: {slope: 0}, bottom: {slope: 0}, top: {value: 0}}",
       "the top wall holds u = 0 at the corner x = 0, y = 2 (t = 0.0625), where the left wall holds u = 0.0625"},
  };
  for (const Mistake& mistake : walls) fails(start + base + mistake.change, mistake.message);
  fails(
      "length: [1, 1, 1]\ninitial: {expression: 1}\nflux: -grad(u)\nwalls: {left: {slope: 0}, right: {slope: 0}, bottom: "
      "{value: z}, top: {slope: 0}, back: {value: x}, front: {value: 1}}",
      "the back wall holds u = 0.125 at the edge x = 0.125, y = 0, z = 0 (t = 0), where the bottom wall holds u = 0");

  const Mistake states[] = {
      {"initial: {expression: 1/(y - 0.0625)}",
       "the initial state of 'u' is inf at x = 0.03125, y = 0.0625: division by zero in '1/(y - 0.0625)'"},
      {"initial: {gaussian_random_field: {length_scale: 1e-3}}", "length_scale gives a state of 2 axes"},
      {"initial: {expression: z}", "unknown name 'z'"},
  };
  for (const Mistake& mistake : states)
    fails("length: [1, 2]\nflux: -grad(u)\nwalls: periodic\n" + std::string(mistake.change), mistake.message);
  fails(
      "length: [1, 1, 1]\nflux: -grad(u)\nwalls: periodic\ninitial: {fourier: {modes: 64}}",
      "deck.yaml:4:21: modes gives a state of 3 axes 2146689 random numbers; allowed: 1048576, so give fewer modes");
}

// Of the matrices -dF/d(grad u) those are taken whose symmetric part has no negative eigenvalue.
TEST(SeveralAxes, DiffusionMayBeAMatrix) {
  const auto box = [](const std::string& xy, const std::string& xz, const std::string& yz) {
    return "{length: [1, 1, 1], initial: {expression: 1}, walls: periodic, flux: {x: \"-d(u,x) - " + xy +
           "*d(u,y) - " + xz + "*d(u,z)\", y: \"-" + xy + "*d(u,x) - d(u,y) - " + yz + "*d(u,z)\", z: \"-" +
           xz + "*d(u,x) - " + yz + "*d(u,y) - d(u,z)\"}}";
  };
  EXPECT_NO_THROW(equation(box("0.9", "0.9", "0.9")));
  EXPECT_NO_THROW(equation(box("1", "1", "1")));  // singular
  // What is not symmetric turns, and does not grow.
  EXPECT_NO_THROW(equation(
      "{length: [1, 1], initial: {expression: 1}, walls: periodic, flux: {x: \"-d(u,x) - 5*d(u,y)\", "
      "y: \"-d(u,y) + 5*d(u,x)\"}}"));
  EXPECT_THROW(equation(box("0.9", "0.9", "-0.9")), InputError);  // each two axes alone are well
}

// A permeability: flux and source read it as a row behind the positions; its numbers come after those of the state.
TEST(CoefficientFields, AreReadByFluxAndSource) {
  const std::string rest =
      "length: [1, 2]\nwalls: {x: periodic, bottom: {slope: 0}, top: {slope: 0}}\n"
      "initial: {gaussian_random_field: {length_scale: 0.5}}\nparameters: {b: 3}\n";
  const EquationPde plain = equation(rest + "flux: -grad(u)"), pde = equation(rest + R"yaml(
fields:
  K: {gaussian_random_field: {length_scale: 0.4, amplitude: 0.5, mean: 0.25}, expression: b*exp(K) + y}
  f: {constant: {minimum: 1, maximum: 2}, expression: f*K + x}
flux: -K*grad(u)
source: f*u
)yaml");
  ASSERT_EQ(pde.fields(), (std::vector<std::string>{"K", "f"}));
  EXPECT_FALSE(pde.linear_flux());
  const std::vector<double> arguments{2, 3, 5}, x{0.1, 0.2, 7, 11}, t{0}, parameters{3};
  TermValues out;
  pde.flux(1, {1, arguments, x, t, parameters, {}}, 1, out);
  EXPECT_EQ(out.value[0], -35);
  EXPECT_EQ(out.by(0, 2)[0], -7);
  pde.source({1, std::span(arguments).first(1), x, t, parameters, {}}, 0, out);
  EXPECT_EQ(out.value[0], 22);

  const RandomStream stream(1, "states");
  long redrawn = 0;
  const std::vector<double> of_state = plain.draw_initial(stream, 4, redrawn),
                            all = pde.draw_initial(stream, 4, redrawn);
  ASSERT_GT(all.size(), of_state.size());
  EXPECT_TRUE(std::equal(of_state.begin(), of_state.end(), all.begin()));
  const std::vector<double> points{0.1, 0.6, 0.2, 1.7};
  std::vector<double> u(2), u_plain(2), values(4), field(2);
  pde.initial_state(all, parameters, points, u);
  plain.initial_state(of_state, parameters, points, u_plain);
  EXPECT_EQ(u, u_plain);
  pde.field_values(all, parameters, points, values);
  // The random part alone, as an initial state with the same numbers.
  const EquationPde alone = equation(
      "length: [1, 2]\nwalls: {x: periodic, bottom: {slope: 0}, top: {slope: 0}}\nflux: "
      "-grad(u)\ninitial: {gaussian_random_field: {length_scale: 0.4, amplitude: 0.5, "
      "mean: 0.25}}\n");
  const std::span<const double> numbers = std::span(all).subspan(of_state.size());
  alone.initial_state(numbers.first(numbers.size() - 1), {}, points, field);
  for (int p = 0; p < 2; ++p) {
    EXPECT_DOUBLE_EQ(values[2 * p], 3 * std::exp(field[p]) + points[2 + p]);
    EXPECT_DOUBLE_EQ(values[2 * p + 1], numbers.back() * field[p] + points[p]);
  }
  EXPECT_NE(field[0], field[1]);
}

TEST(CoefficientFields, OfOneAxis) {
  const EquationPde pde = equation(
      "fields: {K: {fourier: {modes: 2}, expression: exp(K)}}\nflux: -K*d(u,x)\nwalls: {left: {value: 1}, right: {value: "
      "0}}\ninitial: {expression: 1 - x}");
  const std::vector<double> x{0, 0.25};
  std::vector<double> values(2);
  pde.field_values(std::vector<double>{0.5, -1}, {}, x, values);
  const double first = 1 / std::sqrt(1.25), second = 0.5 * first;  // weights 1/k, of root mean square 1
  for (int p = 0; p < 2; ++p)
    EXPECT_NEAR(values[p], std::exp(first * 0.5 * cosine(1, pi * x[p]) - second * cosine(2, pi * x[p])),
                1e-14);
}

TEST(CoefficientFields, MistakesAreNamedWithPlaceRuleAndRemedy) {
  const Mistake mistakes[] = {
      {"fields: {K: {gaussian_random_field: {}}}\nflux: -K*grad(u)",
       "deck.yaml:5:7: the flux of 'u' is anti-diffusion: its derivative by d(u,x) is "},
      {"fields: {K: {expression: x - 0.7}}\nflux: -K*grad(u)", ", K = -0.66875, t = 0)"},
      {"fields: {K: {expression: 1/(y - 0.03125)}}\nflux: -K*grad(u)",
       "the field 'K' is inf at x = 0.03125, y = 0.03125: division by zero in '1/(y - 0.03125)' (field, character 1)"},
      {"fields: {K: {expression: 1}}\nflux: \"[d(K*u,x), 0]\"",
       "the derivative of the field 'K' in space is not known; the flux is differentiated as a whole, so write the field "
       "before the derivative, as in K*d(u,x)"},
      {"fields: {K: {expression: 1}}\nflux: -grad(u)\nstorage: K*u",
       "the field 'K' cannot be used in the storage"},
      {"fields: {K: {expression: u}}\nflux: -grad(u)",
       "deck.yaml:4:26: field 'u', character 1: unknown name 'u'"},
      {"fields: {K: {expression: 1 + K}}\nflux: -grad(u)",
       "field '1 + K' reads 'K', which stands for a random state"},
      {"fields: {K: {expression: t}}\nflux: -grad(u)", "the time 't' cannot be used in the field"},
      {"fields: {K: {}}\nflux: -grad(u)", "the field 'K' is empty; allowed: constant, fourier"},
      {"fields: {K: 1}\nflux: -grad(u)", "the field 'K' is no mapping"},
      {"fields: {u: {expression: 1}}\nflux: -grad(u)", "field 'u': this is already the unknown"},
      {"fields: {y: {expression: 1}}\nflux: -grad(u)", "'y' is a word of the language"},
      {"fields: 1\nflux: -grad(u)", "'fields' is no mapping; write {K: "},
  };
  for (const Mistake& mistake : mistakes) {
    try {
      equation("length: [1, 1]\nwalls: periodic\ninitial: {constant: {minimum: 0, maximum: 1}}\n" +
               std::string(mistake.change));
      ADD_FAILURE() << "taken: " << mistake.change;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("deck.yaml:"), HasSubstr(mistake.message)));
    }
  }
}

// Both ends of a periodic axis are one place.
TEST(SeveralAxes, PeriodicAxesClose) {
  const auto check = [](const std::string& text) {
    const DeckNode deck = parse_deck_text(
        "pde:\n  length: [1, 2]\n  walls: {left: {slope: 0}, right: {slope: 0}, y: periodic}\n" + text,
        "deck.yaml");
    const EquationPde pde(deck.child("pde"));
    const std::vector<Grid> grids{pde.data_grid()};
    check_walls(pde, deck.child("pde"), grids);
  };
  const Mistake mistakes[] = {
      {"  flux: -grad(u)\n  initial: {expression: x*y}",
       "deck.yaml:5:3: the initial state of 'u' is 0 at y = 0 and 0.58 at y = 2 (x = 0.29, t = 0), but the axis y is "
       "periodic, so that these are one point; write it so that both ends agree, for example with "
       "sin(2*pi*y/length_y), move a jump inside, or give walls bottom and top"},
      {"  flux: -(1 + y)*grad(u)\n  initial: {expression: x}", "deck.yaml:4:3: the flux along x is "},
      {"  flux: -grad(u)\n  source: y*u\n  initial: {expression: 1}",
       "the source is 0 at y = 0 and 2.74 at y = 2"},
      {"  fields: {K: {expression: exp(y)}}\n  flux: -K*grad(u)\n  initial: {expression: 1}",
       "the field 'K' is 1 at y = 0"},
  };
  for (const Mistake& mistake : mistakes) {
    try {
      check(mistake.change);
      ADD_FAILURE() << "taken: " << mistake.change;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(mistake.message));
    }
  }
  EXPECT_NO_THROW(
      check("  fields: {K: {fourier: {}, expression: exp(K)}}\n  flux: -K*(1 + x)*grad(u)\n  source: "
            "if(y > 0.5 and y < 1, u, 0)\n  initial: {gaussian_random_field: {length_scale: 0.3}}"));
}

TEST(SteadyProblems, HaveNoStorageAndNoTime) {
  const std::string start = "length: [1, 1]\nsteady: true\n",
                    held = "walls: {x: periodic, bottom: {value: x}, top: {slope: 0}}\n";
  const EquationPde pde = equation(start + held + "typical_state: 0.5\nflux: -(1 + u^2)*grad(u)\nsource: x");
  EXPECT_TRUE(pde.steady());
  EXPECT_TRUE(pde.autonomous());
  EXPECT_EQ(pde.typical_storage_slope(), 1);
  const std::vector<double> u{2}, points{0.1, 0.2};
  TermValues out;
  pde.storage({1, u, {}, {}, {}, {}}, 1, out);
  EXPECT_EQ(out.value[0], 0);
  EXPECT_EQ(out.by(0, 0)[0], 0);
  long redrawn = 0;
  EXPECT_TRUE(pde.draw_initial(RandomStream(1, "states"), 0, redrawn).empty());
  std::vector<double> state(1);
  pde.initial_state({}, {}, points, state);
  EXPECT_EQ(state[0], 0.5);

  const Mistake mistakes[] = {
      {"initial: {expression: 1}\nflux: -grad(u)", "deck.yaml:3:1: a steady problem has no initial"},
      {"storage: u\nflux: -grad(u)", "a steady problem has no storage"},
      {"duration: 2\nflux: -grad(u)", "a steady problem has no duration"},
      {"flux: -grad(u)\nsource: t", "the time 't' cannot be used in the source"},
      {"flux: grad(u)", "the flux of 'u' is anti-diffusion"},
      {"fields: {K: {expression: x - 0.5}}\nflux: -K*grad(u)", "the flux of 'u' is anti-diffusion"},
      {"walls: periodic\nflux: -grad(u)\nsource: sin(2*pi*x)",
       "deck.yaml:3:8: the steady problem is singular: no wall holds 'u' and neither flux nor source reads it"},
  };
  for (const Mistake& mistake : mistakes) {
    const std::string change = mistake.change;
    try {
      equation(start + change + (change.find("walls") == std::string::npos ? "\n" + held : ""));
      ADD_FAILURE() << "taken: " << change;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(mistake.message));
    }
  }
  EXPECT_NO_THROW(equation(start + "walls: periodic\nflux: -grad(u)\nsource: sin(2*pi*x) - u"));
}

// div(-(2 + x + u/10) grad u) = S with the S that makes u = exp(x) (2 + sin(pi y)) the solution: second order.
TEST(SteadyProblems, ReferenceHasSecondOrder) {
  const auto error = [](int cells) {
    const EquationPde pde = equation("data_cells: " + std::to_string(cells) + R"yaml(
length: [1, 2]
steady: true
typical_state: 2
functions:
  "w(a, b)": exp(a)*(2 + sin(pi*b))
  "wy(a, b)": pi*exp(a)*cos(pi*b)
flux: -(2 + x + 0.1*u)*grad(u)
source: -((1 + 0.1*w(x, y))*w(x, y) + 0.1*wy(x, y)^2 + (2 + x + 0.1*w(x, y))*(w(x, y) - pi^2*exp(x)*sin(pi*y)))
walls: {left: {value: 2 + sin(pi*y)}, right: {u: 1, u_x: 1, value: "2*w(1, y)"}, y: periodic}
exact: w(x, y)
)yaml");
    return reference_error(pde, 1);
  };
  const double coarse = error(12), fine = error(24);
  EXPECT_NEAR(std::log2(coarse / fine), 2, 0.1) << coarse << " and " << fine;
}

TEST(SeveralAxes, FaultsAreExplained) {
  const EquationPde pde = equation(
      "{length: [1, 1], title: Mine, flux: \"[u, u/(1 - y)]\", walls: periodic, initial: {expression: 1}}");
  const std::vector<double> arguments{1, 0, 0}, x{0.5, 1}, t{0};
  EXPECT_EQ(pde.explain("flux", {1, arguments, x, t, {}, {}}, 0),
            "division by zero in 'u/(1 - y)' (flux, character 5): 1 / 0 = inf (Mine)");
}

}  // namespace
}  // namespace rankine
