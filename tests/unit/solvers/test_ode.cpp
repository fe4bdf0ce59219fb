#include <cmath>
#include <complex>
#include <functional>
#include <numbers>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "solvers/ode.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using std::numbers::pi;

TEST(OdeStencil, PeriodicAdvectionDiffusionFollowsItsEigenvalue) {
  // A Fourier mode of a circulant system decays and turns with its own complex rate, for reach 2
  // (fourth-order differences) as for reach 1; a ring of 4 cells with reach 2 reads one cell twice.
  struct Case {
    int cells, reach;
  };
  for (const auto& [n, reach] : {Case{24, 1}, Case{25, 2}, Case{4, 2}}) {
    const double speed = 1, nu = 0.05, h = 1.0 / n;
    const std::vector<double> first =
        reach == 1 ? std::vector{-0.5, 0.0, 0.5} : std::vector{1.0 / 12, -8.0 / 12, 0.0, 8.0 / 12, -1.0 / 12};
    const std::vector<double> second =
        reach == 1 ? std::vector{1.0, -2.0, 1.0}
                   : std::vector{-1.0 / 12, 16.0 / 12, -30.0 / 12, 16.0 / 12, -1.0 / 12};
    std::vector<double> weights;
    for (size_t k = 0; k < first.size(); ++k)
      weights.push_back(-speed * first[k] / h + nu * second[k] / (h * h));
    OdeSystem system;
    system.cells = n;
    system.reach = reach;
    system.periodic = true;
    system.autonomous = true;
    system.rhs = [=](double, auto u, auto f) {
      for (int i = 0; i < n; ++i) {
        f[i] = 0;
        for (int s = -reach; s <= reach; ++s) f[i] += weights[s + reach] * u[(i + s + n) % n];
      }
    };
    system.jacobian = [=](double, auto, kernels::StencilFrames& out) {
      for (int i = 0; i < n; ++i)
        for (int s = -reach; s <= reach; ++s) *out.at(0, i, s) = weights[s + reach];
    };
    std::complex<double> rate = 0;
    for (int s = -reach; s <= reach; ++s) rate += weights[s + reach] * std::polar(1.0, 2 * pi * s / n);
    std::vector<double> start(n);
    for (int i = 0; i < n; ++i) start[i] = std::cos(2 * pi * i / n);
    const std::vector times{0.0, 0.1, 0.4};
    const OdeResult result = integrate_stiff(system, start, times, {.rtol = 1e-8, .atol = 1e-10});
    ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
    for (size_t k = 0; k < times.size(); ++k)
      for (int i = 0; i < n; ++i) {
        const double exact = (std::exp(rate * times[k]) * std::polar(1.0, 2 * pi * i / n)).real();
        EXPECT_NEAR(result.values[k * n + i], exact, 1e-6) << "time " << times[k] << ", cell " << i;
      }
  }
}

TEST(OdeStencil, TwoReactingUnknownsDiffuseApart) {
  // u and v exchange at the rate k and diffuse along a ring: for a mode, sum and difference have rates of
  // their own,
  //   (u + v)' = -d q (u + v),   (u - v)' = -(d q + 2 k) (u - v),   q the eigenvalue of the second
  //   difference.
  const int n = 16;
  const double d = 0.02, k = 200, h = 1.0 / n;
  OdeSystem system;
  system.cells = n;
  system.unknowns = 2;
  system.periodic = true;
  system.autonomous = true;
  system.rhs = [=](double, auto w, auto f) {
    for (int i = 0; i < n; ++i)
      for (int a = 0; a < 2; ++a) {
        const double left = w[2 * ((i + n - 1) % n) + a], right = w[2 * ((i + 1) % n) + a];
        f[2 * i + a] =
            d * (left - 2 * w[2 * i + a] + right) / (h * h) + k * (w[2 * i + 1 - a] - w[2 * i + a]);
      }
  };
  system.jacobian = [=](double, auto, kernels::StencilFrames& out) {
    for (int i = 0; i < n; ++i)
      for (int a = 0; a < 2; ++a) {
        out.at(0, i, -1)[3 * a] = out.at(0, i, 1)[3 * a] = d / (h * h);
        out.at(0, i, 0)[3 * a] = -2 * d / (h * h) - k;
        out.at(0, i, 0)[2 * a + 1 - a] = k;
      }
  };
  const double q = (2 - 2 * std::cos(2 * pi / n)) / (h * h);
  std::vector<double> start(2 * n);
  for (int i = 0; i < n; ++i) start[2 * i] = std::sin(2 * pi * i / n);
  const std::vector times{0.0, 0.002, 1.0};
  const OdeResult result = integrate_stiff(system, start, times, {.rtol = 1e-8, .atol = 1e-10});
  ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
  for (size_t t = 0; t < times.size(); ++t)
    for (int i = 0; i < n; ++i) {
      const double sum = std::exp(-d * q * times[t]), difference = std::exp(-(d * q + 2 * k) * times[t]);
      const double mode = std::sin(2 * pi * i / n);
      EXPECT_NEAR(result.values[(t * n + i) * 2], mode * (sum + difference) / 2, 1e-7);
      EXPECT_NEAR(result.values[(t * n + i) * 2 + 1], mode * (sum - difference) / 2, 1e-7);
    }
}

/// One cell without neighbours: u_a' = rate(t, u)_a, with a Jacobian by central differences.
OdeSystem one_cell(int unknowns,
                   const std::function<void(double, std::span<const double>, std::span<double>)>& rate) {
  OdeSystem system;
  system.cells = 1;
  system.unknowns = unknowns;
  system.rhs = rate;
  system.jacobian = [=](double t, std::span<const double> u, kernels::StencilFrames& out) {
    std::vector<double> moved(u.begin(), u.end()), above(u.size()), below(u.size());
    for (int b = 0; b < unknowns; ++b) {
      const double h = 1e-6 * (std::abs(u[b]) + 1e-30);
      moved[b] = u[b] + h;
      rate(t, moved, above);
      moved[b] = u[b] - h;
      rate(t, moved, below);
      moved[b] = u[b];
      for (int a = 0; a < unknowns; ++a) out.at(0, 0, 0)[a * unknowns + b] = (above[a] - below[a]) / (2 * h);
    }
  };
  return system;
}

TEST(Ode, AStopKeepsAJumpApart) {
  // A source of area 1 within a millionth of the time. f is asked for on each side of a stop, never at it.
  const double begin = 0.5, end = 0.5 + 1e-6;
  const OdeSystem system = one_cell(1, [=](double t, auto, auto f) {
    EXPECT_NE(t, begin);
    EXPECT_NE(t, end);
    f[0] = t > begin && t < end ? 1e6 : 0;
  });
  const std::vector times{0.0, begin, 1.0}, start{0.0};
  const OdeResult with = integrate_stiff(system, start, times, {.stops = {begin, end}});
  ASSERT_EQ(with.status, OdeStatus::completed) << with.reason;
  EXPECT_EQ(with.values[1], 0);
  EXPECT_NEAR(with.values[2], 1, 1e-8);
}

TEST(Ode, AScaleOfEachUnknown) {
  // The same two equations in other units: relative errors stay.
  const auto rates = [](double size) {
    return [=](double, std::span<const double> u, std::span<double> f) {
      f[0] = -3 * u[0] + 2 * u[1] / size;
      f[1] = -u[1] + 0.5 * size * u[0];
    };
  };
  const std::vector times{0.0, 1.0};
  std::vector<double> plain;
  for (const double size : {1.0, 1e-12, 1e9}) {
    const std::vector start{1.0, 0.3 * size};
    const OdeResult result = integrate_stiff(one_cell(2, rates(size)), start, times, {.scale = {1.0, size}});
    ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
    if (plain.empty()) plain = result.values;
    EXPECT_NEAR(result.values[2] / plain[2], 1, 1e-9) << size;
    EXPECT_NEAR(result.values[3] / size / plain[3], 1, 1e-9) << size;
  }
  // Eigenvalues -2 +- sqrt(2).
  const double a = -2 + std::sqrt(2.0), b = -2 - std::sqrt(2.0);
  const double c = (1 * -3 + 2 * 0.3 - b) / (a - b);
  EXPECT_NEAR(plain[2], c * std::exp(a) + (1 - c) * std::exp(b), 1e-6);
}

TEST(Ode, APoleIsNoticed) {
  for (const double sign : {1.0, -1.0}) {
    const OdeSystem system = one_cell(1, [=](double, auto u, auto f) { f[0] = sign * 1.3 * u[0] * u[0]; });
    const std::vector times{0.0, 0.5, 1.0}, start{sign};
    const OdeResult result = integrate_stiff(system, start, times, {});
    EXPECT_EQ(result.status, OdeStatus::pole) << result.reason;
    EXPECT_EQ(result.reached, 2);
    EXPECT_NEAR(result.last_time, 1 / 1.3, 1e-3);
    EXPECT_GT(sign * result.last_state.at(0), 30);
  }
  // A large value that changes its sign as its rates say is none.
  const OdeSystem growing = one_cell(2, [](double, auto u, auto f) {
    f[0] = 5 * u[0] + 30 * u[1];
    f[1] = 5 * u[1] - 30 * u[0];
  });
  const std::vector times{0.0, 2.0}, start{1.0, 0.0};
  const OdeResult result = integrate_stiff(growing, start, times, {});
  ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
  EXPECT_NEAR(result.values[2], std::exp(10) * std::cos(60), 0.05);
}

TEST(Ode, AFailureInTheEquationsLeavesTheLastState) {
  const OdeSystem system = one_cell(1, [](double t, auto, auto f) {
    if (t > 0.3) throw NumericalError("no rate after 0.3");
    f[0] = 1;
  });
  const std::vector times{0.0, 1.0}, start{0.0};
  const OdeResult result = integrate_stiff(system, start, times, {});
  EXPECT_EQ(result.status, OdeStatus::failed);
  EXPECT_NE(result.reason.find("no rate after 0.3"), std::string::npos) << result.reason;
  ASSERT_EQ(result.last_state.size(), 1U);
  EXPECT_LE(result.last_state[0], 0.3 + 1e-12);
}

TEST(Ode, OutputTimesDoNotUseUpTheStepLimit) {
  const OdeSystem system = one_cell(1, [](double, auto u, auto f) { f[0] = -u[0]; });
  std::vector<double> times;
  for (int i = 0; i <= 2000; ++i) times.push_back(i / 2000.0);
  const std::vector start{1.0};
  const OdeResult result = integrate_stiff(system, start, times, {.max_steps = 300});
  ASSERT_EQ(result.status, OdeStatus::completed) << result.reason;
  EXPECT_NEAR(result.values.back(), std::exp(-1.0), 1e-7);
  const std::vector ends{0.0, 1.0};
  EXPECT_EQ(integrate_stiff(system, start, ends, {.max_steps = 5}).status, OdeStatus::step_limit);
}

}  // namespace
}  // namespace rankine
