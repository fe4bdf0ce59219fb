// The discretisation of a general PDE: its derivatives against central differences, its orders against smooth
// solutions, corrections and their derivatives.
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "src/experts/storage_problem.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/pde/limited_flux.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/scaled_pde.hpp"
#include "tests/support/exercise_pde.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using Field = std::vector<double>;

constexpr int frames = 5;

/// Few cells, of another number along each axis.
Grid small_grid(const Pde& pde) {
  return pde.grid(pde.axes() == 1   ? std::vector{12}
                  : pde.axes() == 2 ? std::vector{6, 5}
                                    : std::vector{4, 3, 5});
}

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double norm(std::span<const double> a) { return std::sqrt(dot(a, a)); }

Field random_field(size_t size, double low, double high, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Field out(size);
  for (double& x : out) x = uniform(engine);
  return out;
}

BurgersOptions with_flux(const char* convection) {
  BurgersOptions o;
  o.convection = convection;
  return o;
}

BurgersOptions between_walls(const char* convection = "central") {
  BurgersOptions o = with_flux(convection);
  o.walls = "values";
  o.left = 0.4;
  return o;
}

struct Case {
  const char* name;
  std::shared_ptr<const Pde> pde;
};

class SchemeTest : public ::testing::TestWithParam<Case> {
 protected:
  const Pde& pde = *GetParam().pde;
  std::vector<double> times = [&] {
    std::vector<double> t;
    for (int j = 0; j <= frames; ++j)
      t.push_back(pde.duration() * (j + 0.3 * j * j) / (frames * (1 + 0.3 * frames)));
    return t;
  }();
  std::vector<double> values = [&] {
    std::vector<double> v;
    for (const PdeParameter& p : pde.parameters()) v.push_back(p.value);
    return v;
  }();
  std::vector<double> fields = field_cells(pde, {}, values, small_grid(pde));
  ConservativeScheme scheme_for(std::vector<double> parameters) const {
    return ConservativeScheme(pde, small_grid(pde), times, 0.5, 2, {std::move(parameters), {0}, fields});
  }
  ConservativeScheme scheme = scheme_for(values);
  const size_t points = scheme.points(), width = scheme.width();
  Field u = random_field(points + width, 0.2, 0.7, 1), v = random_field(points, -1, 1, 2),
        s = random_field(points, -1, 1, 3), w = random_field(points, -1, 1, 4);
  Field moved(double h, const Field& along) const {
    Field out(u);
    for (size_t p = 0; p < points; ++p) out[width + p] += h * along[p];
    return out;
  }
};

TEST_P(SchemeTest, LinearisationAgreesWithDifferencesAndItsTranspose) {
  SchemePoint point(scheme, u);
  Field forward(points), back(points);
  point.apply(v, 1, forward);
  point.apply_transpose(s, back);
  EXPECT_NEAR(dot(forward, s), dot(v, back), 1e-13 * norm(forward) * norm(s));
  const double h = 1e-6;
  const Field plus = SchemePoint(scheme, moved(h, v)).residual(),
              minus = SchemePoint(scheme, moved(-h, v)).residual();
  for (size_t p = 0; p < points; ++p)
    EXPECT_NEAR((plus[p] - minus[p]) / (2 * h), forward[p], 1e-7 * std::max(1.0, norm(forward)));
}

TEST_P(SchemeTest, SecondDerivativesAgreeWithDifferences) {
  SchemePoint point(scheme, u);
  Field second(points), plus(points), minus(points), by_parameter(1);
  point.second(s, v, second, by_parameter);
  const double h = 1e-5;
  SchemePoint(scheme, moved(h, v)).apply(w, 1, plus);
  SchemePoint(scheme, moved(-h, v)).apply(w, 1, minus);
  const double difference = (dot(s, plus) - dot(s, minus)) / (2 * h);
  EXPECT_NEAR(difference, dot(second, w), 1e-7 * norm(second) * norm(w) + 1e-8 * norm(plus) * norm(s));
  // By state and parameter.
  const auto along = [&](double step) {
    const ConservativeScheme other = scheme_for({values[0] * (1 + step)});
    Field out(points);
    SchemePoint(other, u).apply(v, 1, out);
    return dot(s, out);
  };
  EXPECT_NEAR((along(h) - along(-h)) / (2 * h * values[0]), by_parameter[0],
              1e-6 * std::max(1.0, std::abs(by_parameter[0])));
}

TEST_P(SchemeTest, ParameterGradientAgreesWithDifferences) {
  const Field exact = SchemePoint(scheme, u).parameter_gradient();
  const double h = 1e-5;
  const Field plus = SchemePoint(scheme_for({values[0] * (1 + h)}), u).residual(),
              minus = SchemePoint(scheme_for({values[0] * (1 - h)}), u).residual();
  for (size_t p = 0; p < points; ++p)
    EXPECT_NEAR((plus[p] - minus[p]) / (2 * h * values[0]), exact[p], 1e-7 * std::max(1.0, norm(exact)));
}

TEST_P(SchemeTest, CorrectionsEndAtTheExactDiscreteSolution) {
  const StorageModel model(pde, small_grid(pde), times, 0.5, 2, {.state = "prediction"});
  long redrawn = 0;
  const std::vector<double> numbers = pde.draw_initial(RandomStream(3, "initial"), 5, redrawn);
  const StorageProblem problem =
      model.sample(initial_cells(pde, numbers, values, small_grid(pde)), {values, {}, fields});
  const Field exact = problem.solve_exactly();
  EXPECT_LE(norm(problem.evaluate(exact)), 1e-12 * norm(exact));
  Field start(exact);
  for (size_t p = width; p < start.size(); ++p) start[p] *= 1 + 0.03 * std::sin(0.7 * static_cast<double>(p));
  const auto error = [&](const Field& a) {
    double sum = 0;
    for (size_t p = 0; p < a.size(); ++p) sum += (a[p] - exact[p]) * (a[p] - exact[p]);
    return std::sqrt(sum);
  };
  Field once(start), solved(start);
  problem.correct(once, {.steps = 1, .rtol = 0});
  EXPECT_LT(error(once), 0.1 * error(start));  // Newton's method
  const CorrectionReport report = problem.correct(solved, {.steps = 20, .rtol = 1e-10});
  EXPECT_EQ(report.status, CorrectionStatus::converged);
  EXPECT_LE(report.residual_after, 1e-10 * report.residual_before);
  EXPECT_LT(error(solved), 1e-8 * norm(exact));
}

TEST_P(SchemeTest, TrainedThroughCorrectionsAgreeWithDifferences) {
  for (const char* state : {"prediction", "frozen"}) {
    const CorrectionOptions options{.steps = 2, .state = state};
    const StorageModel model(pde, small_grid(pde), times, 0.5, 2, {.state = "prediction"});
    const Field initial(u.begin(), u.begin() + static_cast<long>(width));
    const auto value = [&](double step, double parameter) {
      const StorageProblem problem = model.sample(initial, {{values[0] * (1 + parameter)}, {0}, fields});
      std::vector<Field> states;
      Field state_of = moved(step, v);
      problem.correct_steps(state_of, options, states);
      return dot(std::span(state_of).subspan(width), s);
    };
    const StorageProblem problem = model.sample(initial, {values, {0}, fields});
    std::vector<Field> states;
    Field corrected(u), u_bar(s), learned_bar(1);
    problem.correct_steps(corrected, options, states);
    problem.correct_transpose(states, options, u_bar, learned_bar);
    const auto difference = [&](auto&& of) {
      const double h = 1e-4;
      return (4 * (of(h) - of(-h)) / (2 * h) - (of(2 * h) - of(-2 * h)) / (4 * h)) / 3;
    };
    const double along = difference([&](double h) { return value(h, 0); });
    EXPECT_NEAR(along, dot(u_bar, v), 1e-6 * std::max(std::abs(along), 1e-2 * norm(u_bar) * norm(v)))
        << state;
    if (std::string(state) == "prediction") {
      const double by_parameter = difference([&](double h) { return value(0, h); }) / values[0];
      EXPECT_NEAR(by_parameter, learned_bar[0], 1e-6 * std::max(1.0, std::abs(by_parameter)));
    }
  }
}

const ExercisePde ring(true), walled(false), box(false, 2);

INSTANTIATE_TEST_SUITE_P(
    Equations, SchemeTest,
    ::testing::Values(
        Case{"DiffusionSorption", std::make_shared<DiffusionSorption>(DiffusionSorptionOptions{})},
        Case{"PeriodicBurgers", std::make_shared<Burgers>(BurgersOptions{})},
        Case{"BurgersBetweenWalls", std::make_shared<Burgers>(between_walls())},
        Case{"UpwindBurgers", std::make_shared<Burgers>(with_flux("upwind"))},
        Case{"LimitedBurgers", std::make_shared<Burgers>(with_flux("limited"))},
        Case{"UpwindBurgersBetweenWalls", std::make_shared<Burgers>(between_walls("upwind"))},
        Case{"LimitedBurgersBetweenWalls", std::make_shared<Burgers>(between_walls("limited"))},
        Case{"UpwindSystemOnARing", std::make_shared<ExercisePde>(true, 1, Convection::upwind)},
        Case{"LimitedSystemOnARing", std::make_shared<ExercisePde>(true, 1, Convection::limited)},
        Case{"UpwindSystemBetweenWalls", std::make_shared<ExercisePde>(false, 1, Convection::upwind)},
        Case{"LimitedSystemBetweenWalls", std::make_shared<ExercisePde>(false, 1, Convection::limited)},
        Case{"UpwindSystemOfTwoAxes", std::make_shared<ExercisePde>(false, 2, Convection::upwind)},
        Case{"LimitedSystemOfTwoAxes", std::make_shared<ExercisePde>(false, 2, Convection::limited)},
        Case{"LimitedSystemOfTwoAxesWithARing", std::make_shared<ExercisePde>(true, 2, Convection::limited)},
        Case{"PeriodicSystem", std::make_shared<ExercisePde>(true)},
        Case{"SystemBetweenWalls", std::make_shared<ExercisePde>(false)},
        Case{"SystemOfTwoAxes", std::make_shared<ExercisePde>(false, 2)},
        Case{"SystemOfTwoAxesWithARing", std::make_shared<ExercisePde>(true, 2)},
        Case{"SystemOfThreeAxes", std::make_shared<ExercisePde>(false, 3)},
        Case{"SystemOfThreeAxesWithARing", std::make_shared<ExercisePde>(true, 3)},
        Case{"ScaledSystemOfTwoAxes", std::make_shared<ScaledPde>(box, std::vector{2.0, 0.5})},
        Case{"ScaledSystemOnARing", std::make_shared<ScaledPde>(ring, std::vector{0.4, 3.0})},
        Case{"ScaledSystemBetweenWalls", std::make_shared<ScaledPde>(walled, std::vector{2.0, 0.5})}),
    [](const auto& info) { return info.param.name; });

/// The same discretisation in space, integrated by PETSc: the time levels' errors fall with the second order.
TEST(Scheme, SecondOrderInTimeAgainstTheMethodOfLines) {
  BurgersOptions options;
  options.viscosity = 0.05;
  options.duration = 0.5;
  options.modes = 1;
  options.amplitude = 0.5;
  options.data_cells = 32;
  options.reference_rtol = 1e-9;
  const Burgers pde{options};
  const Field initial = initial_cells(pde, std::vector<double>{0.3, 1.1}, {}, pde.grid({32}));
  const std::vector<double> end{0.0, 0.5};
  const Field reference = pde.reference(initial, {{0.05}}, pde.grid({32}), end);
  double errors[2];
  for (int i = 0; i < 2; ++i) {
    const int steps = 20 << i;
    std::vector<double> times;
    for (int j = 0; j <= steps; ++j) times.push_back(0.5 * j / steps);
    const Field u = StorageModel(pde, pde.grid({32}), times, 0.5, 0, {}).sample(initial).solve_exactly();
    double sum = 0;
    for (int k = 0; k < 32; ++k) sum += std::pow(u[u.size() - 32 + k] - reference[32 + k], 2);
    errors[i] = std::sqrt(sum / 32);
  }
  EXPECT_NEAR(std::log2(errors[0] / errors[1]), 2, 0.1);
}

TEST(ScaledPde, SolvesTheSameEquation) {
  // r(v) of the scaled equation is r(s v) / s of the plain one, whatever the scales.
  const std::vector<double> scales{1e-6, 2e3};
  const ExercisePde limited(false, 2, Convection::limited);
  for (const ExercisePde* pde : {&ring, &walled, &box, &limited}) {
    // Wave speeds are differences over 1e-4 of an unknown's size.
    const double tolerance = pde == &limited ? 1e-9 : 1e-13;
    const ScaledPde scaled(*pde, scales);
    const std::vector<double> times{0, 0.1, 0.25};
    const SchemeParameters parameters{{0.7}, {0}, field_cells(*pde, {}, {}, small_grid(*pde))};
    const ConservativeScheme plain_scheme(*pde, small_grid(*pde), times, 0.5, 1, parameters),
        scaled_scheme(scaled, small_grid(scaled), times, 0.5, 1, parameters);
    const Field u = random_field(3 * plain_scheme.width(), 0.2, 0.7, 5);
    Field v(u);
    for (size_t p = 0; p < v.size(); ++p) v[p] /= scales[p % 2];
    SchemePoint plain(plain_scheme, u, 1), other(scaled_scheme, v, 1);
    const Field r = plain.residual(), q = other.residual(), by = plain.parameter_gradient(),
                by_scaled = other.parameter_gradient();
    for (size_t p = 0; p < r.size(); ++p) {
      EXPECT_NEAR(q[p] * scales[p % 2], r[p], tolerance);
      EXPECT_NEAR(by_scaled[p] * scales[p % 2], by[p], tolerance);
    }
  }
}

TEST(LimitedFlux, IsMusclWithVanLeerAndLaxFriedrichs) {
  // Burgers on a ring against a loop of its own: slopes, face states, c = max |u| between them.
  BurgersOptions options;
  options.viscosity = 0.02;
  const Burgers pde{options};
  const int n = 24;
  const double dx = pde.length(0) / n;
  const SpatialOperator space(pde, pde.grid({n}), {{options.viscosity}, {}});
  const Field u = random_field(n, -1, 1, 9);
  const double times[1] = {0};
  Field with(n);
  space.value(space.terms(times, {}, u, 0), 0, with);
  LimitedFlux(space).add_difference(0, {}, u, with);
  const auto at = [&](int i) { return u[(i + n) % n]; };
  const auto half_slope = [&](int i) {
    const double a = at(i) - at(i - 1), b = at(i + 1) - at(i);
    return a * b > 0 ? a * b / (a + b) : 0.0;
  };
  const auto flux = [&](int f) {
    const double l = at(f - 1) + half_slope(f - 1), r = at(f) - half_slope(f);
    const double c = std::max(std::abs(l), std::abs(r));
    return 0.25 * (l * l + r * r) - 0.5 * c * (r - l) - options.viscosity * (at(f) - at(f - 1)) / dx;
  };
  for (int i = 0; i < n; ++i) EXPECT_NEAR(with[i], -(flux(i + 1) - flux(i)) / dx, 1e-12) << i;
}

TEST(LimitedFlux, SecondOrderInSmoothRegionsAndRightAtShocks) {
  // Inviscid Burgers by way of a viscosity too small to matter. Before the shock: u = sin(2 pi (x - u t)) by
  // characteristics, a smooth profile. After it: the exact speed of the shock from Rankine and Hugoniot.
  BurgersOptions options;
  options.viscosity = 1e-12;
  options.duration = 0.1;
  const Burgers smooth{options};
  const double pi = std::acos(-1.0);
  double errors[2];
  for (int k = 0; k < 2; ++k) {
    const int n = 128 << k;
    Field start(n), exact(n);
    for (int i = 0; i < n; ++i) {
      const double x = (i + 0.5) / n;
      start[i] = 0.5 + 0.2 * std::sin(2 * pi * x);
      double u = start[i];
      for (int j = 0; j < 200; ++j) u = 0.5 + 0.2 * std::sin(2 * pi * (x - u * 0.1));
      exact[i] = u;
    }
    const std::vector<double> times{0.0, 0.1};
    const Field u = method_of_lines(smooth, start, {{options.viscosity}}, smooth.grid({n}), smooth.grid({n}),
                                    times, {.rtol = 1e-7, .limited = true});
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += std::abs(u[n + i] - exact[i]) / n;
    errors[k] = sum;
  }
  EXPECT_GT(std::log2(errors[0] / errors[1]), 1.8);
  BurgersOptions walls = options;
  walls.walls = "values";
  walls.left = 1;
  walls.duration = 0.4;
  const Burgers shock{walls};
  const int n = 200;
  Field start(n);
  for (int i = 0; i < n; ++i) start[i] = (i + 0.5) / n < 0.3 ? 1 : 0;
  const std::vector<double> times{0.0, 0.4};
  const Field u = method_of_lines(shock, start, {{walls.viscosity}}, shock.grid({n}), shock.grid({n}), times,
                                  {.rtol = 1e-4, .limited = true});
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += std::abs(u[n + i] - ((i + 0.5) / n < 0.5 ? 1 : 0)) / n;
  EXPECT_LT(sum, 0.01);
}

TEST(DecadeOf, IsAPowerOfTen) {
  EXPECT_EQ(decade_of(0), 1);
  EXPECT_EQ(decade_of(NAN), 1);
  for (const double size : {0.151, 0.5, 1.0, 1.49}) EXPECT_EQ(decade_of(size), 1);
  EXPECT_EQ(decade_of(1.51), 10);
  EXPECT_NEAR(decade_of(1e-9) / 1e-9, 1, 1e-14);
  EXPECT_NEAR(decade_of(7e-16) / 1e-15, 1, 1e-14);
}

}  // namespace
}  // namespace rankine
