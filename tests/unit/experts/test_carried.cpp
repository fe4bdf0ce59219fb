// The carried ansatz: exact flows, the displacement's second order, gradients, and what it does not take.
#include <cmath>
#include <limits>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/experts/carried.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/scaled_pde.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using rankine::testing::expect_gradient;
using rankine::testing::random_tensor;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Vector = std::vector<double>;

constexpr double pi = std::numbers::pi;

EquationPde equation(const std::string& yaml) { return EquationPde(parse_deck_text(yaml, "deck.yaml")); }

const std::string periodic = "\ndiscretisation: fourier\nwalls: periodic\n";
const std::string waves = "initial: {fourier: {modes: 5, amplitude: 1.9, decay: 2.5, knee: 3}}\n";

/// Vorticity in a wind U along x.
std::string vorticity(int cells, const std::string& nu, const std::string& wind = "0") {
  const std::string n = std::to_string(cells);
  return "length: [1, 1]\nduration: 1\ndata_cells: [" + n + ", " + n +
         "]\nunknowns: [w]\nparameters: {nu: " + nu + ", U: " + wind +
         "}\nauxiliary: {psi: laplacian(psi) = -w}\n"
         "flux: {x: \"w*(U + d(psi,y)) - nu*d(w,x)\", y: \"-w*d(psi,x) - nu*d(w,y)\"}" +
         periodic;
}
const std::string diffusion =
    "length: [1, 2]\nduration: 1\ndata_cells: [16, 24]\nparameters: {nu: 3e-3}\nflux: -nu*grad(u)" +
    periodic + waves;

/// The same in a wind, which the linear part has, not the velocity.
const std::string drift =
    "length: [1, 2]\nduration: 1\ndata_cells: [16, 24]\nparameters: {nu: 3e-3}\n"
    "flux: \"[0.4*u, 0.3*u] - nu*grad(u)\"" +
    periodic + waves;

Vector starts(const EquationPde& pde, const Grid& grid, int count, int first = 0) {
  Vector out, parameters;
  for (const PdeParameter& p : pde.parameters()) parameters.push_back(p.value);
  for (int id = first; id < first + count; ++id) {
    long redrawn = 0;
    const Vector u =
        initial_cells(pde, pde.draw_initial(RandomStream(3, "states"), id, redrawn), parameters, grid);
    out.insert(out.end(), u.begin(), u.end());
  }
  return out;
}

double norm(const Vector& a) {
  double sum = 0;
  for (const double value : a) sum += value * value;
  return std::sqrt(sum);
}
double distance(const Vector& a, const Vector& b) {
  Vector difference = a;
  for (size_t i = 0; i < a.size(); ++i) difference[i] -= b[i];
  return norm(difference) / norm(b);
}

/// The k-th `size` numbers.
Vector part(const Vector& all, size_t k, size_t size) {
  return {all.begin() + static_cast<long>(k * size), all.begin() + static_cast<long>((k + 1) * size)};
}

Tensor no_outputs(const CarriedAnsatz& ansatz, std::int64_t samples) {
  return Tensor::zeros({samples, ansatz.outputs_of_network(), ansatz.coarse().cells()}, DType::f64);
}
/// Outputs that are constant in space and in the first coefficient of time alone: the values of D (2), s (3), c.
Tensor constant_outputs(const CarriedAnsatz& ansatz, const Vector& values) {
  Vector out(ansatz.outputs_of_network() * ansatz.coarse().cells());
  const long each = static_cast<long>(out.size()) / 6;
  for (long k = 0; k < 6; ++k) std::fill_n(&out[k * each], ansatz.coarse().cells(), values[k]);
  return Tensor::from(out, {1, ansatz.outputs_of_network(), ansatz.coarse().cells()});
}

/// Where the flux is linear, v is what the flow map makes of u0, and u0 right after the start.
TEST(Carried, LinearFlowIsExact) {
  for (const std::string& text : {diffusion, drift}) {
    const EquationPde pde = equation(text);
    const Grid grid = pde.data_grid();
    const FourierScheme scheme(pde, grid, {3e-3});
    const Vector times{1e-13, 0.5, 1};
    const CarriedAnsatz ansatz({.cells = {8, 8}}, pde, grid, times);
    const Vector u0 = starts(pde, grid, 2),
                 v = ansatz.fields(no_outputs(ansatz, 2), ansatz.start(u0)).to_vector();
    const auto cells = static_cast<size_t>(grid.cells());
    for (size_t s = 0; s < 2; ++s)
      for (size_t j = 0; j < 3; ++j) {
        const Vector exact = scheme.advance(part(u0, s, cells), Vector{0}, times[j], 1);
        EXPECT_LT(distance(part(v, s * 3 + j, cells), exact), 1e-12) << text << s << j;
      }
  }
}

/// A displacement by the network that is the same everywhere shifts the diffused field: by whole half cells exactly,
/// also more than once around the box, with the waves of u0 turned by k . D.
TEST(Carried, NetworkDisplacesByAnyDistance) {
  const EquationPde pde = equation(diffusion);
  const Grid grid = pde.data_grid();
  const CarriedAnsatz ansatz({.cells = {8, 12}, .displacement = 0.5}, pde, grid, {0.25, 1});
  Vector u0(grid.cells());
  const Vector x = grid.centres();
  const auto exact = [&](double t, double dx, double dy) {
    Vector out(u0.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const double a = 2 * pi * (x[i] - dx), b = pi * (x[u0.size() + i] - dy);
      out[i] = 0.3 + std::exp(-3e-3 * 5 * pi * pi * t) * std::cos(a + b) +
               std::exp(-3e-3 * 17 * pi * pi * t) * std::sin(2 * a - b);
    }
    return out;
  };
  u0 = exact(0, 0, 0);
  const auto half_x = 1.0 / 32, half_y = 1.0 / 24;  // half cells
  for (const auto& [nx, ny] : {std::pair{4, -12}, std::pair{-68, 100}}) {
    const Tensor d = constant_outputs(ansatz, {nx * half_x / 0.5, ny * half_y / 0.5, 0, 0, 0, 0});
    const Vector v = ansatz.fields(d, ansatz.start(u0)).to_vector();
    for (size_t j = 0; j < 2; ++j) {
      const double t = j == 0 ? 0.25 : 1;
      EXPECT_LT(distance(part(v, j, u0.size()), exact(t, nx * half_x * t, ny * half_y * t)), 1e-12)
          << nx << " " << j;
    }
  }
  // Between the points the cubics have an error of the third order: (k h / 2)^3 and less.
  const Tensor d = constant_outputs(ansatz, {0.3 * half_x / 0.5, 0.4 * half_y / 0.5, 0, 0, 0, 0});
  const Vector v = ansatz.fields(d, ansatz.start(u0)).to_vector();
  const double error = distance(part(v, 1, u0.size()), exact(1, 0.3 * half_x, 0.4 * half_y));
  EXPECT_LT(error, 3e-3);
  EXPECT_GT(error, 1e-6);
}

/// s and c: a_s t s : grad grad u0, and c without its mean.
TEST(Carried, SpreadingAndAddition) {
  const EquationPde pde = equation(diffusion);
  const Grid grid = pde.data_grid();
  const CarriedAnsatz ansatz({.cells = {8, 8}, .coefficients = 2, .spreading = 0.01, .addition = 0.5}, pde,
                             grid, {0.5, 1});
  const Vector x = grid.centres();
  Vector u0(grid.cells()), second(u0.size()), c(8 * 8);
  for (size_t i = 0; i < u0.size(); ++i) {
    const double phase = 2 * pi * x[i] + pi * x[u0.size() + i];
    u0[i] = 1 + std::cos(phase);
    second[i] = -(0.7 * 4 + 2 * 0.2 * 2 + 0.4) * pi * pi * std::cos(phase);
  }
  Vector outputs = constant_outputs(ansatz, {0, 0, 0.7, 0.2, 0.4, 0}).to_vector();
  for (int i = 0; i < 8; ++i)  // c in the second coefficient, t cos(pi t / T)
    for (int j = 0; j < 8; ++j) outputs[11 * 64 + i * 8 + j] = 2 + std::sin(2 * pi * (i + 0.5) / 8);
  const auto start = ansatz.start(u0);
  const Vector v = ansatz.fields(Tensor::from(outputs, {1, 12, 64}), start).to_vector(),
               bare = ansatz.fields(no_outputs(ansatz, 1), start).to_vector();
  for (size_t i = 0; i < v.size(); ++i) {
    const double t = i < u0.size() ? 0.5 : 1, basis = i < u0.size() ? 0 : -1;
    const size_t cell = i % u0.size();
    EXPECT_NEAR(v[i] - bare[i], 0.01 * t * second[cell] + 0.5 * basis * std::sin(2 * pi * x[cell]), 1e-12);
  }
}

/// One wave in a wind: its own flow runs along its crests, where nothing changes, so that it is carried by the wind and
/// decays. Exact, because the frames lie 12, 24 and 48 points of the finer grid away.
TEST(Carried, WaveInAWind) {
  const EquationPde pde = equation(vorticity(32, "1e-3", "0.75") + waves);
  const Grid grid = pde.data_grid();
  const Vector x = grid.centres(), times{0.25, 0.5, 1};
  const CarriedAnsatz ansatz({.cells = {16, 16}}, pde, grid, times);
  const auto exact = [&](double t) {
    Vector out(grid.cells());
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = 0.8 * std::exp(-1e-3 * 16 * pi * pi * t) * std::cos(4 * pi * (x[i] - 0.75 * t));
    return out;
  };
  const Vector v = ansatz.fields(no_outputs(ansatz, 1), ansatz.start(exact(0))).to_vector();
  for (size_t j = 0; j < 3; ++j) EXPECT_LT(distance(part(v, j, grid.cells()), exact(times[j])), 1e-12) << j;
}

/// V0 and V_t of vorticity against psi_y, -psi_x and differences along the flow, and of another flux in closed form.
TEST(Carried, VelocitiesOfStart) {
  const EquationPde pde = equation(vorticity(32, "1e-2") + waves);
  const Grid grid = pde.data_grid();
  const FourierScheme scheme(pde, grid, {1e-2, 0});
  const CarriedAnsatz ansatz({.cells = {16, 16}}, pde, grid, {0.5});
  const Vector u0 = starts(pde, grid, 2), all = scheme.all_arguments(u0), t{0, 0};
  const auto start = ansatz.start(u0);
  const size_t points = u0.size();  // rows: w, psi, w_x, psi_x, w_y, psi_y
  for (size_t i = 0; i < points; ++i) {
    EXPECT_NEAR(start.velocity[i], all[5 * points + i], 1e-12);
    EXPECT_NEAR(start.velocity[points + i], -all[3 * points + i], 1e-12);
  }
  const double h = 1e-3;
  const Vector later = ansatz.start(scheme.advance(u0, t, h, 1)).velocity,
               latest = ansatz.start(scheme.advance(u0, t, 2 * h, 1)).velocity;
  Vector change(2 * points);
  for (size_t i = 0; i < change.size(); ++i)
    change[i] = (4 * later[i] - latest[i] - 3 * start.velocity[i]) / (2 * h);
  EXPECT_LT(distance(start.change, change), 1e-4);
  // V = (u, u^2), V_t = (u_t, 2 u u_t).
  const EquationPde cubic = equation(
      "length: [1, 1]\nduration: 1\ndata_cells: [32, 32]\n"
      "flux: \"[u^2/2, u^3/3] - 0.01*grad(u)\"" +
      periodic + waves);
  const auto other = CarriedAnsatz({.cells = {16, 16}}, cubic, grid, {0.5}).start(u0);
  for (size_t i = 0; i < points; ++i) {
    EXPECT_NEAR(other.velocity[i], u0[i], 1e-12);
    EXPECT_NEAR(other.velocity[points + i], u0[i] * u0[i], 1e-11);
    EXPECT_NEAR(other.change[i], other.rate[i], 1e-10);
    EXPECT_NEAR(other.change[points + i], 2 * u0[i] * other.rate[i], 1e-9);
  }
}

/// D without a network is the way back to the second order: with half of the time the error against the flow map falls
/// by 8, where it would by 4 if the term in t^2 were wrong.
TEST(Carried, SecondOrderInTime) {
  const EquationPde pde = equation(vorticity(64, "1e-3") + waves);
  const Grid grid = pde.data_grid();
  const FourierScheme scheme(pde, grid, {1e-3, 0});
  const Vector u0 = starts(pde, grid, 1), t{0};
  double errors[2];
  for (int i = 0; i < 2; ++i) {
    const double time = 0.4 / (1 << i);
    const CarriedAnsatz ansatz({}, pde, grid, {time});
    errors[i] = distance(ansatz.fields(no_outputs(ansatz, 1), ansatz.start(u0)).to_vector(),
                         scheme.advance(u0, t, time, 16));
  }
  EXPECT_NEAR(errors[0] / errors[1], 8, 1) << errors[0] << " " << errors[1];
}

/// The inputs are those of their definition on the coarse grid, and of order one.
TEST(Carried, Inputs) {
  const EquationPde pde = equation(vorticity(32, "1e-3") + waves);
  const Grid grid = pde.data_grid();
  const CarriedAnsatz ansatz({.cells = {16, 8}}, pde, grid, {0.25});
  const Grid& coarse = ansatz.coarse();
  const auto wave = [](const Grid& on) {
    const Vector x = on.centres();
    Vector out(on.cells());
    for (int i = 0; i < on.cells(); ++i) out[i] = 0.1 + std::cos(2 * pi * (2 * x[i] - x[on.cells() + i]));
    return out;
  };
  const Vector inputs = ansatz.inputs(ansatz.start(wave(grid))).to_vector(), at = wave(coarse);
  const Vector x = coarse.centres();
  const double square = 20 * pi * pi;
  for (int i = 0; i < coarse.cells(); ++i) {
    const double c = at[i] - 0.1, s = std::sin(2 * pi * (2 * x[i] - x[coarse.cells() + i]));
    // psi = c / k^2; of the rate -nu k^2 c, because the wave does not convect itself.
    const Vector expected{at[i],
                          s * 2 * pi / square,
                          s * 4 * pi / square,
                          -1e-3 * square * c,
                          -1e-3 * 2 * pi * s,
                          -1e-3 * 4 * pi * s,
                          -square * c};
    for (int k = 0; k < 7; ++k)
      EXPECT_NEAR(inputs[k * coarse.cells() + i] * ansatz.scales()[k], expected[k],
                  1e-11 * std::max(1.0, std::abs(expected[k])))
          << k;
  }
  const Vector of_states = ansatz.inputs(ansatz.start(starts(pde, grid, 8))).to_vector();
  for (int k = 0; k < 7; ++k) {
    double sum = 0;
    for (int s = 0; s < 8; ++s)
      for (int i = 0; i < coarse.cells(); ++i)
        sum += std::pow(of_states[(s * 7 + k) * coarse.cells() + i], 2) / (8.0 * coarse.cells());
    EXPECT_GT(sum, 0.2) << k;
    EXPECT_LT(sum, 5) << k;
  }
}

/// Large factors, so that points move by cells; other cells than those of the grid, and unlike along the axes. With a
/// mean that is kept and one that is not, and a linear part that turns waves.
TEST(Carried, Gradient) {
  const std::string flow = vorticity(16, "1e-2", "0.3") + waves;
  for (const std::string& text : {flow, flow + "source: 0.2 - w\n", drift}) {
    const EquationPde pde = equation(text);
    const CarriedAnsatz ansatz(
        {.cells = {6, 8}, .coefficients = 2, .displacement = 0.2, .spreading = 0.01, .addition = 0.5}, pde,
        pde.data_grid(), {0.1, 0.3, 0.5});
    const auto start = ansatz.start(starts(pde, pde.data_grid(), 2));
    std::mt19937 rng(5);
    expect_gradient(
        [&](const std::vector<Tensor>& x) { return std::vector<Tensor>{ansatz.fields(x[0], start)}; },
        {random_tensor({2, 12, 48}, rng)}, 1e-6);
  }
}

/// The mean is that of u0 at all times, but for an equation with a source.
TEST(Carried, Mean) {
  for (const bool source : {false, true}) {
    std::string text = vorticity(16, "1e-2") + waves;
    if (source) text += "source: 0.2 - w\n";
    const EquationPde pde = equation(text);
    const Grid grid = pde.data_grid();
    const CarriedAnsatz ansatz({.cells = {8, 8}}, pde, grid, {0.5});
    Vector u0 = starts(pde, grid, 1);
    for (double& value : u0) value += 0.7;
    std::mt19937 rng(5);
    const Vector v = ansatz.fields(random_tensor({1, 18, 64}, rng, 0, 1), ansatz.start(u0)).to_vector();
    double mean = 0, before = 0;
    for (size_t i = 0; i < v.size(); ++i) {
      mean += v[i] / grid.cells();
      before += u0[i] / grid.cells();
    }
    if (source)
      EXPECT_GT(std::abs(mean - before), 1e-4);
    else
      EXPECT_NEAR(mean, before, 1e-13);
  }
}

/// An equation in other units is the same equation: equal inputs, and fields in these units.
TEST(Carried, ScaledEquation) {
  const EquationPde pde = equation(vorticity(16, "1e-2") + waves);
  const ScaledPde scaled(pde, {10});
  const Grid grid = pde.data_grid();
  const CarriedAnsatz one({.cells = {8, 8}, .addition = 0.3}, pde, grid, {0.5}),
      other({.cells = {8, 8}, .addition = 0.03}, scaled, grid, {0.5});
  const Vector u0 = starts(pde, grid, 1);
  Vector in_units = u0;
  for (double& value : in_units) value /= 10;
  const auto start = one.start(u0), start_in_units = other.start(in_units);
  EXPECT_LT(distance(other.inputs(start_in_units).to_vector(), one.inputs(start).to_vector()), 1e-12);
  std::mt19937 rng(5);
  const Tensor x = random_tensor({1, 18, 64}, rng);
  Vector v = other.fields(x, start_in_units).to_vector();
  for (double& value : v) value *= 10;
  EXPECT_LT(distance(v, one.fields(x, start).to_vector()), 1e-12);
}

/// Outputs in float give a gradient in float; one that is not a number reaches v and does no harm.
TEST(Carried, FloatAndNotANumber) {
  const EquationPde pde = equation(diffusion);
  const Grid grid = pde.data_grid();
  const CarriedAnsatz ansatz({.cells = {8, 8}}, pde, grid, {0.5});
  const auto start = ansatz.start(starts(pde, grid, 1));
  std::mt19937 rng(5);
  const Tensor x = random_tensor({1, 18, 64}, rng), y = variable(cast(x, DType::f32)),
               v = ansatz.fields(y, start);
  EXPECT_EQ(v.dtype(), DType::f64);
  EXPECT_LT(distance(v.to_vector(), ansatz.fields(x, start).to_vector()), 1e-7);
  EXPECT_EQ(grad({v}, {v.detach()}, {y})[0].dtype(), DType::f32);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL, 1e300}) {
    const Vector broken = ansatz.fields(constant_outputs(ansatz, {bad, bad, 0, 0, 0, 0}), start).to_vector();
    EXPECT_EQ(std::isfinite(broken[0]), bad == 1e300) << bad;
  }
}

/// Navier-Stokes at Re 1e4 on 64 x 64, over four frames to T = 1/4: D of the second order without a network has an
/// error of 6.5 % where the initial state itself has 38 % (a probe with the paper's initial states).
TEST(Carried, FloorOfNavierStokes) {
  const EquationPde pde = equation(vorticity(64, "1e-4") +
                                   "initial: {fourier: {modes: 21, amplitude: 1.9, decay: 2.5, knee: 3}}\n");
  const Grid grid = pde.data_grid();
  const FourierScheme scheme(pde, grid, {1e-4, 0});
  const CarriedAnsatz ansatz({}, pde, grid, {1.0 / 16, 2.0 / 16, 3.0 / 16, 4.0 / 16});
  const auto cells = static_cast<size_t>(grid.cells()), samples = size_t{8};
  const Vector u0 = starts(pde, grid, samples);
  const Vector v = ansatz.fields(no_outputs(ansatz, samples), ansatz.start(u0)).to_vector();
  double still = 0, floor = 0;
  for (size_t s = 0; s < samples; ++s) {
    Vector u = part(u0, s, cells), exact, same;
    for (int j = 0; j < 4; ++j) {
      same.insert(same.end(), &u0[s * cells], &u0[s * cells] + cells);
      u = scheme.advance(u, Vector{0}, 1.0 / 16, 2);
      exact.insert(exact.end(), u.begin(), u.end());
    }
    floor += 100 * distance(part(v, s, 4 * cells), exact) / samples;
    still += 100 * distance(same, exact) / samples;
  }
  EXPECT_NEAR(still, 38, 3);
  EXPECT_NEAR(floor, 6.5, 0.7);
}

TEST(Carried, MistakesAreAnswered) {
  const auto message = [](const std::string& text, const CarriedOptions& options = {.cells = {8, 8}}) {
    const EquationPde pde = equation(text);
    try {
      const CarriedAnsatz ansatz(options, pde, pde.data_grid(), {0.5});
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto box = [](const std::string& rest) { return "duration: 1\nwalls: periodic\n" + rest; };
  const std::string two = "length: [1, 1]\ndata_cells: [16, 16]\n", fourier = "discretisation: fourier\n",
                    start = "initial: {constant: {minimum: 0, maximum: 1}}\n";
  EXPECT_THAT(
      message(box(two + start + "flux: -grad(u)\n")),
      AllOf(HasSubstr("ansatz: carried is for discretisation: fourier"), HasSubstr("take ansatz: field")));
  EXPECT_THAT(message(box("length: 1\ndata_cells: 16\n" + fourier + start + "flux: u^2\n")),
              HasSubstr("is for two axes, and this equation has 1"));
  EXPECT_THAT(
      message(box(two + fourier +
                  "unknowns: [u, v]\nflux: {u: -grad(u), v: -grad(v)}\ninitial: {u: {constant: {minimum: "
                  "0, maximum: 1}}, v: {constant: {minimum: 0, maximum: 1}}}\n")),
      HasSubstr("is for one unknown, and this equation has 2"));
  EXPECT_THAT(message(box(two + fourier + start + "flux: -grad(u)\nsource: cos(t)\n")),
              HasSubstr("terms without t"));
  EXPECT_THAT(message(box(two + fourier + start +
                          "flux: -K*grad(u)\nfields: {K: {constant: {minimum: 0.5, maximum: 1}}}\n")),
              HasSubstr("the field 'K'"));
  EXPECT_THAT(message(box(two + fourier + start +
                          "flux: -nu*grad(u)\nparameters: {nu: {minimum: 0.1, maximum: 1}}\n")),
              HasSubstr("a sampled one, 'nu'"));
  EXPECT_THAT(message(box(two + fourier + start + "flux: -grad(u)\n"), {.cells = {16, 18}}),
              HasSubstr("stand on 18 cells along y; take an even number from 4 to the 16 of the grid"));
  EXPECT_EQ(message(box(two + fourier + start + "flux: -grad(u)\n")), "");
}

}  // namespace
}  // namespace rankine
