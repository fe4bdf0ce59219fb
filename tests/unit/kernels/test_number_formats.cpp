// Rounding to formats of few bits against all numbers of the formats, and the largest of many numbers against
// a sort. Compiled a second time with
// RANKINE_EMULATE_DEVICE, where the bodies are those of a device.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#ifdef RANKINE_EMULATE_DEVICE
#include "kernels/number_formats.cpp"
#include "kernels/selection.cpp"
#else
#include "kernels/number_formats.hpp"
#include "kernels/selection.hpp"
#endif
#include "tests/support/device_array.hpp"

namespace rankine::kernels {
namespace {

using test::DeviceArray;

/// Numbers of both signs and of many sizes, and those between them.
template <class T>
std::vector<T> samples() {
  std::vector<T> out{0, -0.0};
  for (int e = -20; e <= 18; ++e)
    for (int i = 0; i < 40; ++i) {
      const double x = std::ldexp(1 + i / 40.0, e);
      out.push_back(static_cast<T>(x));
      out.push_back(static_cast<T>(-x));
    }
  return out;
}

/// The non-negative numbers of a format with their mantissas: (value, mantissa of an even number is even).
std::vector<std::pair<double, bool>> numbers_of_format(int exponent, int mantissa) {
  const int bias = (1 << (exponent - 1)) - 1;
  std::vector<std::pair<double, bool>> out;
  for (int m = 0; m < 1 << mantissa; ++m) out.emplace_back(std::ldexp(m, 1 - bias - mantissa), m % 2 == 0);
  for (int e = 1; e <= 2 * bias; ++e)
    for (int m = 0; m < 1 << mantissa; ++m)
      out.emplace_back(std::ldexp((1 << mantissa) + m, e - bias - mantissa), m % 2 == 0);
  return out;
}

template <class T>
class Formats : public testing::Test {};
using FloatTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Formats, FloatTypes);

TYPED_TEST(Formats, RoundToTheNearestNumberOfAFloatFormat) {
  using T = TypeParam;
  std::vector<T> x = samples<T>();
  for (const auto& [exponent, mantissa] : std::vector<std::pair<int, int>>{{4, 3}, {5, 2}, {5, 10}, {2, 1}}) {
    const std::vector<std::pair<double, bool>> format = numbers_of_format(exponent, mantissa);
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(format.size(), 300); ++i)  // halves
      x.push_back(static_cast<T>((format[i].first + format[i + 1].first) / 2));
    const DeviceArray<T> in(x), out(static_cast<std::int64_t>(x.size()));
    round_to_float<T>(static_cast<std::int64_t>(x.size()), exponent, mantissa, in.ptr(), out.ptr());
    const std::vector<T> y = out.host();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double size = std::abs(static_cast<double>(x[i]));
      // Of the numbers on both sides the nearer, of equals the even one.
      auto best = std::lower_bound(format.begin(), format.end(), std::pair(size, false));
      if (best == format.end()) --best;
      if (best != format.begin() && size < best->first) {
        const auto below = best - 1;
        const double down = size - below->first, up = best->first - size;
        if (down < up || (down == up && below->second)) best = below;
      }
      ASSERT_EQ(std::abs(static_cast<double>(y[i])), best->first)
          << x[i] << " E" << exponent << "M" << mantissa;
      ASSERT_EQ(std::signbit(y[i]), std::signbit(x[i])) << x[i];
    }
  }
}

TEST(FloatFormat, OfFloatLeavesFloatsAsTheyAre) {
  using limits = std::numeric_limits<float>;
  std::vector<float> x = samples<float>();
  for (const float special : {limits::max(), limits::min(), limits::denorm_min(), limits::infinity(),
                              3 * limits::denorm_min(), -limits::infinity(), 0.1F})
    x.push_back(special);
  const DeviceArray<float> in(x), out(static_cast<std::int64_t>(x.size()));
  round_to_float<float>(static_cast<std::int64_t>(x.size()), 8, 23, in.ptr(), out.ptr());
  EXPECT_EQ(out.host(), x);
}

TYPED_TEST(Formats, SumOfTheTwoPowersThatAreNearest) {
  using T = TypeParam;
  const std::vector<T> x = samples<T>();
  const auto nearest = [](double size) {  // in the logarithm, by search
    int best = -200;
    for (int e = -200; e < 200; ++e)
      if (std::abs(std::log2(size) - e) < std::abs(std::log2(size) - best)) best = e;
    return best;
  };
  for (const int terms : {1, 2}) {
    const DeviceArray<T> in(x), out(static_cast<std::int64_t>(x.size()));
    round_to_powers<T>(static_cast<std::int64_t>(x.size()), terms, 4, in.ptr(), out.ptr());
    const std::vector<T> y = out.host();
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] == 0) {
        ASSERT_EQ(y[i], 0);
        continue;
      }
      const double size = std::abs(static_cast<double>(x[i]));
      const int e1 = nearest(size);
      double expected = std::pow(2.0, e1);
      const double rest = size - expected;
      if (terms == 2 && rest != 0) {
        const int e2 = nearest(std::abs(rest));
        if (e1 - e2 <= 4) expected += std::copysign(std::pow(2.0, e2), rest);
      }
      ASSERT_EQ(y[i], static_cast<T>(std::copysign(expected, static_cast<double>(x[i])))) << x[i];
    }
  }
}

TYPED_TEST(Formats, StochasticRoundingIsTheFloorOfAShiftedNumber) {
  using T = TypeParam;
  const std::vector<T> x = samples<T>();
  const auto n = static_cast<std::int64_t>(x.size());
  const Philox stream(77);
  const DeviceArray<T> in(x), out(n);
  quantise_stochastic<T>(n, 0.125, -16, 15, stream, 9, in.ptr(), out.ptr());
  const std::vector<T> y = out.host();
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double u = Philox::to_unit(
        Philox::word(stream.block(RandomKind::uniform, 9, 0, static_cast<std::uint64_t>(i) / 2), i));
    const double k = std::clamp(std::floor(8 * static_cast<double>(x[at]) + u), -16.0, 15.0);
    ASSERT_EQ(y[at], static_cast<T>(k / 8)) << i;
  }
}

TEST(StochasticRounding, IsUnbiased) {
  // The mean of n numbers that are 1 with probability p is off by less than 4 standard deviations.
  constexpr std::int64_t n = 40000;
  for (const double p : {0.03, 0.3, 0.5, 0.9}) {
    const std::vector<double> x(n, 2 + p);
    const DeviceArray<double> in(x), out(n);
    quantise_stochastic<double>(n, 1, -8, 7, Philox(5), 1, in.ptr(), out.ptr());
    double sum = 0;
    for (const double y : out.host()) {
      ASSERT_TRUE(y == 2 || y == 3);
      sum += y - 2;
    }
    EXPECT_NEAR(sum / n, p, 4 * std::sqrt(p * (1 - p) / n));
  }
}

TYPED_TEST(Formats, TopMaskMarksTheLargest) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 7, 300, 2000}) {
    std::vector<T> x;
    for (std::int64_t i = 0; i < n; ++i)
      x.push_back(static_cast<T>(std::sin(static_cast<double>(i * i)) * (i % 9)));
    x[0] = -0.0;  // equals the zeros
    std::vector<T> sorted = x;
    std::sort(sorted.rbegin(), sorted.rend());
    const DeviceArray<T> in(x), out(n);
    const DeviceArray<std::int64_t> work(top_mask_workspace(n));
    for (const std::int64_t k : {std::int64_t{1}, (n + 1) / 2, n}) {
      top_mask<T>(n, k, in.ptr(), work.ptr(), out.ptr());
      const std::vector<T> mask = out.host();
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(mask[i], x[i] >= sorted[static_cast<std::size_t>(k - 1)] ? 1 : 0) << i << " of " << n;
    }
  }
}

}  // namespace
}  // namespace rankine::kernels
