// Upwinded convective fluxes: the formulas, their orders, shocks, conservation, and what `auto` takes.
// Derivatives are checked with those of the whole scheme (test_conservative_scheme.cpp).
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/experts/storage_problem.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/support/exercise_pde.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using Field = std::vector<double>;

constexpr double inviscid = 1e-12;  // a viscosity too small to matter

BurgersOptions burgers(const char* convection, double duration, double viscosity = inviscid) {
  BurgersOptions o;
  o.viscosity = viscosity;
  o.duration = duration;
  o.convection = convection;
  return o;
}

std::vector<double> equal_times(double duration, int steps) {
  std::vector<double> t;
  for (int j = 0; j <= steps; ++j) t.push_back(duration * j / steps);
  return t;
}

Field last_frame(const Field& u, int cells) { return {u.end() - cells, u.end()}; }

double mean_distance(const Field& a, const Field& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

TEST(ConvectiveFlux, IsMusclWithVanAlbadaAndLaxFriedrichs) {
  // Burgers on a ring against a loop of its own.
  const int n = 24;
  const double viscosity = 0.02;
  std::mt19937 engine(9);
  std::uniform_real_distribution<double> uniform(-1, 1);
  Field u(n);
  for (double& v : u) v = uniform(engine);
  for (const char* convection : {"central", "upwind", "limited"}) {
    const Burgers pde{burgers(convection, 1, viscosity)};
    const SpatialOperator space(pde, pde.grid({n}), {{viscosity}, {}});
    const double times[1] = {0}, dx = pde.length(0) / n, s = 1e-2 * measure_convection(pde).speed,
                 e = std::pow(pde.size(0), 2) / std::pow(n, 3);
    Field value(n);
    space.value(space.terms(times, {}, u, 0), 0, value);
    const auto at = [&](int i) { return u[(i + n) % n]; };
    const auto half_slope = [&](int i) {
      const double a = at(i) - at(i - 1), b = at(i + 1) - at(i);
      return space.convection() == Convection::upwind
                 ? 0.0
                 : 0.5 * (a * (b * b + e) + b * (a * a + e)) / (a * a + b * b + 2 * e);
    };
    const auto larger = [&](double a, double b) { return 0.5 * (a + b + std::hypot(a - b, s)); };
    const auto speed = [&](double a) { return std::sqrt(std::hypot(a * a, s * s)); };
    const auto flux = [&](int f) {
      const double mean = 0.5 * (at(f - 1) + at(f)), diffusion = -viscosity * (at(f) - at(f - 1)) / dx;
      if (space.convection() == Convection::central) return 0.5 * mean * mean + diffusion;
      const double l = at(f - 1) + half_slope(f - 1), r = at(f) - half_slope(f);
      const double c = larger(larger(speed(l), speed(r)), speed(0.5 * (l + r)));
      return 0.25 * (l * l + r * r) - 0.5 * c * (r - l) + diffusion;
    };
    // The wave speed in it is a difference over 1e-4, whose rounding the tolerance allows.
    for (int i = 0; i < n; ++i) EXPECT_NEAR(value[i], -(flux(i + 1) - flux(i)) / dx, 1e-9) << convection << i;
  }
}

TEST(ConvectiveFlux, HasItsOrderInSmoothRegions) {
  // u = sin(2 pi (x - u t)) by characteristics, before the shock.
  const double pi = std::acos(-1.0), duration = 0.1;
  const auto error = [&](const char* convection, int n) {
    const Burgers pde{burgers(convection, duration)};
    Field start(n), exact(n);
    for (int i = 0; i < n; ++i) {
      const double x = (i + 0.5) / n;
      start[i] = exact[i] = 0.5 + 0.2 * std::sin(2 * pi * x);
      for (int j = 0; j < 200; ++j) exact[i] = 0.5 + 0.2 * std::sin(2 * pi * (x - exact[i] * duration));
    }
    const std::vector<double> times{0.0, duration};
    return mean_distance(last_frame(method_of_lines(pde, start, {{inviscid}}, pde.grid({n}), pde.grid({n}),
                                                    times, {.rtol = 1e-7}),
                                    n),
                         exact);
  };
  const double limited = std::log2(error("limited", 128) / error("limited", 256)),
               upwind = std::log2(error("upwind", 128) / error("upwind", 256));
  RecordProperty("limited", std::to_string(limited));
  RecordProperty("upwind", std::to_string(upwind));
  EXPECT_GE(limited, 1.8);
  EXPECT_NEAR(upwind, 1, 0.15);
}

/// From 1 to 0 at x = 0.3; by Rankine and Hugoniot the shock moves with speed 1/2, to x = 0.5 at t = 0.4.
struct Shock {
  static constexpr int cells = 256;
  BurgersOptions options;
  Burgers pde;
  Field start = Field(cells), exact = Field(cells);

  explicit Shock(const char* convection) : options(burgers(convection, 0.4)), pde(between_walls(options)) {
    for (int i = 0; i < cells; ++i) {
      start[i] = (i + 0.5) / cells < 0.3 ? 1 : 0;
      exact[i] = (i + 0.5) / cells < 0.5 ? 1 : 0;
    }
  }
  static BurgersOptions between_walls(BurgersOptions& o) {
    o.walls = "values";
    o.left = 1;
    return o;
  }
  double relative_error(const Field& u) const { return mean_distance(last_frame(u, cells), exact) / 0.5; }
  Field reference() const {
    const std::vector<double> times{0.0, 0.4};
    return method_of_lines(pde, start, {{inviscid}}, pde.grid({cells}), pde.grid({cells}), times,
                           {.rtol = 1e-4});
  }
  /// What satisfies the constraint.
  Field constrained() const {
    return StorageModel(pde, pde.grid({cells}), equal_times(0.4, 128), 0.5, 2, {})
        .sample(start)
        .solve_exactly();
  }
};

TEST(ConvectiveFlux, FollowsAMovingShockInReferenceAndConstraint) {
  for (const char* convection : {"limited", "upwind"}) {
    const Shock shock(convection);
    EXPECT_LE(shock.relative_error(shock.reference()), 0.02) << convection;
    EXPECT_LE(shock.relative_error(shock.constrained()), 0.02) << convection;
  }
  const Shock central("central");
  double error = 0;
  try {
    error = central.relative_error(central.reference());
  } catch (const NumericalError&) {
    error = INFINITY;
  }
  EXPECT_GT(error, 0.2);
}

TEST(ConvectiveFlux, LetsAShockLeaveThroughAWallThatHoldsAnotherValue) {
  // The shock meets the wall at x = 1, where u = 0, at t = 1.4. Then u = 1 but for the cell at the wall.
  Shock shock("limited");
  shock.options.duration = 2;
  const std::vector<double> times{0.0, 2.0};
  const int n = Shock::cells;
  const Burgers pde{shock.options};
  const Field u = last_frame(
      method_of_lines(pde, shock.start, {{inviscid}}, pde.grid({n}), pde.grid({n}), times, {.rtol = 1e-4}),
      n);
  for (int i = 0; i + 1 < n; ++i) EXPECT_NEAR(u[i], 1, 0.02) << i;
  EXPECT_NEAR(u[n - 1], 0.85, 0.1);
}

TEST(ConvectiveFlux, KeepsTheMassOnARing) {
  const int n = 64;
  for (const char* convection : {"upwind", "limited"}) {
    const Burgers pde{burgers(convection, 0.5)};
    Field start(n);
    for (int i = 0; i < n; ++i) start[i] = 0.3 + std::sin(2 * std::acos(-1.0) * (i + 0.5) / n);
    const Field u =
        StorageModel(pde, pde.grid({n}), equal_times(0.5, 40), 0.5, 0, {}).sample(start).solve_exactly();
    const double mass = std::accumulate(start.begin(), start.end(), 0.0);
    for (size_t first = 0; first < u.size(); first += n)
      EXPECT_NEAR(std::accumulate(&u[first], &u[first] + n, 0.0), mass, 1e-11 * n);
    const Field end = last_frame(u, n);  // the shock is there
    double drop = 0;
    for (int i = 0; i < n; ++i) drop = std::max(drop, end[i] - end[(i + 3) % n]);
    EXPECT_GT(drop, 1);
  }
}

TEST(ConvectiveFlux, AutomaticTakesTheCentralOneWhereCellsResolveFronts) {
  // Viscosity 0.1, |u| up to about 1: cells of more than 0.2 are too wide.
  const Burgers automatic{burgers("auto", 1, 0.1)}, central{burgers("central", 1, 0.1)};
  EXPECT_EQ(convection_on(automatic, automatic.grid({4})), Convection::limited);
  EXPECT_EQ(convection_on(automatic, automatic.grid({16})), Convection::central);
  EXPECT_EQ(convection_on(central, central.grid({4})), Convection::central);
  EXPECT_NE(describe_convection(automatic, automatic.grid({4})).find("limited (cell Peclet number 2."),
            std::string::npos)
      << describe_convection(automatic, automatic.grid({4}));
  for (const int n : {4, 16}) {
    const Burgers named{burgers(n == 4 ? "limited" : "central", 1, 0.1)};
    Field u(n), a(n), b(n);
    for (int i = 0; i < n; ++i) u[i] = std::sin(i);
    const double times[1] = {0};
    const SpatialOperator one(automatic, automatic.grid({n}), {{0.1}, {}}),
        other(named, named.grid({n}), {{0.1}, {}});
    one.value(one.terms(times, {}, u, 0), 0, a);
    other.value(other.terms(times, {}, u, 0), 0, b);
    EXPECT_EQ(a, b);
  }
}

TEST(ConvectiveFlux, IsGentleInAnImexMarch) {
  // The stiff part is that of the central flux, and both parts add up to the whole.
  const ExercisePde pde(true, 2, Convection::limited), central(true, 2);
  const Grid grid = pde.grid({6, 7});
  const SchemeParameters parameters{{0.7}, {}, field_cells(pde, {}, {}, grid)};
  Field u(grid.cells() * 2);
  for (size_t p = 0; p < u.size(); ++p) u[p] = 0.5 + 0.2 * std::sin(static_cast<double>(p));
  const std::vector<double> times{0.1};
  using Part = SpatialOperator::Part;
  const auto product = [&](const Pde& of, Part part) {
    const SpatialOperator space(of, grid, parameters);
    const SpatialOperator::Ghosts ghosts = space.ghosts(times);
    kernels::StencilFrames jacobian = space.stencil(1);
    space.add_jacobian(space.terms(times, ghosts, u, 1), ghosts, 0, 1, jacobian, 0, part);
    Field out(u.size());
    jacobian.add_product(0, 1, u.data(), 1, out.data());
    return out;
  };
  const Field all = product(pde, Part::all), stiff = product(pde, Part::stiff),
              gentle = product(pde, Part::gentle), of_central = product(central, Part::stiff);
  double upwinded = 0;
  for (size_t p = 0; p < u.size(); ++p) {
    EXPECT_NEAR(stiff[p] + gentle[p], all[p], 1e-12);
    EXPECT_NEAR(stiff[p], of_central[p], 1e-12);
    upwinded = std::max(upwinded, std::abs(all[p] - product(central, Part::all)[p]));
  }
  EXPECT_GT(upwinded, 1e-2);
}

TEST(ConvectionMeasure, KnowsWhatConvects) {
  EXPECT_TRUE(has_convection(Burgers{BurgersOptions{}}));
  EXPECT_TRUE(has_convection(ExercisePde(true)));
  EXPECT_FALSE(has_convection(DiffusionSorption{DiffusionSorptionOptions{}}));
  EXPECT_EQ(describe_convection(DiffusionSorption{DiffusionSorptionOptions{}}, Grid({8}, {1.0})), "");
}

}  // namespace
}  // namespace rankine
