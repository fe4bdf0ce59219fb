// Equations that a deck writes down: what they compile to, and the message for everything that is wrong.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/conservative_scheme.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/time_events.hpp"

namespace rankine {
namespace {

using kernels::TermPoints;
using kernels::TermValues;
using testing::HasSubstr;

EquationPde equation(const std::string& yaml) { return EquationPde(parse_deck_text(yaml, "deck.yaml")); }

const char* const diffusion_sorption_text = R"yaml(
length: 1
duration: 500
length_unit: m
time_unit: s
labels: {u: concentration}
parameters:
  D: 5.0e-4
  phi: 0.29
  rho: 2880
  k: 3.5e-4
  n: 0.874
  eps: 1e-6
  c: (1-phi)/phi*rho*k*n
storage: if(u > 0, u + c/n*((u+eps)^n - eps^n), u*(1 + c*eps^(n-1)))
flux: -D*d(u,x)
walls:
  left: {value: 1, outside: 1/2048}
  right: {u: 1, u_x: D, value: 0, outside: length/1024/2}
initial: {constant: {minimum: 1e-3, maximum: 0.2}}
typical_slope: 3.5
typical_state: 0.3
)yaml";

void expect_near(const std::vector<double>& found, const std::vector<double>& exact) {
  ASSERT_EQ(found.size(), exact.size());
  double largest = 0;
  for (const double v : exact) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], exact[i], 1e-13 * largest);
}

TEST(EquationPde, DiffusionSorptionAgreesWithTheBuiltIn) {
  const EquationPde written = equation(diffusion_sorption_text);
  const DiffusionSorption built_in{DiffusionSorptionOptions{}};
  EXPECT_EQ(written.field_name(0), "concentration");
  EXPECT_TRUE(written.linear_flux());
  EXPECT_TRUE(written.autonomous());
  EXPECT_FALSE(written.periodic(0));
  EXPECT_FALSE(written.has_source());
  EXPECT_EQ(written.flux_derivatives(), 1);
  EXPECT_EQ(written.typical_storage_slope(), 3.5);
  EXPECT_EQ(written.typical_state(0), 0.3);
  ASSERT_EQ(written.parameters().size(), 6u);  // c follows from the others

  constexpr long size = 200;
  std::vector<double> arguments(3 * size), x(size, 0.5), t(size, 1);
  for (long i = 0; i < size; ++i) {
    arguments[i] = -0.05 + 0.006 * static_cast<double>(i);
    arguments[size + i] = std::sin(static_cast<double>(i));
    arguments[2 * size + i] = std::cos(static_cast<double>(i));
  }
  std::vector<double> values, values_built_in{5e-4};
  for (const PdeParameter& p : written.parameters()) values.push_back(p.value);
  for (const std::vector<int>& learned :
       {std::vector<int>{}, std::vector<int>{0}}) {  // D is the first of both
    for (int order = 0; order <= 2; ++order) {
      const TermPoints at{size, arguments, x, t, values, learned},
          at_built_in{size, arguments, x, t, values_built_in, learned};
      TermValues a, b;
      written.storage(at, order, a);
      built_in.storage(at_built_in, order, b);
      expect_near(a.value, b.value);
      expect_near(a.gradient, b.gradient);
      expect_near(a.hessian, b.hessian);
      written.flux(0, at, order, a);
      built_in.flux(0, at_built_in, order, b);
      expect_near(a.value, b.value);
      expect_near(a.gradient, b.gradient);
      expect_near(a.hessian, b.hessian);
    }
    for (const Side side : {Side::left, Side::right}) {
      const WallCondition a = written.wall({0, side}, 0, {}, 0, values, learned),
                          b = built_in.wall({0, side}, 0, {}, 0, values_built_in, learned);
      EXPECT_DOUBLE_EQ(a.value_factor, b.value_factor);
      EXPECT_DOUBLE_EQ(a.slope_factor, b.slope_factor);
      EXPECT_DOUBLE_EQ(a.target, b.target);
      EXPECT_DOUBLE_EQ(a.outside, b.outside);
      EXPECT_EQ(a.value_factor_by, b.value_factor_by);
      EXPECT_EQ(a.slope_factor_by, b.slope_factor_by);
      EXPECT_EQ(a.target_by, b.target_by);
    }
  }
  const RandomStream stream(7, "samples");
  for (long id = 0; id < 50; ++id) {
    long redrawn = 0, redrawn_built_in = 0;
    EXPECT_EQ(written.draw_initial(stream, id, redrawn), built_in.draw_initial(stream, id, redrawn_built_in));
    EXPECT_EQ(redrawn, redrawn_built_in);
  }
  std::vector<double> state(3);
  written.initial_state(std::vector<double>{0.12}, values, std::vector<double>{0, 0.5, 1}, state);
  EXPECT_EQ(state, (std::vector<double>{0.12, 0.12, 0.12}));
}

/// Covariance of the random initial states at points x: [x][x]. They are linear in their numbers, which are
/// independent and normal.
std::vector<double> covariance(const EquationPde& pde, const std::vector<double>& x) {
  long redrawn = 0;
  const size_t count = pde.draw_initial(RandomStream(1, "states"), 0, redrawn).size();
  std::vector<double> numbers(count, 0.0), mean(x.size()), state(x.size()), sum(x.size() * x.size(), 0.0);
  pde.initial_state(numbers, {}, x, mean);
  for (size_t n = 0; n < count; ++n) {
    numbers.assign(count, 0.0);
    numbers[n] = 1;
    pde.initial_state(numbers, {}, x, state);
    for (size_t i = 0; i < x.size(); ++i)
      for (size_t j = 0; j < x.size(); ++j)
        sum[i * x.size() + j] += (state[i] - mean[i]) * (state[j] - mean[j]);
  }
  return sum;
}

EquationPde field_equation(double length, const std::string& walls, double length_scale) {
  return equation("length: " + shortest(length) + "\nflux: -d(u,x)\nwalls: " + walls +
                  "\ninitial: {gaussian_random_field: {length_scale: " + shortest(length_scale) +
                  ", amplitude: 0.5, mean: 2}}\n");
}

// The covariance that `rankine describe` promises. Between walls the next image adds at most exp(-12.5) =
// 4e-6 of the variance (length_scale = length / 5); elsewhere terms below 1e-8 are cut off.
TEST(EquationPde, GaussianRandomFieldsHaveThePromisedCovariance) {
  for (const double length : {1.0, 7.0}) {
    std::vector<double> x;
    for (int i = 0; i <= 20; ++i) x.push_back(length * i / 20);
    for (const double share : {0.03, 0.15, 0.2, 0.21, 0.3, 0.5, 0.6, 1.0, 3.0, 50.0, 1e7, 1e300}) {
      const double l = share * length;
      for (const bool periodic : {false, true}) {
        const std::vector<double> found = covariance(
            field_equation(length, periodic ? "periodic" : "{left: {slope: 0}, right: {slope: 0}}", l), x);
        const auto images = [&](double r) {
          double sum = 0;
          const int reach = periodic ? static_cast<int>(10 * std::min(share, 100.0)) + 2 : 0;
          for (int n = -reach; n <= reach; ++n) sum += std::exp(-std::pow((r + n * length) / l, 2) / 2);
          return sum;
        };
        for (size_t i = 0; i < x.size(); ++i)
          for (size_t j = 0; j < x.size(); ++j)
            EXPECT_NEAR(found[i * x.size() + j], 0.25 * images(x[i] - x[j]) / images(0), 0.25 * 5e-6)
                << "length " << length << ", length_scale " << l << (periodic ? ", ring" : "") << ", x "
                << x[i] << " and " << x[j];
      }
    }
  }
}

// The same of draws: with n of them, of a variance s^2 and a correlation c, the standard error of the
// covariance is s^2 sqrt((1 + c^2) / n).
TEST(EquationPde, DrawnFieldsHaveThePromisedCovariance) {
  const std::vector<double> x{0, 0.35, 1};
  for (const double l : {0.15, 0.7, 2.0}) {
    const EquationPde pde = field_equation(1, "{left: {slope: 0}, right: {slope: 0}}", l);
    const RandomStream stream(3, "states");
    constexpr int draws = 20000;
    std::vector<double> sum(9, 0.0), state(3);
    for (long id = 0; id < draws; ++id) {
      long redrawn = 0;
      pde.initial_state(pde.draw_initial(stream, id, redrawn), {}, x, state);
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) sum[3 * i + j] += (state[i] - 2) * (state[j] - 2) / draws;
    }
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        const double c = std::exp(-std::pow((x[i] - x[j]) / l, 2) / 2);
        EXPECT_NEAR(sum[3 * i + j], 0.25 * c, 4 * 0.25 * std::sqrt((1 + c * c) / draws))
            << l << " " << i << " " << j;
      }
  }
}

// Residual, linearisation, its adjoint, second derivatives, parameter gradient and frozen march, to 1e-13 of
// each array's maximum.
TEST(EquationPde, DiffusionSorptionHasTheSchemeOfTheBuiltIn) {
  const EquationPde written = equation(diffusion_sorption_text);
  const DiffusionSorption built_in{DiffusionSorptionOptions{}};
  constexpr int cells = 64, frames = 20;
  std::vector<double> times, values;
  for (int j = 0; j <= frames; ++j) times.push_back(500.0 * j * j / (frames * frames));
  for (const PdeParameter& p : written.parameters()) values.push_back(p.value);
  for (const std::vector<int>& learned : {std::vector<int>{}, std::vector<int>{0}}) {
    const ConservativeScheme a(written, written.grid({cells}), times, 0.5, 2, {values, learned}),
        b(built_in, built_in.grid({cells}), times, 0.5, 2, {{5e-4}, learned});
    const size_t points = static_cast<size_t>(a.points()), width = static_cast<size_t>(a.width());
    const auto wave = [](size_t size, double rate, double mean) {
      std::vector<double> out(size);
      for (size_t i = 0; i < size; ++i) out[i] = mean + 0.5 * std::sin(rate * static_cast<double>(i));
      return out;
    };
    const std::vector<double> u = wave(points + width, 0.013, 0.4), v = wave(points, 0.7, 0),
                              s = wave(points, 1.1, 0);
    SchemePoint at_a(a, u, 2), at_b(b, u, 2);
    expect_near(at_a.residual(), at_b.residual());
    expect_near(a.frozen_residual(u), b.frozen_residual(u));
    std::vector<double> out_a(points), out_b(points);
    at_a.apply(v, 1, out_a);
    at_b.apply(v, 1, out_b);
    expect_near(out_a, out_b);
    at_a.apply_transpose(s, out_a);
    at_b.apply_transpose(s, out_b);
    expect_near(out_a, out_b);
    std::vector<double> by_a(learned.size()), by_b(learned.size());
    at_a.second(s, v, out_a, by_a);
    at_b.second(s, v, out_b, by_b);
    expect_near(out_a, out_b);
    expect_near(by_a, by_b);
    expect_near(at_a.parameter_gradient(), at_b.parameter_gradient());
    apply_march(a.frozen_march(), v, 1, out_a);
    apply_march(b.frozen_march(), v, 1, out_b);
    expect_near(out_a, out_b);
  }
}

TEST(EquationPde, SeveralUnknowns) {
  const EquationPde pde = equation(R"yaml(
length: 2
unknowns: [u, v]
labels: {v: inhibitor}
parameters:
  Du: 0.1
  Dv: {minimum: 0.2, maximum: 2, logarithmic: true}
  a: 0.1
flux: {u: "-Du*d(u,x)", v: "-Dv*(1 + u^2)*d(v,x)"}
source: ["u - u^3 - v", "a*(u - v)"]
walls: periodic
initial:
  u: {fourier: {modes: 3, amplitude: 0.5}}
  v: {gaussian_random_field: {length_scale: 0.2, amplitude: 0.1, mean: 1}, expression: v^2 + u}
exact: {u: sin(x) + Dv, v: t*x}
)yaml");
  EXPECT_EQ(pde.unknowns(), 2);
  EXPECT_TRUE(pde.periodic(0));
  EXPECT_TRUE(pde.has_source());
  EXPECT_FALSE(pde.linear_flux());
  EXPECT_EQ(pde.symbol(1), "v");
  EXPECT_EQ(pde.field_name(0), "u");
  EXPECT_EQ(pde.field_name(1), "inhibitor");
  EXPECT_EQ(pde.typical_storage_slope(), 1);
  ASSERT_EQ(pde.parameters().size(), 3u);
  EXPECT_TRUE(pde.parameters()[1].sampled);
  EXPECT_TRUE(pde.parameters()[1].logarithmic);
  EXPECT_NEAR(pde.parameters()[1].value, std::sqrt(0.4), 1e-15);
  const std::vector<double> parameters{0.1, 0.5, 0.1}, x{0.3}, t{0};
  const std::vector<double> arguments{0.7, -0.2, 3, 4, 5, 6};  // u, v, u_x, v_x, u_xx, v_xx
  const std::vector<int> learned{1};
  TermValues out;
  pde.flux(0, {1, arguments, x, t, parameters, learned}, 2, out);
  ASSERT_EQ(out.arguments, 7);
  EXPECT_NEAR(out.at(0)[0], -0.1 * 3, 1e-15);
  EXPECT_NEAR(out.at(1)[0], -0.5 * 1.49 * 4, 1e-14);
  EXPECT_NEAR(out.by(1, 0)[0], -0.5 * 2 * 0.7 * 4, 1e-14);
  EXPECT_NEAR(out.by(1, 3)[0], -0.5 * 1.49, 1e-15);
  EXPECT_NEAR(out.by(1, 6)[0], -1.49 * 4, 1e-14);
  EXPECT_NEAR(out.by(1, 0, 3)[0], -0.5 * 2 * 0.7, 1e-15);
  EXPECT_NEAR(out.by(1, 0, 6)[0], -2 * 0.7 * 4, 1e-14);
  pde.source({1, arguments, x, t, parameters, {}}, 1, out);
  ASSERT_EQ(out.arguments, 2);
  EXPECT_NEAR(out.at(0)[0], 0.7 - 0.343 + 0.2, 1e-15);
  EXPECT_NEAR(out.by(0, 0)[0], 1 - 3 * 0.49, 1e-15);
  EXPECT_NEAR(out.by(1, 1)[0], -0.1, 1e-15);

  long redrawn = 0;
  const RandomStream stream(3, "samples");
  const std::vector<double> numbers = pde.draw_initial(stream, 5, redrawn);
  std::vector<double> state(4), again(4);
  pde.initial_state(numbers, parameters, std::vector<double>{0.1, 2.1}, state);
  EXPECT_NEAR(state[0], state[2], 1e-12);  // periodic
  EXPECT_NEAR(state[1], state[3], 1e-12);
  pde.initial_state(pde.draw_initial(stream, 6, redrawn), parameters, std::vector<double>{0.1, 2.1}, again);
  EXPECT_NE(state[0], again[0]);
  std::vector<double> exact(2);
  ASSERT_TRUE(pde.has_exact());
  pde.exact(2, parameters, std::vector<double>{0.5}, exact);
  EXPECT_NEAR(exact[0], std::sin(0.5) + 0.5, 1e-15);
  EXPECT_EQ(exact[1], 1);
}

TEST(EquationPde, NonlinearFluxAndWallsThatMove) {
  const EquationPde pde = equation(R"yaml(
parameters: {nu: 0.01, speed: 2}
functions: {"K(u)": "1 + u^2", "fast(a, b)": a*b}
storage: u + u^3
flux: u^2/2 - nu*K(u)*d(u,x)
walls:
  left: {value: "fast(speed, t)"}
  right: {slope: -nu}
initial: {expression: cos(pi*x/length/2)}
)yaml");
  EXPECT_FALSE(pde.linear_flux());
  EXPECT_FALSE(pde.autonomous());
  EXPECT_EQ(pde.flux_derivatives(), 1);
  const std::vector<double> parameters{0.01, 2};
  const std::vector<int> learned{0, 1};
  const WallCondition left = pde.wall({0, Side::left}, 0, {}, 3, parameters, learned);
  EXPECT_EQ(left.value_factor, 1);
  EXPECT_EQ(left.slope_factor, 0);
  EXPECT_EQ(left.target, 6);
  EXPECT_EQ(left.target_by, (std::vector<double>{0, 3}));
  const WallCondition right = pde.wall({0, Side::right}, 0, {}, 3, parameters, learned);
  EXPECT_EQ(right.value_factor, 0);
  EXPECT_EQ(right.slope_factor, 1);
  EXPECT_EQ(right.target, -0.01);
  EXPECT_EQ(right.target_by, (std::vector<double>{-1, 0}));
}

TEST(EquationPde, ThirdDerivativesOnAPeriodicDomain) {
  const EquationPde pde = equation(
      "{flux: '3*u^2 + d(u,x,x)', walls: periodic, initial: {fourier: {modes: 2}}, length: 10, duration: 1}");
  EXPECT_EQ(pde.flux_derivatives(), 2);
}

/// Amplitudes of random states: the root mean square over many samples.
TEST(EquationPde, RandomStatesHaveTheirAmplitude) {
  const RandomStream stream(1, "samples");
  for (const std::string text :
       {"{walls: periodic, initial: {fourier: {modes: 5, amplitude: 0.7, decay: 1.5}}}",
        "{walls: periodic, initial: {gaussian_random_field: {length_scale: 0.1, amplitude: 0.7}}}",
        "{walls: {left: {slope: 0}, right: {slope: 0}}, initial: {gaussian_random_field: {length_scale: 0.1, "
        "amplitude: 0.7}}}",
        "{walls: {left: {slope: 0}, right: {slope: 0}}, initial: {fourier: {modes: 5, amplitude: 0.7}}}",
        "{walls: {left: {value: 0}, right: {value: 0}}, initial: {fourier: {modes: 5, amplitude: 0.7}}}"}) {
    const EquationPde pde = equation("{flux: u, " + text.substr(1));
    std::vector<double> x(64), u(64);
    for (int i = 0; i < 64; ++i) x[i] = (i + 0.5) / 64;
    double sum = 0;
    constexpr int samples = 2000;
    for (long id = 0; id < samples; ++id) {
      long redrawn = 0;
      pde.initial_state(pde.draw_initial(stream, id, redrawn), {}, x, u);
      for (const double v : u) sum += v * v;
    }
    EXPECT_NEAR(std::sqrt(sum / (64 * samples)), 0.7, 0.03) << text;
  }
  // Between walls with values the waves start from the line that joins the values.
  const EquationPde pde =
      equation("{flux: u, walls: {left: {value: 1}, right: {value: 3}}, initial: {fourier: {}}}");
  long redrawn = 0;
  std::vector<double> u(2);
  pde.initial_state(pde.draw_initial(stream, 1, redrawn), {}, std::vector<double>{0, 1}, u);
  EXPECT_NEAR(u[0], 1, 1e-14);
  EXPECT_NEAR(u[1], 3, 1e-13);
}

struct Mistake {
  const char* change;  // lines that replace the keys of a good equation, or join them
  const char* message;
};

TEST(EquationPde, MistakesAreNamedWithPlaceRuleAndRemedy) {
  const std::string good_walls = "walls: {left: {value: 1}, right: {slope: 0}}\n";
  const std::string start = "initial: {constant: {minimum: 0.1, maximum: 1}}\n";
  const Mistake with_walls[] = {
      {"flux: -D*d(u,x)", "deck.yaml:3:7: flux '-D*d(u,x)', character 2: unknown name 'D'"},
      {"flux: d(u,x,x)", "deck.yaml:3:7: the flux holds a second derivative, which needs walls: periodic"},
      {"flux: d(u,x,x,x)", "third derivative of 'u'"},
      {"flux: d(u,t)", "no derivative in time"},
      {"source: d(u,x)", "derivatives can stand in a flux only"},
      {"storage: u + x", "the position 'x' cannot be used in the storage"},
      {"flux: {v: 1}", "deck.yaml:3:8: flux of 'v', which is no unknown"},
      {"flux: {u: -d(u,x)}", "inside { } a formula that holds a comma needs quotes"},
      {"flux: [1, 2]", "flux: 2 formulas for 1 unknown"},
      {"unknowns: [u, v]\nflux: [u, v]", "the left wall of 'value', which is no unknown"},
      {"unknowns: [u, u]", "unknown 'u': this is already the unknown"},
      {"unknowns: [x]", "'x' is a word of the language"},
      {"unknowns: []", "'unknowns' has 0 entries"},
      {"parameters: {u: 1}", "deck.yaml:3:14: parameter 'u': this is already the unknown"},
      {"parameters: {length: 1}", "parameter 'length': this is already the length of the domain"},
      {"parameters: {a: b + 1, b: 2*a}", "the parameter 'a' refers to itself by way of others (a -> b -> a)"},
      {"parameters: {a: {minimum: 2, maximum: 1}}", "minimum 2 is above maximum 1"},
      {"parameters: {a: {minimum: 0, maximum: 1, logarithmic: true}}", "logarithmic: true needs one above 0"},
      {"parameters: {a: {minimum: 0, maximun: 1}}", "was 'maximum' meant?"},
      {"parameters: {D: D, r: 1}",
       "deck.yaml:3:17: parameter 'D' 'D', character 1: the parameter 'D' refers to itself"},
      {"parameters: {D: 1/0}\nflux: -D*d(u,x)",
       "deck.yaml:3:17: the parameter 'D' is not finite: division by zero in '1/0' (parameter 'D', character "
       "1)"},
      {"parameters: {s: {minimum: 0, maximum: 1}, c: log(s)}",
       "the parameter 'c' is not finite: logarithm of zero"},
      {"parameters: 3", "deck.yaml:3:13: 'parameters' is no mapping"},
      {"functions: R", "'functions' is no mapping"},
      {"labels: water", "deck.yaml:3:9: 'labels' is no mapping; write {u: what it is in words}"},
      {"parameters: {D: 0.5}\nflux: D*d(u,x)",
       "deck.yaml:4:7: the flux of 'u' is anti-diffusion: its derivative by d(u,x) is 0.5 at an initial "
       "state (u = "},
      {"flux: (u - 0.5)*d(u,x)", "t = 0), and the shortest waves grow without bound; diffusion is -D*d(u,x)"},
      {"parameters: {a: [1, 2]}", "'parameters.a' is no value"},
      {"functions: {\"R(u\": 1}", "',' or ')' was expected after an argument"},
      {"functions: {\"R(u)\": R(u)}", "'R' calls itself"},
      {"functions: {\"R(u)\": 1 + w}", "deck.yaml:3:21: function 'R' '1 + w', character 5: unknown name 'w'"},
      {"labels: {v: x}", "label of 'v', which is no unknown"},
      {"storage: -u", "deck.yaml:3:10: the storage is not increasing: its slope is -1 at the typical state"},
      {"storage: (u - 0.6)^3 + 0.01*(0.7 - u)^3", "the storage is not increasing"},
      {"storage: u^3\ntypical_state: 0", "its slope is 0 at the typical state (u = 0)"},
      {"source: 1/(u - u*1)", "division by zero"},
      {"source: log(u - 0.5)", "logarithm of a negative number in 'log(u - 0.5)'"},
      {"flux: sqrt(-u)", "the flux is not finite with its derivatives at an initial state (u = "},
      {"typical_slope: -1", "'typical_slope': '-1' is out of range"},
      {"typical_state: {v: 1}", "typical state of 'v'"},
      {"typical_state: [1, 2]", "typical_state: 2 numbers for 1 unknowns"},
      {"fluxx: u", "deck.yaml:3:1: unknown key 'fluxx'"},
      {"length: -1", "'length': '-1' is out of range"},
      {"exact: u", "the unknown 'u' cannot be used in the exact solution"},
  };
  const auto fails = [](std::string text, const std::string& message) {
    const bool has_term = text.find("flux") != std::string::npos ||
                          text.find("source") != std::string::npos ||
                          text.find("storage") != std::string::npos;
    if (!has_term) text += "\nflux: -u";
    try {
      equation(text);
      ADD_FAILURE() << "taken:\n" << text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message)) << text;
      EXPECT_THAT(error.what(), HasSubstr("deck.yaml:"));
    }
  };
  for (const Mistake& mistake : with_walls) fails(good_walls + start + mistake.change, mistake.message);

  const Mistake bad_walls[] = {
      {"source: 0", "key 'walls' is missing"},
      {"walls: periodik", "walls: 'periodik' is unknown"},
      {"walls: {periodic: true, left: {value: 1}}", "a periodic domain has no walls"},
      {"walls: {left: periodic, right: {value: 1}}", "periodic on both sides or on none"},
      {"walls: {left: {value: 1}}", "the right wall is missing"},
      {"walls: {left: {valu: 1}, right: {value: 1}}", "the left wall has no 'valu'; did you mean 'value'?"},
      {"walls: {left: {value: 1, slope: 0}, right: {value: 1}}", "'slope' beside another condition"},
      {"walls: {left: {outside: 1}, right: {value: 1}}", "the left wall has no condition"},
      {"walls: {left: {u: 0, value: 1}, right: {value: 1}}", "the factors of u and u_x are both 0"},
      {"walls: {left: {v: {value: 1}}, right: {value: 1}}", "the left wall has no 'v'"},
      {"walls: {left: {u: {value: 1}, v: {value: 1}}, right: {value: 1}}",
       "the left wall of 'v', which is no unknown"},
      {"walls: {left: {value: u}, right: {value: 1}}", "the unknown 'u' cannot be used in the left wall"},
      {"walls: {left: {value: x}, right: {value: 1}}", "the position 'x' cannot be used in the left wall"},
      {"walls: {left: {value: 1, outside: t}, right: {value: 1}}", "the time 't' cannot be used"},
      {"walls: {left: {value: 1, outside: -1}, right: {value: 1}}", "outside is -1; allowed: from 0"},
      {"walls: {left: {value: 1/t}, right: {value: 1}}",
       "the left wall is not finite at t = 0: division by zero"},
      {"walls: {left: {value: min(t, 1)}, right: {value: 1}}", "a formula that holds a comma needs quotes"},
      {"walls: {left: {value: 1}, right: {value: 1}, top: {value: 1}}", "unknown key 'top'"},
  };
  for (const Mistake& mistake : bad_walls) fails(start + mistake.change, mistake.message);

  const Mistake bad_starts[] = {
      {"source: 0", "key 'initial' is missing"},
      {"initial: {}", "the initial state is empty"},
      {"initial: {fourier: {}, constant: {minimum: 0, maximum: 1}}", "choose one"},
      {"initial: {constant: {minimum: 1, maximum: 0}}", "minimum 1 is above maximum 0"},
      {"initial: {constant: {minimum: 1}}", "key 'maximum' is missing"},
      {"initial: {fourier: {modes: 0}}", "is out of range"},
      {"initial: {fouriers: {}}", "did you mean 'fourier'"},
      {"initial: {gaussian_random_field: {length_scale: 1e-9}}", "too short for the length"},
      {"initial: {expression: u + 1}", "reads 'u', which stands for a random state"},
      {"initial: {expression: 1/x + t}", "the time 't' cannot be used in the initial state"},
      {"initial: {expression: 1/(x - x)}",
       "deck.yaml:2:23: the initial state of 'u' is inf at x = 0.0078125: division by zero in '1/(x - x)' "
       "(initial "
       "state, character 1): 1 / 0 = inf"},
      {"initial: {expression: 1 + sqrt(x - 0.5)}",
       "the initial state of 'u' is nan at x = 0.0078125: square root of a negative number in 'sqrt(x - "
       "0.5)' "
       "(initial state, character 5): sqrt(-0.4921875) = nan"},
  };
  for (const Mistake& mistake : bad_starts) fails(good_walls + mistake.change, mistake.message);

  const std::string two =
      "unknowns: [u, v]\nwalls: periodic\ninitial: {u: {fourier: {}}, v: {fourier: {}}}\n";
  fails(two + "flux: {u: u}", "unknown 'v' has no equation: 2 unknowns need as many");
  fails(two + "storage: {u: u}", "storage of 'v' is missing: 2 unknowns need as many equations");
  fails(two + "flux: {u: 'd(u,x) + u', v: v}",
        "the flux of 'u' is anti-diffusion: its derivative by d(u,x) is 1");
  // Allowed: nothing diffuses, and what others may outweigh.
  EXPECT_NO_THROW(equation(two + "flux: {u: '0*d(u,x)', v: 'd(u,x)'}"));
  EXPECT_NO_THROW(equation(two + "flux: {u: 'd(u,x) - 4*d(v,x)', v: '2*d(u,x) - 3*d(v,x)'}"));
  fails(two + "flux: u", "flux: one formula for 2 unknowns");
  fails(two + "source: [1]", "source: 1 formulas for 2 unknowns");
  fails(two + "storage: {u: v, v: u}", "the storage is not increasing: its Jacobian's determinant is -1");
  fails("unknowns: [u, v]\nwalls: periodic\ninitial: {u: {fourier: {}}}\nsource: [1, 1]",
        "the initial state of 'v' is missing");
  fails(
      "unknowns: [u, v]\nwalls: {left: {u: {value: 1}}, right: {slope: 0}}\ninitial: {u: {fourier: "
      "{}}}\nsource: [1, 1]",
      "the left wall of 'v' is missing");
}

// What the documentation shows is what the program takes.
TEST(EquationPde, EquationsOfTheDocumentationAreTaken) {
  std::ifstream file(RANKINE_SOURCE_DIR "/inputs/EQUATIONS.md");
  std::stringstream whole;
  whole << file.rdbuf();
  const std::string text = whole.str();
  int count = 0;
  for (size_t at = text.find("```yaml\n"); at != std::string::npos; at = text.find("```yaml\n", at + 1)) {
    const size_t begin = at + 8, end = text.find("```", begin);
    const DeckNode deck = parse_deck_text(text.substr(begin, end - begin), "EQUATIONS.md");
    EXPECT_NO_THROW(EquationPde(deck.child("pde")));
    ++count;
  }
  EXPECT_EQ(count, 4);
}

TEST(EquationPde, ExplainsTerms) {
  const EquationPde pde = equation(
      "{title: Mine, flux: '-d(u,x)', source: 1/(1 - u), walls: periodic, initial: {constant: {minimum: 0.1, "
      "maximum: 0.5}}}");
  const std::vector<double> u{1}, x{0}, t{0};
  EXPECT_THAT(pde.explain("source", {1, u, x, t, {}, {}}, 0),
              HasSubstr("division by zero in '1/(1 - u)' (source, character 1): 1 / 0 = inf (Mine)"));
  EXPECT_EQ(pde.explain("storage", {1, u, x, t, {}, {}}, 0), "");
}

TEST(EquationEvents, TimesOfConditionsPeaksAndWalls) {
  const EquationPde pde = equation(R"yaml(
duration: 2
parameters: {a: 0.7}
flux: -d(u,x)
source: if(t > a and t < 1.3, u, 0) + exp(-((t - 0.4)/1e-5)^2) + max(0, 1 - abs(t - 1.7)/1e-6) + sin(t)*u
walls: {left: {value: "if(t*t < 0.25, 1, 0)"}, right: {slope: 0}}
initial: {expression: 0*x}
)yaml");
  const std::vector<double> parameters{0.7};
  const std::vector<double> events = pde.time_events(parameters);
  for (const double wanted : {0.4, 0.5, 0.7, 1.3, 1.7 - 1e-6, 1.7, 1.7 + 1e-6}) {
    double nearest = 10;
    for (const double t : events) nearest = std::min(nearest, std::abs(t - wanted));
    EXPECT_LT(nearest, wanted == 0.4 ? 1e-8 : 1e-15) << wanted;
  }
  EXPECT_TRUE(std::is_sorted(events.begin(), events.end()));
  EXPECT_LT(events.size(), 20U);
  EXPECT_TRUE(equation(R"yaml(
flux: -d(u,x)
source: if(u > 0.5, 1, 0)
walls: {left: {slope: 0}, right: {slope: 0}}
initial: {expression: 0*x}
)yaml")
                  .time_events(parameters)
                  .empty());
}

TEST(EquationEvents, StopsFollowWhatVariesFast) {
  const std::vector<double> x{0.5}, u{0.0};
  const auto stops = [&](const std::string& source) {
    const EquationPde pde = equation("flux: -d(u,x)\nsource: \"" + source +
                                     "\"\nwalls: {left: {slope: 0}, right: {slope: 0}}\n"
                                     "initial: {expression: 0*x}\n");
    return time_stops(pde, {}, x, u);
  };
  EXPECT_TRUE(stops("sin(2*pi*t)").empty());  // what varies slowly needs none
  EXPECT_TRUE(stops("t*x").empty());
  const std::vector<double> pulse = stops("1/(1 + ((x + t - 1)/0.002)^2)");  // no formula of t alone
  ASSERT_FALSE(pulse.empty());
  EXPECT_GE(pulse.size(), 8U);
  for (const double t : pulse) EXPECT_NEAR(t, 0.5, 0.1);
}

TEST(EquationSize, OfInitialStatesAndWalls) {
  const EquationPde pde = equation(R"yaml(
unknowns: [u, v]
source: {u: v, v: -u}
walls: {left: {u: {value: 3*t}, v: {slope: 0}}, right: {u: {slope: 0}, v: {slope: 0}}}
initial: {u: {expression: 0*x}, v: {fourier: {modes: 1, amplitude: 1}, expression: 1e-6*v}}
)yaml");
  EXPECT_DOUBLE_EQ(pde.size(0), 3);
  EXPECT_GT(pde.size(1), 3e-7);
  EXPECT_LT(pde.size(1), 3e-6);
}

}  // namespace
}  // namespace rankine
