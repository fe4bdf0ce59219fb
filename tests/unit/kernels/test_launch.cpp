// The launch primitives against plain loops: strides, repeated operands, tails, trees, columns.
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/host_access.hpp"
#include "kernels/map.hpp"
#include "kernels/reduce.hpp"
#include "kernels/rows.hpp"
#include "tests/support/on_device.hpp"

namespace rankine::kernels {
namespace {

using testing::OnDevice;

template <class T>
std::vector<T> numbers(std::int64_t n, T factor) {
  std::vector<T> out(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = factor * static_cast<T>(std::sin(0.7 * static_cast<double>(i) + 0.1));
  return out;
}

struct Mix {
  KOKKOS_FORCEINLINE_FUNCTION double operator()(float a, double b, std::int32_t c) const {
    return static_cast<double>(a) * b + static_cast<double>(c);
  }
};

TEST(Launch, MapsStridedAndRepeatedOperandsOfMixedTypes) {
  // y [3][5][70] = f(a [3][5][70] transposed in memory, b [5] repeated, c [70] reversed and repeated)
  const std::int64_t n0 = 3, n1 = 5;
  for (const std::int64_t n2 : {1, 7, 16, 17, 63, 64, 65, 70, 200}) {
    const auto a = numbers<float>(n0 * n1 * n2, 2.0F);
    const auto b = numbers<double>(n1, 3.0);
    std::vector<std::int32_t> c(static_cast<std::size_t>(n2));
    std::iota(c.begin(), c.end(), -3);
    const OnDevice<float> da(a);
    const OnDevice<double> db(b), y(std::vector<double>(a.size(), -1.0));
    const OnDevice<std::int32_t> dc(c);
    Strided<4> s;
    s.append(n0, {n1 * n2, 1, 0, 0});
    s.append(n1, {n2, n0, 1, 0});
    s.append(n2, {1, n0 * n1, 0, -1});
    map("mix", Mix{}, s, y.data(), da.read(), db.read(), dc.read() + (n2 - 1));
    const auto got = y.values();
    for (std::int64_t i = 0; i < n0; ++i)
      for (std::int64_t j = 0; j < n1; ++j)
        for (std::int64_t k = 0; k < n2; ++k) {
          const double want = std::fma(
              static_cast<double>(a[static_cast<std::size_t>(i + j * n0 + k * n0 * n1)]),
              b[static_cast<std::size_t>(j)], static_cast<double>(c[static_cast<std::size_t>(n2 - 1 - k)]));
          ASSERT_NEAR(got[static_cast<std::size_t>((i * n1 + j) * n2 + k)], want,
                      1e-14 * (1 + std::abs(want)))
              << n2 << ": " << i << " " << j << " " << k;
        }
  }
}

struct Twice {
  KOKKOS_FORCEINLINE_FUNCTION float operator()(float x) const { return 2 * x; }
};

TEST(Launch, MapsInPlaceAndWritesNothingBesides) {
  for (const std::int64_t n : {1, 15, 16, 17, 64, 79, 16384, 16385, 40000}) {
    const auto x = numbers<float>(n + 5, 1.0F);
    const OnDevice<float> y(x);
    map("twice", Twice{}, n, y.data(), y.read());
    const auto got = y.values();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], static_cast<std::int64_t>(i) < n ? 2 * x[i] : x[i]) << n << " " << i;
  }
}

TEST(Launch, MapsScalars) {
  const OnDevice<float> x(std::vector<float>{3.0F}), y(std::vector<float>{0.0F});
  map("twice", Twice{}, Strided<2>{}, y.data(), x.read());
  EXPECT_EQ(y.values()[0], 6.0F);
}

template <class T>
struct Plain {
  View<const T> x;
  KOKKOS_FORCEINLINE_FUNCTION T operator()(std::int64_t i) const { return x[i]; }
};

// The tree as a recursion on halves at powers of two.
template <class T>
T tree(const T* x, std::int64_t n) {
  if (n <= kLeaf) {
    T lanes[kLeafLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i % kLeafLanes] = lanes[i % kLeafLanes] + x[i];
    for (int w = kLeafLanes / 2; w > 0; w /= 2)
      for (int j = 0; j < w; ++j) lanes[j] = lanes[j] + lanes[j + w];
    return lanes[0];
  }
  std::int64_t half = kLeaf;
  while (2 * half < n) half *= 2;
  return tree(x, half) + tree(x + half, n - half);
}

TEST(Launch, ReducesInATreeOfTheNumberOfElements) {
  for (const std::int64_t rows : {1, 3})
    for (const std::int64_t n : {0, 1, 15, 16, 255, 256, 257, 1000, 16384, 16385, 50000, 100000}) {
      const auto x = numbers<float>(rows * n, 1.0F);
      const OnDevice<float> dx(x), out(std::vector<float>(static_cast<std::size_t>(rows), -1.0F));
      const OnDevice<float> work(std::vector<float>(static_cast<std::size_t>(reduce_workspace(rows, n)) + 1));
      reduce<Sum<float>>("sum", Plain<float>{dx.read()}, rows, n, out.data(), work.data());
      for (std::int64_t r = 0; r < rows; ++r)
        EXPECT_EQ(out.values()[static_cast<std::size_t>(r)], tree(x.data() + r * n, n)) << rows << " " << n;
    }
}

struct Normalise {
  std::int64_t n;
  View<const double> x;
  View<double> y;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t row, const Group& group) const {
    const double* const from = x.at(row * n);
    double* const to = y.at(row * n);
    const double top = group.template max<double>(n, [=](std::int64_t i) { return from[i]; });
    const double total = group.template sum<double>(n, [=](std::int64_t i) { return from[i]; });
    group.each(n, [=](std::int64_t i) { to[i] = from[i] - top + total; });
  }
};

TEST(Launch, RowsSumInFixedLanes) {
  for (const std::int64_t n : {1, 5, 31, 32, 33, 64, 100, 1000}) {
    const std::int64_t count = 7;
    const auto x = numbers<double>(count * n, 1.0);
    const OnDevice<double> dx(x), y(std::vector<double>(x.size()));
    rows("normalise", count, n, Normalise{n, dx.read(), y.data()});
    const auto got = y.values();
    for (std::int64_t r = 0; r < count; ++r) {
      const double* const row = x.data() + r * n;
      const int lanes_used = n < kRowLanes ? 1 : kRowLanes;
      std::vector<double> lanes(static_cast<std::size_t>(lanes_used));
      double top = row[0];
      for (std::int64_t i = 0; i < n; ++i) {
        double& lane = lanes[static_cast<std::size_t>(i % lanes_used)];
        lane = lane + row[i];
        top = std::max(top, row[i]);
      }
      for (int w = lanes_used / 2; w > 0; w /= 2)
        for (int j = 0; j < w; ++j)
          lanes[static_cast<std::size_t>(j)] += lanes[static_cast<std::size_t>(j + w)];
      for (std::int64_t i = 0; i < n; ++i)
        ASSERT_EQ(got[static_cast<std::size_t>(r * n + i)], row[i] - top + lanes[0]) << n << " " << r;
    }
  }
}

struct Prefix {
  std::int64_t length, width;
  View<double> y;
  RANKINE_KERNEL void operator()(std::int64_t unit, const Columns& columns) const {
    double* const from = y.at(unit * length * width);
    const std::int64_t w = width;
    for (std::int64_t t = 1; t < length; ++t) {
      double* const here = from + t * w;
      columns.each([=](std::int64_t j) { here[j] = here[j] + here[j - w]; });
    }
  }
};

TEST(Launch, ColumnsRunAlongTheirAxisInOrder) {
  for (const std::int64_t width : {1, 3, 1023, 1024, 1025, 3000}) {
    const std::int64_t count = 2, length = 4;
    const auto x = numbers<double>(count * length * width, 1.0);
    const OnDevice<double> y(x);
    columns("prefix", count, width, Prefix{length, width, y.data()});
    auto want = x;
    for (std::int64_t u = 0; u < count; ++u)
      for (std::int64_t t = 1; t < length; ++t)
        for (std::int64_t j = 0; j < width; ++j) {
          const auto i = static_cast<std::size_t>((u * length + t) * width + j);
          want[i] = want[i] + want[i - static_cast<std::size_t>(width)];
        }
    EXPECT_EQ(y.values(), want) << width;
  }
}

TEST(Launch, HostAccessCopiesBackWhatItMay) {
  const OnDevice<double> x(std::vector<double>{1, 2, 3});
  {
    const HostRead<double> read(x.data(), 3);
    EXPECT_EQ(read[2], 3);
    const HostUpdate<double> update(x.data(), 2);
    update[1] = 7;
  }
  EXPECT_EQ(x.values(), (std::vector<double>{1, 7, 3}));
  {
    const HostWrite<double> write(x.data() + 1, 2);
    write[0] = 8;
    write[1] = 9;
  }
  EXPECT_EQ(x.values(), (std::vector<double>{1, 8, 9}));
}

}  // namespace
}  // namespace rankine::kernels
