#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

// Errors in units in the last place of the result, against long double.
template <class T, class F, class G>
double worst_error(F f, G reference, T low, T high) {
  const int n = 20001;
  std::vector<T> x(n), y(n);
  for (int i = 0; i < n; ++i)
    x[static_cast<std::size_t>(i)] = low + (high - low) * static_cast<T>(i) / T(n - 1);
  map(f, n, x.data(), y.data());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double expected = reference(static_cast<long double>(x[i]));
    if (expected == 0) continue;
    const long double error = std::abs((static_cast<long double>(y[i]) - expected) / expected);
    worst = std::max(worst, static_cast<double>(error) / std::numeric_limits<T>::epsilon());
  }
  return worst;
}

long double gelu_reference(long double x) {
  const long double u = 2 * std::sqrt(2 / std::acos(-1.0L)) * (x + 0.044715L * x * x * x);
  return x / (1 + std::exp(-u));
}

template <class T>
void check_all() {
  EXPECT_LT(worst_error<T>(
                Exp{}, [](long double x) { return std::exp(x); }, -80, 80),
            2);
  EXPECT_LT(worst_error<T>(
                Tanh{}, [](long double x) { return std::tanh(x); }, -9, 9),
            4);
  EXPECT_LT(worst_error<T>(
                Tanh{}, [](long double x) { return std::tanh(x); }, T(-1e-3), T(1e-3)),
            4);
  EXPECT_LT(worst_error<T>(Gelu{}, gelu_reference, -1, 6), 4);
  // The error of exp(-u) grows with |u|, as u itself is rounded; the value is small there.
  EXPECT_LT(worst_error<T>(Gelu{}, gelu_reference, -4, -1), 16);
}

TEST(Pointwise, AreAccurateToAFewUlp) {
  check_all<float>();
  check_all<double>();
}

TEST(Pointwise, PowersAreAccurate) {
  const int n = 50001;
  for (const double exponent : {0.874, -0.126, 2.5, 1.0}) {
    std::vector<double> x(n), y(n);
    for (int i = 0; i < n; ++i) x[i] = std::exp(-250 + 500 * (i + 0.37) / n);
    x[0] = 1e-6, x[1] = 1, x[2] = std::nextafter(1, 0), x[3] = std::nextafter(1, 2), x[4] = std::sqrt(0.5);
    map(Power{exponent}, n, x.data(), y.data());
    double worst = 0;
    for (int i = 0; i < n; ++i) {
      const long double at = x[i], expected = std::pow(at, static_cast<long double>(exponent));
      const long double bound = 1 + std::abs(exponent * std::log(at));
      worst = std::max(worst, static_cast<double>(std::abs(y[i] / expected - 1) / bound));
    }
    EXPECT_LT(worst, 4e-16) << "exponent " << exponent;
    EXPECT_EQ(Power{exponent}(1), 1);
  }
}

TEST(Pointwise, AreFiniteFarOutAndKeepNan) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Tanh{}(1e300), 1);
  EXPECT_EQ(Tanh{}(-inf), -1);
  EXPECT_EQ(Gelu{}(1e3), 1e3);
  EXPECT_NEAR(Gelu{}(-1e3), 0, 1e-250);
  EXPECT_EQ(Gelu{}(1e3f), 1e3f);
  EXPECT_NEAR(GeluDerivative{}(-50.0), 0, 1e-200);
  EXPECT_TRUE(std::isnan(Exp{}(nan)) && std::isnan(Tanh{}(nan)) && std::isnan(Gelu{}(nan)));
}

TEST(Pointwise, DerivativeOfGelu) {
  for (double x = -5; x <= 5; x += 0.01) {
    const double h = 1e-5;
    EXPECT_NEAR(GeluDerivative{}(x), (Gelu{}(x + h) - Gelu{}(x - h)) / (2 * h), 1e-9) << x;
    double value = x, slope = 0;
    gelu_with_derivative(1, &value, &value, &slope);
    EXPECT_NEAR(value, Gelu{}(x), 1e-15);
    EXPECT_NEAR(slope, GeluDerivative{}(x), 1e-15);
    EXPECT_EQ(GeluBackward{}(x, 2.0), 2 * GeluDerivative{}(x));
  }
}

TEST(Pointwise, TreeSumOfAnySize) {
  for (const int n : {0, 1, 15, 16, 255, 256, 257, 1000, 5000}) {
    std::vector<double> ones(static_cast<std::size_t>(n), 0.5);
    EXPECT_EQ(tree_sum(n, ones.data()), 0.5 * n);
  }
}

}  // namespace
}  // namespace rankine::kernels
