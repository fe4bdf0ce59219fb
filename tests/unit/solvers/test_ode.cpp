#include <cmath>
#include <complex>
#include <numbers>

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace rankine
