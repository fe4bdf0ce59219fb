#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

#include "kernels/error.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/pdebench_diffusion_sorption.hpp"
#include "src/pde/reference.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

double relative_l2(std::span<const double> a, std::span<const double> b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

std::vector<double> uniform_times(int frames, double duration) {
  std::vector<double> times(frames);
  for (int j = 0; j < frames; ++j) times[j] = duration * j / (frames - 1);
  return times;
}

TEST(Reference, AgreesWithSciPy) {
  std::ifstream file(RANKINE_SOURCE_DIR "/tests/golden/diffusion_sorption_scipy.txt");
  ASSERT_TRUE(file) << "golden file not found";
  int rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream stream(line);
    double u0 = 0, t = 0;
    stream >> u0 >> t;
    std::vector<double> golden;
    for (double value; stream >> value;) golden.push_back(value);
    ASSERT_EQ(golden.size(), 256u);

    const Reference ours = diffusion_sorption_reference(u0, 256, std::vector{t}, {.fine_cells = 256});

    ASSERT_EQ(ours.status, OdeStatus::completed) << ours.reason;
    // SciPy's tolerance is 1e-8 a step, ours 1e-7.
    EXPECT_LT(relative_l2(ours.values, golden), 2e-7) << "u0 = " << u0 << ", t = " << t;
    ++rows;
  }
  EXPECT_EQ(rows, 12);
}

TEST(Reference, ErrorFollowsTheTolerance) {
  const auto times = uniform_times(11, 500);
  const auto solve = [&](double rtol) {
    return diffusion_sorption_reference(0.1, 128, times,
                                        {.fine_cells = 128, .rtol = rtol, .atol = rtol / 100});
  };
  const auto exact = solve(1e-11).values;
  for (const double rtol : {1e-5, 1e-7}) {
    const auto approximate = solve(rtol).values;
    EXPECT_LT(relative_l2(approximate, exact), rtol);
    EXPECT_GT(relative_l2(approximate, exact), 1e-3 * rtol) << "the tolerance is not what limits the error";
  }
}

TEST(Reference, FirstFrameIsTheInitialState) {
  const Reference reference =
      diffusion_sorption_reference(0.07, 16, uniform_times(3, 10), {.fine_cells = 64});
  ASSERT_EQ(reference.values.size(), 3u * 16);
  for (int i = 0; i < 16; ++i) EXPECT_DOUBLE_EQ(reference.values[i], 0.07);
  EXPECT_GT(reference.values[16], 0.07);
}

TEST(Reference, AveragesToCoarseCells) {
  EXPECT_THAT(average_cells(std::vector<double>{1, 3, 5, 7, 2, 4, 6, 8}, 4, 2),
              testing::ElementsAre(2, 6, 3, 7));
  EXPECT_THROW(average_cells(std::vector<double>(6), 6, 4), InputError);
  EXPECT_THROW(diffusion_sorption_reference(0.1, 10, std::vector{0.0, 1.0}, {.fine_cells = 64}), InputError);
}

TEST(Reference, JacobiansAgreeWithDifferences) {
  const int n = 7;
  const ManufacturedField field = [](double x, double t) { return ManufacturedSolution{0.3 + x + t, 1, 0}; };
  for (const OdeSystem& system : {pdebench_diffusion_sorption({}, n),
                                  manufactured_diffusion_sorption({}, n, 1, field, GhostClosure::exact)}) {
    std::vector<double> u{0.9, 0.5, 0.3, 0.2, 0.15, 0.1, 0.05}, plus(n), minus(n);
    kernels::StencilFrames jacobian(1, n);
    system.jacobian(0.2, u, jacobian);
    for (int k = 0; k < n; ++k) {
      const double h = 1e-5 * u[k], value = u[k];
      u[k] = value + h;
      system.rhs(0.2, u, plus);
      u[k] = value - h;
      system.rhs(0.2, u, minus);
      u[k] = value;
      for (int i = 0; i < n; ++i) {
        const double expected = (plus[i] - minus[i]) / (2 * h);
        const double entry = std::abs(i - k) <= 1 ? *jacobian.at(0, i, k - i) : 0;
        EXPECT_NEAR(entry, expected, 1e-8) << "row " << i << ", column " << k;
      }
    }
  }
}

/// A front that moves in from the left: u in (0.2, 0.8), so the storage is curved but not singular.
ManufacturedSolution front(double x, double t) {
  const double k = 3, z = k * (x - 0.004 * t), s = std::tanh(z), ds = 1 - s * s;
  return {0.5 - 0.3 * s, 0.3 * ds * k * 0.004, 0.6 * k * k * s * ds};
}

double manufactured_error(int n, GhostClosure closure) {
  const OdeSystem system = manufactured_diffusion_sorption({}, n, 1, front, closure);
  std::vector<double> start(n), exact(n);
  const double duration = 200;
  for (int i = 0; i < n; ++i) {
    start[i] = front((i + 0.5) / n, 0).value;
    exact[i] = front((i + 0.5) / n, duration).value;
  }
  const OdeResult result =
      integrate_stiff(system, start, std::vector{0.0, duration}, {.rtol = 1e-7, .atol = 1e-9});
  EXPECT_EQ(result.status, OdeStatus::completed) << result.reason;
  return relative_l2(std::span(result.values).subspan(n), exact);
}

TEST(Reference, SecondOrderWithExactGhostsFirstWithWallValues) {
  for (const auto& [closure, expected] :
       {std::pair{GhostClosure::exact, 1.9}, {GhostClosure::wall_value, 0.9}}) {
    double coarse = manufactured_error(32, closure), order = 0;
    for (const int n : {64, 128}) {
      const double fine = manufactured_error(n, closure);
      order = std::log2(coarse / fine);
      std::printf("%s ghosts, %3d cells: error %.2e, order %.2f\n",
                  closure == GhostClosure::exact ? "exact     " : "wall-value", n, fine, order);
      coarse = fine;
    }
    EXPECT_GT(order, expected);
    EXPECT_LT(order, expected + 0.3);
  }
}

TEST(Ode, SolvesStiffLinearSystems) {
  // u' = -1000 (u - cos t) - sin t has the solution cos t from u(0) = 1; an explicit method needs 1500 steps
  // to t = 3.
  OdeSystem forced;
  forced.cells = 1;
  forced.rhs = [](double t, auto u, auto f) { f[0] = -1000 * (u[0] - std::cos(t)) - std::sin(t); };
  forced.jacobian = [](double, auto, auto& out) { *out.at(0, 0, 0) = -1000; };
  const std::vector times{0.0, 0.1, 1.0, 3.0};
  const OdeResult result = integrate_stiff(forced, std::vector{1.0}, times, {.rtol = 1e-6, .atol = 1e-8});
  ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
  for (size_t k = 0; k < times.size(); ++k) EXPECT_NEAR(result.values[k], std::cos(times[k]), 1e-6);
  EXPECT_LT(result.steps, 1500);

  // u' = -v, v' = -1e4 (v - u): u falls slowly while v follows at once. Exact by the eigenvalues of the
  // matrix.
  OdeSystem decay;
  decay.cells = 2;
  decay.autonomous = true;
  decay.rhs = [](double, auto u, auto f) {
    f[0] = -u[1];
    f[1] = -1e4 * (u[1] - u[0]);
  };
  decay.jacobian = [](double, auto, auto& out) {
    *out.at(0, 0, 1) = -1;
    *out.at(0, 1, -1) = 1e4;
    *out.at(0, 1, 0) = -1e4;
  };
  const double root = std::sqrt(1e8 - 4e4), slow = (-1e4 + root) / 2, fast = (-1e4 - root) / 2;
  // u(0) = 1, u'(0) = 0
  const double a = -fast / (slow - fast), b = slow / (slow - fast);
  for (const OdeMethod method : {OdeMethod::rosenbrock3, OdeMethod::rosenbrock4}) {
    const OdeResult run = integrate_stiff(decay, std::vector{1.0, 0.0}, times, {.method = method});
    ASSERT_EQ(run.status, OdeStatus::completed) << run.reason;
    for (size_t k = 0; k < times.size(); ++k) {
      EXPECT_NEAR(run.values[2 * k], a * std::exp(slow * times[k]) + b * std::exp(fast * times[k]), 1e-6);
    }
    EXPECT_LT(run.steps, 1000);
  }
}

TEST(Ode, SaysHowItFailed) {
  OdeSystem system;
  system.cells = 1;
  system.autonomous = true;
  system.rhs = [](double, auto u, auto f) { f[0] = u[0] * u[0]; };  // u = 1 / (1 - t)
  system.jacobian = [](double, auto u, auto& out) { *out.at(0, 0, 0) = 2 * u[0]; };
  const std::vector times{0.0, 0.5, 2.0};

  const OdeResult singular = integrate_stiff(system, std::vector{1.0}, times, {.max_steps = 2000});
  EXPECT_NE(singular.status, OdeStatus::completed);
  EXPECT_EQ(singular.reached, 2);
  EXPECT_NEAR(singular.values[1], 2, 1e-5);
  EXPECT_THAT(singular.reason, testing::HasSubstr("the integration stopped at t = 1.0"));

  const OdeResult limited = integrate_stiff(system, std::vector{1.0}, times, {.max_steps = 3});
  EXPECT_EQ(limited.status, OdeStatus::step_limit);

  const OdeResult broken = integrate_stiff(system, std::vector<double>{NAN}, times);
  EXPECT_EQ(broken.status, OdeStatus::not_finite);
  EXPECT_EQ(broken.reached, 1);

  system.rhs = [](double t, auto, auto f) {
    f[0] = 1;
    if (t > 0) throw NumericalError("from the callback");
  };
  // A numerical failure is an outcome, which keeps the last state; anything else is a mistake and passes on.
  const OdeResult thrown = integrate_stiff(system, std::vector{1.0}, times);
  EXPECT_EQ(thrown.status, OdeStatus::failed);
  EXPECT_EQ(thrown.reached, 1);
  EXPECT_THAT(thrown.reason, testing::HasSubstr("from the callback"));
  system.rhs = [](double t, auto, auto f) {
    f[0] = 1;
    if (t > 0) throw std::logic_error("a mistake");
  };
  EXPECT_THROW(integrate_stiff(system, std::vector{1.0}, times), std::logic_error);
}

TEST(Reference, CostIsPrinted) {
  const auto times = uniform_times(101, 500);
  const auto start = std::chrono::steady_clock::now();
  const Reference reference = diffusion_sorption_reference(0.1, 64, times);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(reference.status, OdeStatus::completed);
  std::printf("1024 cells, 101 frames: %.3f s, %ld steps\n", seconds, reference.steps);
}

}  // namespace
}  // namespace rankine
