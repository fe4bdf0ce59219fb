// The Fourier discretisation: derivatives of waves, orders, derivatives and transposes of rate and march, exact flows,
// budgets, and corrections on boxes.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/core/random.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/fourier_reference.hpp"
#include "src/pde/fourier_scheme.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/scaled_pde.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Vector = std::vector<double>;

constexpr double pi = std::numbers::pi;

EquationPde equation(const std::string& yaml) { return EquationPde(parse_deck_text(yaml, "deck.yaml")); }

const std::string wave_start = "\ninitial: {fourier: {modes: 3, amplitude: 0.5, decay: 1}}\n";
const std::string fourier = "\ndiscretisation: fourier\nwalls: periodic\n";

const std::string burgers =
    "length: 2\nduration: 1\ndata_cells: 64\nparameters: {nu: 0.02}\nflux: u^2/2 - nu*d(u,x)" + fourier +
    wave_start;
const std::string korteweg_de_vries =
    "length: 20\nduration: 1\ndata_cells: 48\nflux: 3*u^2 + d(u,x,x)" + fourier + wave_start;
/// Diffusion that depends on the state, coefficients of x and t, coupling through diffusion and an auxiliary field.
const std::string pair =
    "length: [1, 2]\nduration: 1\ndata_cells: [24, 16]\nunknowns: [u, v]\nparameters: {c: 0.3}\n"
    "auxiliary: {p: laplacian(p) = c*u - v}\n"
    "flux: {u: \"u*grad(p) - 0.01*(1 + v^2)*grad(u)\", v: {x: \"u*v - 0.02*d(v,x) - "
    "0.01*d(u,x)\", y: \"sin(pi*y)*u - 0.02*d(v,y)\"}}\n"
    "source: {u: u*v*cos(t), v: p - v^3}" +
    fourier +
    "initial: {u: {fourier: {modes: 2, amplitude: 0.5}}, v: {fourier: {modes: 2, amplitude: 0.3}}}\n";
const std::string vorticity =
    "length: [1, 1]\nduration: 1\ndata_cells: [32, 32]\nunknowns: [w]\nparameters: {nu: 1e-3}\n"
    "auxiliary: {psi: laplacian(psi) = -w}\n"
    "flux: {x: \"w*d(psi,y) - nu*d(w,x)\", y: \"-w*d(psi,x) - nu*d(w,y)\"}" +
    fourier + wave_start;
const std::string three =
    "length: [1, 2, 1]\nduration: 1\ndata_cells: [8, 12, 16]\nflux: \"[u^2, 0, x*u] - 0.01*grad(u)\"\nsource: -u^2" +
    fourier + "initial: {fourier: {modes: 1, amplitude: 0.5}}\n";

Vector random_state(size_t size, const char* name, double amplitude = 1) {
  Vector u(size);
  const RandomStream stream(7, name);
  for (size_t i = 0; i < size; ++i) u[i] = amplitude * stream.uniform(-1.0, 1.0, 0, static_cast<long>(i), 0);
  return u;
}
double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double norm(const Vector& a) { return std::sqrt(dot(a, a)); }
Vector combined(const Vector& a, double factor, const Vector& b) {
  Vector out = a;
  for (size_t i = 0; i < a.size(); ++i) out[i] += factor * b[i];
  return out;
}
Vector parameters_of(const Pde& pde) {
  Vector out;
  for (const PdeParameter& p : pde.parameters()) out.push_back(p.value);
  return out;
}
Vector start_of(const Pde& pde, const Grid& grid, long id = 0) {
  long redrawn = 0;
  return initial_cells(pde, pde.draw_initial(RandomStream(3, "states"), id, redrawn), parameters_of(pde),
                       grid);
}

TEST(FourierScheme, ArgumentsOfWavesAreExact) {
  const EquationPde pde = equation(
      "length: [1, 2]\nduration: 1\ndata_cells: [16, 12]\nunknowns: [w]\nauxiliary: {psi: laplacian(psi) = -2*w}\n"
      "flux: w^2*grad(psi) - (1 + w^2)*grad(w)" +
      fourier + wave_start);
  const Grid grid = pde.data_grid();
  const FourierScheme scheme(pde, grid, {});
  const Vector x = grid.centres();
  const long n = grid.cells();
  Vector w(n);
  const double a = 2 * pi * 3, b = pi * 2;  // the third and the second wave
  for (long i = 0; i < n; ++i) w[i] = 0.7 + std::cos(a * x[i] - b * x[n + i]);
  const Vector all = scheme.all_arguments(w);
  ASSERT_EQ(all.size(), static_cast<size_t>(6 * n));
  for (long i = 0; i < n; ++i) {
    const double phase = a * x[i] - b * x[n + i], square = a * a + b * b;
    const double expected[6] = {0.7 + std::cos(phase), 2 * std::cos(phase) / square,
                                -a * std::sin(phase),  -2 * a * std::sin(phase) / square,
                                b * std::sin(phase),   2 * b * std::sin(phase) / square};
    for (int row = 0; row < 6; ++row) EXPECT_NEAR(all[row * n + i], expected[row], 1e-12) << row;
  }
}

/// Waves beyond two thirds go, those below stay, and products have no aliases: -(u^2)_x of the waves 5 and 4 of 16 cells,
/// whose product has the waves 1 and 9.
TEST(FourierScheme, TwoThirdsRule) {
  const EquationPde pde =
      equation("length: 1\nduration: 1\ndata_cells: 16\nflux: u^2" + fourier + wave_start);
  const FourierScheme scheme(pde, pde.data_grid(), {});
  Vector u(16), high(16), expected(16);
  for (int i = 0; i < 16; ++i) {
    const double s = 2 * pi * (i + 0.5) / 16;
    u[i] = std::cos(5 * s) + std::cos(4 * s);
    high[i] = 0.1 * std::cos(6 * s);
    expected[i] = 2 * pi * std::sin(s);  // what is left of -d/dx (cos s + ...)
  }
  const Vector rate = scheme.rate(combined(u, 1, high), Vector{0});
  EXPECT_LT(norm(combined(rate, -1, expected)), 1e-12 * norm(expected));
  EXPECT_NEAR(scheme.lost_share(combined(u, 1, high)), 0.1 / std::sqrt(2.01), 1e-12);
}

/// rate() and march, by central differences and by the adjoint identity.
TEST(FourierScheme, TangentAndTranspose) {
  for (const std::string& text : {burgers, korteweg_de_vries, pair, vorticity, three}) {
    const EquationPde pde = equation(text);
    const Grid grid = pde.data_grid();
    const FourierScheme scheme(pde, grid, parameters_of(pde));
    const size_t members = 3, size = members * static_cast<size_t>(scheme.width());
    const Vector u = scheme.kept(random_state(size, "u", 0.5)), e = random_state(size, "e"),
                 y = random_state(size, "y"), t{0, 0.3, 0.7};
    const auto check = [&](const auto& map, const Vector& tangent, const Vector& transposed) {
      const double h = 1e-5;
      const Vector difference = combined(map(combined(u, h, e)), -1, map(combined(u, -h, e)));
      EXPECT_LT(norm(combined(tangent, -0.5 / h, difference)), 2e-8 * norm(tangent)) << text;
      EXPECT_NEAR(dot(tangent, y), dot(e, transposed), 1e-13 * norm(tangent) * norm(y)) << text;
    };
    check([&](const Vector& at) { return scheme.rate(at, t); }, scheme.rate_tangent(u, t, e),
          scheme.rate_transpose(u, t, y));
    FourierScheme::Path path;
    const double step = std::min(0.05, 2 * scheme.stable_step(scheme.arguments(u), t));
    static_cast<void>(scheme.advance(u, t, step, 3, &path));
    check([&](const Vector& at) { return scheme.advance(at, t, step, 3); }, scheme.advance_tangent(path, e),
          scheme.advance_transpose(path, y));
  }
}

/// Members may lie at other places and have other coefficient fields: -K u_x with K = 1 + c cos, whose product with
/// u = sin is known.
TEST(FourierScheme, CoefficientFieldsOfMembers) {
  const EquationPde pde = equation(
      "length: 1\nduration: 1\ndata_cells: 32\nfields: {K: {constant: {minimum: 0.5, maximum: 0.7}}}\n"
      "flux: -K*d(u,x)\nsource: x*u" +
      fourier + wave_start);
  const Grid grid = pde.data_grid();
  Vector rows = grid.centres(), u, expected;
  for (int i = 0; i < 32; ++i) rows.push_back(rows[i] + 3);  // the second member lies elsewhere
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < 32; ++i) {
      const double c = 0.3 * (s + 1), a = 2 * pi * rows[i];
      rows.push_back(1 + c * std::cos(a));
      u.push_back(std::sin(a));
      expected.push_back(-4 * pi * pi * (std::sin(a) + c * std::sin(2 * a)));
    }
  const FourierScheme scheme(pde, grid, {}, rows);
  Vector by_x(64);
  for (int i = 0; i < 64; ++i) by_x[i] = rows[i] * u[i];
  by_x = scheme.kept(by_x);  // x is no wave
  EXPECT_LT(norm(combined(combined(scheme.rate(u, Vector{0, 0}), -1, by_x), -1, expected)),
            1e-12 * norm(expected));
}

/// An equation in other units is the same equation.
TEST(FourierScheme, ScaledEquation) {
  const EquationPde pde = equation(pair);
  const ScaledPde scaled(pde, {10, 0.1});
  const Grid grid = pde.data_grid();
  const FourierScheme one(pde, grid, parameters_of(pde)), other(scaled, grid, parameters_of(pde));
  const Vector u = start_of(pde, grid), rate = one.rate(u, Vector{0.2});
  Vector scaled_u = u, scaled_rate = rate;
  for (size_t i = 0; i < u.size(); ++i) {
    scaled_u[i] /= i % 2 == 0 ? 10 : 0.1;
    scaled_rate[i] /= i % 2 == 0 ? 10 : 0.1;
  }
  EXPECT_LT(norm(combined(other.rate(scaled_u, Vector{0.2}), -1, scaled_rate)), 1e-12 * norm(scaled_rate));
}

/// Of members, each alone gives the same bits.
TEST(FourierScheme, MembersDoNotMatter) {
  const EquationPde pde = equation(pair);
  const FourierScheme scheme(pde, pde.data_grid(), parameters_of(pde));
  const auto width = static_cast<size_t>(scheme.width());
  const Vector u = random_state(3 * width, "u", 0.3), t{0, 0.3, 0.7};
  const Vector all = scheme.advance(u, t, 0.01, 2);
  for (size_t s = 0; s < 3; ++s) {
    const Vector one =
        scheme.advance(std::span(u).subspan(s * width, width), std::span(t).subspan(s, 1), 0.01, 2);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), &all[s * width]));
  }
}

/// The correction is the solution of e_j = A_j e_{j-1} + r_j, makes Newton's method converge quadratically, and its
/// transpose is one.
TEST(FourierScheme, CorrectionOfATrajectory) {
  for (const std::string& text : {burgers, korteweg_de_vries, pair, vorticity, three}) {
    const EquationPde pde = equation(text);
    const Grid grid = pde.data_grid();
    const FourierScheme scheme(pde, grid, parameters_of(pde));
    const auto width = static_cast<size_t>(scheme.width());
    const int frames = 4, substeps = 4;
    const Vector start = start_of(pde, grid);
    const double step = 0.02;
    Vector times, exact = start, residual;
    for (int j = 0; j <= frames; ++j) times.push_back(j * step);
    for (int j = 0; j < frames; ++j) {
      const Vector next =
          scheme.advance(std::span(exact).last(width), std::span(times).subspan(j, 1), step, substeps);
      exact.insert(exact.end(), next.begin(), next.end());
    }
    Vector v = exact;
    const Vector noise = scheme.kept(random_state(width, "noise"));
    double before = 0.02 * norm(start) / norm(noise);
    for (int j = 1; j <= frames; ++j)
      for (size_t i = 0; i < width; ++i) v[j * width + i] += before * (j + 1) / (frames + 1.0) * noise[i];
    before = norm(combined(v, -1, exact));
    for (int round = 0; round < 2; ++round) {
      residual.clear();
      Vector arguments;
      for (int j = 0; j <= frames; ++j) {
        const auto frame = [&](int k) { return std::span(v).subspan(k * width, width); };
        const Vector at = scheme.arguments(frame(j));
        arguments.insert(arguments.end(), at.begin(), at.end());
        if (j == 0) continue;
        const Vector phi = scheme.advance(frame(j - 1), std::span(times).subspan(j - 1, 1), step, substeps);
        for (size_t i = 0; i < width; ++i) residual.push_back(v[j * width + i] - phi[i]);
      }
      const FourierScheme::Window window{times, substeps, arguments, {}};
      const Vector e = scheme.correct(window, residual), y = random_state(residual.size(), "y");
      EXPECT_NEAR(dot(e, y), dot(residual, scheme.correct_transpose(window, y)), 1e-13 * norm(e) * norm(y))
          << text;
      for (size_t i = 0; i < e.size(); ++i) v[width + i] -= e[i];
      const double after = norm(combined(v, -1, exact));
      EXPECT_LT(after, 0.2 * before) << text << round;
      before = after;
    }
    EXPECT_LT(before, 1e-4 * norm(exact)) << text;
  }
}

TEST(FourierScheme, FourthOrderInTime) {
  for (const std::string& text : {burgers, korteweg_de_vries, pair, vorticity}) {
    const EquationPde pde = equation(text);
    const FourierScheme scheme(pde, pde.data_grid(), parameters_of(pde));
    const Vector start = start_of(pde, pde.data_grid()), t{0};
    const double time = 0.4;
    const int coarse = 2 * static_cast<int>(std::ceil(time / scheme.stable_step(scheme.arguments(start), t)));
    const Vector exact = scheme.advance(start, t, time, 16 * coarse);
    double errors[3];
    for (int i = 0; i < 3; ++i)
      errors[i] = norm(combined(scheme.advance(start, t, time, coarse << i), -1, exact));
    EXPECT_NEAR(std::log2(errors[1] / errors[2]), 4, 0.2)
        << text << errors[0] << " " << errors[1] << " " << errors[2];
  }
}

/// Viscous Burgers, in whose solution by Cole and Hopf u = -2 nu phi_x / phi, phi = 2 + exp(-nu k^2 t) cos(k x).
TEST(FourierScheme, SpectralInSpace) {
  double errors[3];
  for (int i = 0; i < 3; ++i) {
    const int n = 8 << i;
    const EquationPde pde = equation(
        "length: 1\nduration: 1\nreference_rtol: 1e-11\nparameters: {nu: 0.05}\n"
        "flux: u^2/2 - nu*d(u,x)\ninitial: {expression: 4*pi*nu*sin(2*pi*x)/(2 + cos(2*pi*x))}\n"
        "exact: 4*pi*nu*sin(2*pi*x)*exp(-4*pi^2*nu*t)/(2 + exp(-4*pi^2*nu*t)*cos(2*pi*x))\ndata_cells: " +
        std::to_string(n) + fourier);
    const Vector times{0.3}, nu{0.05};
    const Vector u = pde.reference(initial_cells(pde, {}, nu, pde.data_grid()), {nu}, pde.data_grid(), times);
    errors[i] = norm(combined(u, -1, exact_cells(pde, 0.3, nu, pde.data_grid()))) / std::sqrt(n);
  }
  EXPECT_LT(errors[1], 0.02 * errors[0]);  // the error itself squared at twice the cells
  EXPECT_LT(errors[2], 20 * errors[1] * errors[1] + 1e-12);
}

/// Taylor-Green vortices decay as exp(-2 nu k^2 t) and do nothing else, because they do not convect themselves.
TEST(FourierScheme, TaylorGreenDecays) {
  const EquationPde pde = equation(
      "length: [1, 1]\nduration: 1\ndata_cells: [32, 32]\nunknowns: [w]\nparameters: {nu: 1e-2}\n"
      "auxiliary: {psi: laplacian(psi) = -w}\nreference_rtol: 1e-9\n"
      "flux: {x: \"w*d(psi,y) - nu*d(w,x)\", y: \"-w*d(psi,x) - nu*d(w,y)\"}" +
      fourier +
      "initial: {expression: 2*sin(2*pi*x)*sin(2*pi*y)}\n"
      "exact: 2*sin(2*pi*x)*sin(2*pi*y)*exp(-8*pi^2*nu*t)\n");
  const Grid grid = pde.data_grid();
  const Vector nu{1e-2}, times{0.5, 1};
  const Vector u = pde.reference(initial_cells(pde, {}, nu, grid), {nu}, grid, times);
  for (size_t j = 0; j < 2; ++j) {
    const Vector exact = exact_cells(pde, times[j], nu, grid);
    for (size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(u[j * exact.size() + i], exact[i], 1e-10);
  }
}

/// d/dt of the mean of w^2 is -2 nu mean of |grad w|^2, that of w psi (twice the energy) -2 nu mean of w^2: what the march
/// changes against Simpson's rule of the right side.
TEST(FourierScheme, BudgetsOfEnergyAndEnstrophy) {
  const EquationPde pde = equation(vorticity);
  const Grid grid = pde.data_grid();
  const double nu = 1e-3, step = 1.0 / 64;
  const FourierScheme scheme(pde, grid, {nu});
  const long n = grid.cells(), steps = 32;
  Vector u = start_of(pde, grid);
  for (double& value : u) value *= 4;  // a turn and more
  const auto means = [&] {
    const Vector at = scheme.all_arguments(u);  // w, psi, w_x, psi_x, w_y, psi_y
    std::array<double, 3> sums{};
    for (long i = 0; i < n; ++i) {
      sums[0] += at[i] * at[i] / static_cast<double>(n);
      sums[1] += at[i] * at[n + i] / static_cast<double>(n);
      sums[2] += (at[2 * n + i] * at[2 * n + i] + at[4 * n + i] * at[4 * n + i]) / static_cast<double>(n);
    }
    return sums;
  };
  const auto begin = means();
  double lost_enstrophy = 0, lost_energy = 0;
  for (long s = 0; s <= steps; ++s) {
    const auto now = means();
    const double weight = step / 3 * (s == 0 || s == steps ? 1 : s % 2 == 1 ? 4 : 2);
    lost_enstrophy += 2 * nu * weight * now[2];
    lost_energy += 2 * nu * weight * now[0];
    if (s < steps) u = scheme.advance(u, Vector{0}, step, 2);
  }
  const auto end = means();
  EXPECT_GT(lost_enstrophy, 0.01 * begin[0]);
  EXPECT_NEAR(begin[0] - end[0], lost_enstrophy, 1e-6 * begin[0]);
  EXPECT_NEAR(begin[1] - end[1], lost_energy, 1e-6 * begin[1]);
}

/// The finite-volume reference on a fine grid, which falls towards it with the second order.
TEST(FourierScheme, AgreesWithFiniteVolumes) {
  std::string fine = burgers;
  fine.replace(fine.find("data_cells: 64"), 14, "data_cells: 256");
  const EquationPde waves = equation(fine);
  const Vector nu{0.02}, times{0.5};
  const Vector resolved = waves.reference(start_of(waves, waves.data_grid()), {nu}, waves.data_grid(), times);
  double errors[2];
  for (int i = 0; i < 2; ++i) {
    std::string text = burgers;
    text.replace(text.find("\ndiscretisation: fourier"), 24, "");
    text.replace(text.find("data_cells: 64"), 14, "data_cells: " + std::to_string(512 << i));
    const EquationPde volumes = equation(text);
    const Grid grid = volumes.data_grid();
    const Vector u = volumes.reference(start_of(volumes, grid), {nu}, grid, times),
                 at = resampled(resolved, waves.data_grid(), grid, 1);
    errors[i] = norm(combined(u, -1, at)) / norm(at);
  }
  EXPECT_LT(errors[1], 2e-4);
  EXPECT_NEAR(errors[0] / errors[1], 4, 0.4);
}

/// The derivative of a correction by the trajectory that it is linearised about, by central differences.
TEST(FourierScheme, CorrectionsBendWithTheirTrajectory) {
  for (const std::string& text : {burgers, korteweg_de_vries, pair, vorticity, three}) {
    const EquationPde pde = equation(text);
    const FourierScheme scheme(pde, pde.data_grid(), parameters_of(pde));
    const size_t size = 2 * static_cast<size_t>(scheme.width()), frames = 3;
    Vector v, direction, times{0, 0.01, 0.02, 0.03};
    for (size_t j = 0; j <= frames; ++j) {
      const Vector frame = scheme.kept(random_state(size, ("v" + std::to_string(j)).c_str(), 0.3)),
                   way = random_state(size, ("d" + std::to_string(j)).c_str());
      v.insert(v.end(), frame.begin(), frame.end());
      direction.insert(direction.end(), way.begin(), way.end());
    }
    const Vector taper = box_taper(pde.data_grid(), std::vector<int>(pde.axes(), 2)),
                 r = random_state(frames * size, "r"), y = random_state(frames * size, "y");
    const auto arguments_of = [&](const Vector& states) {
      Vector all;
      for (size_t j = 0; j <= frames; ++j) {
        const Vector at = scheme.arguments(std::span(states).subspan(j * size, size));
        all.insert(all.end(), at.begin(), at.end());
      }
      return all;
    };
    const auto value = [&](const Vector& states) {
      const Vector at = arguments_of(states);
      return dot(y, scheme.correct({times, 2, at, taper}, r));
    };
    const Vector at = arguments_of(v);
    const FourierScheme::Window window{times, 2, at, taper};
    Vector by_arguments;
    const Vector e = scheme.correct(window, r), by_r = scheme.correct_transpose(window, y, e, &by_arguments);
    EXPECT_EQ(by_r, scheme.correct_transpose(window, y));
    double found = 0;
    for (size_t j = 0; j <= frames; ++j) {
      const size_t rows = at.size() / (frames + 1);
      const Vector by_v =
          scheme.arguments_transpose(Vector(&by_arguments[j * rows], &by_arguments[j * rows] + rows));
      found += dot(by_v, Vector(&direction[j * size], &direction[j * size] + size));
    }
    const double h = 1e-4;
    const double expected = (value(combined(v, h, direction)) - value(combined(v, -h, direction))) / (2 * h);
    EXPECT_NEAR(found, expected, 1e-6 * std::abs(expected)) << text;
  }
}

/// Local corrections of a trajectory v on boxes: tiles of a periodic grid of two axes and `halo` cells around them.
class LocalCorrection {
 public:
  LocalCorrection(const Pde& pde, const FourierScheme& whole, int tiles, int halo, int taper)
      : whole_(whole),
        n_(whole.grid().cells(0)),
        tiles_(tiles),
        halo_(halo),
        box_(n_ / tiles + 2 * halo),
        scheme_(pde, Grid({box_, box_}, {box_ * whole.grid().spacing(0), box_ * whole.grid().spacing(1)}),
                parameters_of(pde)),
        taper_(box_taper(scheme_.grid(), {taper, taper})) {}

  /// [box][cell of it] of a field on the whole grid.
  Vector boxes(const double* field) const {
    Vector out;
    for (int b = 0; b < tiles_ * tiles_; ++b)
      for (int i = 0; i < box_; ++i)
        for (int j = 0; j < box_; ++j) out.push_back(field[place(b, i, j)]);
    return out;
  }
  const FourierScheme& scheme() const { return scheme_; }
  const Vector& taper() const { return taper_; }

  /// v - e at frames 0 .. J.
  Vector operator()(const Vector& times, int substeps, const Vector& v) const {
    const long width = whole_.width(), frames = static_cast<long>(v.size()) / width;
    Vector arguments, residual, out = v;
    for (long j = 0; j < frames; ++j) {
      const auto frame = [&](long k) { return std::span(v).subspan(k * width, width); };
      const Vector at = whole_.arguments(frame(j));
      for (size_t row = 0; row < whole_.rows().size(); ++row) {
        const Vector own = boxes(&at[row * width]);
        arguments.insert(arguments.end(), own.begin(), own.end());
      }
      if (j == 0) continue;
      Vector r =
          whole_.advance(frame(j - 1), std::span(times).subspan(j - 1, 1), times[j] - times[j - 1], substeps);
      for (long i = 0; i < width; ++i) r[i] = v[j * width + i] - r[i];
      const Vector own = boxes(r.data());
      residual.insert(residual.end(), own.begin(), own.end());
    }
    const Vector e = scheme_.correct({times, substeps, arguments, taper_}, residual);
    for (long j = 1; j < frames; ++j)
      for (int b = 0; b < tiles_ * tiles_; ++b)
        for (int i = halo_; i < box_ - halo_; ++i)
          for (int k = halo_; k < box_ - halo_; ++k)
            out[j * width + place(b, i, k)] -= e[(((j - 1) * tiles_ * tiles_ + b) * box_ + i) * box_ + k];
    return out;
  }

 private:
  long place(int b, int i, int j) const {
    const int tile = n_ / tiles_;
    return static_cast<long>((b / tiles_ * tile + i - halo_ + n_) % n_) * n_ +
           (b % tiles_ * tile + j - halo_ + n_) % n_;
  }
  const FourierScheme& whole_;
  int n_, tiles_, halo_, box_;
  FourierScheme scheme_;
  Vector taper_;
};

/// Navier-Stokes at nu = 1e-3 over a window of four frames of 1/16, about half a turn of an eddy: a smooth error of about
/// one per cent falls by corrections on boxes, and the more the wider the halo.
TEST(FourierScheme, CorrectionsOnBoxes) {
  std::string text = vorticity;
  text.replace(text.find("[32, 32]"), 8, "[64, 64]");
  text.replace(text.find(wave_start), wave_start.size(),
               "\ninitial: {fourier: {modes: 21, amplitude: 1.9, decay: 2.5, knee: 3}}\n");
  const EquationPde pde = equation(text);
  const Grid grid = pde.data_grid();
  const FourierScheme whole(pde, grid, {1e-3});
  const auto width = static_cast<size_t>(whole.width());
  const int frames = 4, substeps = 2;
  Vector times, exact = start_of(pde, grid);
  for (int j = 0; j <= frames; ++j) times.push_back(j / 16.0);
  for (int j = 0; j < frames; ++j) {
    const Vector next =
        whole.advance(std::span(exact).last(width), std::span(times).subspan(j, 1), 1.0 / 16, substeps);
    exact.insert(exact.end(), next.begin(), next.end());
  }
  // An error like a network's: of about eight waves along the box, growing from 0.
  text.replace(text.find("knee: 3"), 7, "knee: 8");
  const EquationPde noise = equation(text);
  const Vector other = start_of(noise, grid, 1), another = start_of(noise, grid, 2);
  Vector v = exact;
  for (int j = 1; j <= frames; ++j)
    for (size_t i = 0; i < width; ++i)
      v[j * width + i] += 0.0127 * j / frames * (other[i] * std::cos(j) + another[i] * std::sin(j));
  const auto error = [&](const Vector& u) {
    Vector difference = combined(u, -1, exact);
    return 100 * norm(difference) / norm(Vector(exact.begin() + static_cast<long>(width), exact.end()));
  };
  EXPECT_NEAR(error(v), 0.96, 0.2);
  for (const auto& [tiles, halo, once, twice] :
       {std::tuple{4, 4, 0.07, 0.005}, std::tuple{4, 8, 0.05, 0.002}, std::tuple{8, 4, 0.08, 0.004}}) {
    const LocalCorrection correct(pde, whole, tiles, halo, 4);
    const Vector first = correct(times, substeps, v), second = correct(times, substeps, first);
    EXPECT_LT(error(first), once) << tiles << " " << halo;
    EXPECT_LT(error(second), twice) << tiles << " " << halo;
  }
  // The transpose, with tapers and many boxes.
  const LocalCorrection correct(pde, whole, 4, 4, 4);
  Vector arguments;
  for (int j = 0; j <= frames; ++j) {
    const Vector at = whole.arguments(std::span(v).subspan(j * width, width));
    for (size_t row = 0; row < whole.rows().size(); ++row) {
      const Vector own = correct.boxes(&at[row * width]);
      arguments.insert(arguments.end(), own.begin(), own.end());
    }
  }
  const FourierScheme::Window window{times, substeps, arguments, correct.taper()};
  const Vector r = random_state(static_cast<size_t>(frames) * 16 * correct.scheme().width(), "r"),
               y = random_state(r.size(), "y"), e = correct.scheme().correct(window, r);
  EXPECT_NEAR(dot(e, y), dot(r, correct.scheme().correct_transpose(window, y)), 1e-13 * norm(e) * norm(y));
}

TEST(FourierReference, HalvesItsStepsToTheTolerance) {
  const EquationPde pde = equation(vorticity);
  const Grid grid = pde.data_grid();
  const Vector start = start_of(pde, grid), nu{1e-3}, times{0, 0.25, 0.5};
  const Vector rough = pde.reference_to(1e-4, start, {nu}, grid, times),
               fine = pde.reference_to(1e-10, start, {nu}, grid, times);
  const double distance = norm(combined(rough, -1, fine)) / norm(fine);
  EXPECT_LT(distance, 1.2e-4);
  EXPECT_GT(distance, 1e-9);
  // On half of the cells: the same function at other centres.
  const Grid half = pde.grid({16, 16});
  const Vector coarse = pde.reference_to(1e-10, start, {nu}, half, times);
  EXPECT_LT(norm(combined(coarse, -1, resampled(fine, grid, half, 1))), 1e-13 * norm(coarse));
  const EquationPde brief = equation("reference_steps: 3\n" + vorticity);
  try {
    static_cast<void>(brief.reference_to(1e-4, start, {nu}, grid, times));
    FAIL() << "3 steps were enough";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("more than pde.reference_steps = 3"), HasSubstr("stable up to")));
  }
}

TEST(FourierReference, StableStepIsThatOfTheFastestWave) {
  const EquationPde pde =
      equation("length: 2\nduration: 1\ndata_cells: 48\nflux: u^2/2" + fourier + wave_start);
  const FourierScheme scheme(pde, pde.data_grid(), {});
  const Vector u(48, 3.0), t{0};
  const double stable = scheme.stable_step(scheme.arguments(u), t);
  EXPECT_NEAR(stable, 2.8 / (3 * 2 * pi * 15 / 2), 1e-12);
  Vector e(48);
  for (int i = 0; i < 48; ++i) e[i] = std::cos(2 * pi * 15 * (i + 0.5) / 48);
  const Vector at = scheme.arguments(u);
  const auto grows = [&](double step) {
    const FourierScheme::Path path{t, 200 * step, 200, at, at, {}};
    return norm(scheme.advance_tangent(path, e)) / norm(e);
  };
  EXPECT_LT(grows(0.99 * stable), 1);
  EXPECT_GT(grows(1.03 * stable), 10);
  EXPECT_EQ(scheme.unstable(u, t, 3.9 * stable, 4), "");
  EXPECT_THAT(scheme.unstable(u, t, 4.1 * stable, 4),
              AllOf(HasSubstr("beyond the stability limit 0.0198"),
                    HasSubstr("on 48 cells; take at least 5 substeps")));
}

TEST(FourierEquation, MistakesAreAnswered) {
  const auto message = [](const std::string& text) {
    try {
      static_cast<void>(equation(text));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string start = "initial: {constant: {minimum: 0, maximum: 1}}\nduration: 1\n",
                    box = "length: 1\ndata_cells: 16\n", waves = "discretisation: fourier\n",
                    periodic = "walls: periodic\n", flux = "flux: u^2\n";
  EXPECT_THAT(message(box + start + waves + flux + "walls: {left: {value: 0}, right: {value: 0}}\n"),
              AllOf(HasSubstr("deck.yaml:5"), HasSubstr("periodic along all axes")));
  EXPECT_THAT(message(box + start + periodic + "flux: u*d(p,x)\nauxiliary: {p: laplacian(p) = u}\n"),
              HasSubstr("write discretisation: fourier"));
  EXPECT_THAT(message(box + start + waves + periodic + flux + "auxiliary: {p: laplacian(p) = u^2}\n"),
              HasSubstr("not linear in the unknowns"));
  EXPECT_THAT(message(box + start + waves + periodic + flux + "auxiliary: {p: \"d(p,x) = u\"}\n"),
              HasSubstr("no equation of the form laplacian(p) = ..."));
  EXPECT_THAT(message(box + start + waves + periodic + flux + "auxiliary: {u: laplacian(u) = u}\n"),
              HasSubstr("this is already the unknown"));
  EXPECT_THAT(message(box + start + waves + periodic + flux + "storage: u + u^3\n"),
              HasSubstr("leave storage out"));
  EXPECT_THAT(message(box + start + waves + periodic + flux + "convection: upwind\n"),
              HasSubstr("leave one of both out"));
  EXPECT_THAT(message("length: 1\ndata_cells: 17\n" + start + waves + periodic + flux),
              HasSubstr("even numbers"));
  EXPECT_EQ(message(box + start + waves + periodic + flux), "");
}

}  // namespace
}  // namespace rankine
