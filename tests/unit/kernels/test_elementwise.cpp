// Elementwise operations, moving and indexing of elements, sums and recurrences against plain loops. Compiled
// a second time with RANKINE_EMULATE_DEVICE, where the bodies are those of a device.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/elementwise.hpp"

#ifdef RANKINE_EMULATE_DEVICE
#include "kernels/elementwise.cpp"
#include "kernels/indexing.cpp"
#include "kernels/reductions.cpp"
#else
#include "kernels/indexing.hpp"
#include "kernels/reductions.hpp"
#endif
#include "kernels/pointwise.hpp"
#include "kernels/runtime.hpp"
#include "tests/support/device_array.hpp"

namespace rankine::kernels {
namespace {

using test::DeviceArray;
using Int = std::int64_t;

std::size_t at(Int i) { return static_cast<std::size_t>(i); }

template <class T>
T number(Int i, double factor = 1, double offset = 0) {
  const double x = factor * std::sin(0.7 * static_cast<double>(i) + 0.1) + offset;
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(x);
  else
    return T(static_cast<typename T::value_type>(x),
             static_cast<typename T::value_type>(factor * std::cos(1.3 * static_cast<double>(i))));
}
template <class T>
std::vector<T> numbers(Int n, double factor = 1, double offset = 0) {
  std::vector<T> out(at(n));
  for (Int i = 0; i < n; ++i) out[at(i)] = number<T>(i, factor, offset);
  return out;
}

template <class T>
class Floats : public testing::Test {};
using FloatTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Floats, FloatTypes);

template <class T>
class Numeric : public testing::Test {};
using NumericTypes = testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(Numeric, NumericTypes);

TYPED_TEST(Floats, GeluAndItsDerivativeAreThoseOfOnePoint) {
  using T = TypeParam;
  for (const Int n : {1, 15, 16, 63, 64, 65, 16384, 16385, 40000}) {
    std::vector<T> x(at(n));
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<T>(0.01 * static_cast<double>(i % 1300) - 6);
    const DeviceArray<T> in(x), value(n), slope(n);
    gelu_with_derivative<T>(n, in.ptr(), value.ptr(), slope.ptr());
    const std::vector<T> y = value.host(), dy = slope.host();
    for (std::size_t i = 0; i < x.size(); ++i) {
      T one = x[i], its_slope = 0;
      gelu_with_derivative(1, &one, &one, &its_slope);
#ifdef RANKINE_EMULATE_DEVICE  // not in blocks, so the compiler may contract otherwise
      const T eps = 4 * std::numeric_limits<T>::epsilon();
      ASSERT_NEAR(y[i], one, eps * (1 + std::abs(one))) << i << " of " << n;
      ASSERT_NEAR(dy[i], its_slope, eps * 2) << i << " of " << n;
#else
      ASSERT_EQ(y[i], one) << i << " of " << n;
      ASSERT_EQ(dy[i], its_slope) << i << " of " << n;
#endif
    }
  }
}

// The shapes of two operands of y [n0, n1, n2]: side by side, repeated along each axis, transposed.
struct Layout {
  const char* name;
  Int step[3], reach;
};
std::vector<Layout> layouts(Int n0, Int n1, Int n2) {
  return {{"dense", {n1 * n2, n2, 1}, n0 * n1 * n2},
          {"one number", {0, 0, 0}, 1},
          {"columns", {n1, 1, 0}, n0 * n1},
          {"rows", {0, 0, 1}, n2},
          {"repeated inside", {n2, 0, 1}, n0 * n2},
          {"transposed", {1, n0, n0 * n1}, n0 * n1 * n2},
          {"every second", {2 * n1 * n2, 2 * n2, 2}, 2 * n0 * n1 * n2}};
}

TYPED_TEST(Numeric, BinaryOperationsOfAllLayoutsAreThoseOfEachElement) {
  using T = TypeParam;
  const Int n0 = 2, n1 = 3;
  using Real = decltype(std::abs(T{}));
  const Real eps = 4 * std::numeric_limits<Real>::epsilon();
  for (const Int n2 : {1, 2, 7, 16, 17, 64, 70}) {
    for (const Layout& la : layouts(n0, n1, n2))
      for (const Layout& lb : layouts(n0, n1, n2)) {
        const auto a = numbers<T>(la.reach, 2, 0.1), b = numbers<T>(lb.reach, 1, 1.5);
        const DeviceArray<T> da(a), db(b), y(n0 * n1 * n2);
        Strided<3> s;
        s.append(n0, {n1 * n2, la.step[0], lb.step[0]});
        s.append(n1, {n2, la.step[1], lb.step[1]});
        s.append(n2, {1, la.step[2], lb.step[2]});
        for (const Binary f : {Binary::add, Binary::subtract, Binary::multiply, Binary::divide}) {
          binary<T>(f, s, da.ptr(), db.ptr(), y.ptr());
          const auto got = y.host();
          for (Int i = 0; i < n0 * n1 * n2; ++i) {
            const Int i0 = i / (n1 * n2), i1 = i / n2 % n1, i2 = i % n2;
            const T u = a[at(i0 * la.step[0] + i1 * la.step[1] + i2 * la.step[2])];
            const T v = b[at(i0 * lb.step[0] + i1 * lb.step[1] + i2 * lb.step[2])];
            const T want = f == Binary::add        ? u + v
                           : f == Binary::subtract ? u - v
                           : f == Binary::multiply ? u * v
                                                   : u / v;
            if constexpr (std::is_floating_point_v<T>)
              ASSERT_EQ(got[at(i)], want) << la.name << ", " << lb.name << ", rows of " << n2;
            else
              ASSERT_LE(std::abs(got[at(i)] - want), eps * (1 + std::abs(want)))
                  << la.name << ", " << lb.name << ", rows of " << n2;
          }
        }
      }
  }
}

TYPED_TEST(Numeric, AComplexProductHasTheSameBitsInAllLayouts) {
  using T = TypeParam;
  const Int n = 67;
  const auto a = numbers<T>(n, 2, 0.1);
  const DeviceArray<T> da(a), b(std::vector<T>{number<T>(5)}), repeated(std::vector<T>(at(n), number<T>(5)));
  const DeviceArray<T> flat(n), rows(n), columns(n);
  Strided<3> right, left;
  right.append(n, {1, 1, 0});
  left.append(n, {1, 0, 1});
  binary<T>(Binary::multiply, Strided<3>::flat(n), da.ptr(), repeated.ptr(), flat.ptr());
  binary<T>(Binary::multiply, right, da.ptr(), b.ptr(), rows.ptr());
  binary<T>(Binary::multiply, left, repeated.ptr(), da.ptr(), columns.ptr());
  EXPECT_EQ(flat.host(), rows.host());
  const auto f = flat.host(), c = columns.host();
  for (Int i = 0; i < n; ++i) {
    // The other way round the parts of the imaginary part change places: one rounding apart at most.
    using Real = decltype(std::abs(T{}));
    ASSERT_LE(std::abs(f[at(i)] - c[at(i)]), 4 * std::numeric_limits<Real>::epsilon());
  }
}

TYPED_TEST(Floats, UnaryFunctionsOfAnElementDoNotDependOnWhereItStands) {
  using T = TypeParam;
  struct Case {
    Unary f;
    Numbers numbers;
    std::function<long double(long double)> reference;
  };
  const auto truth = [](bool b) { return b ? 1.0L : 0.0L; };
  const std::vector<Case> cases{
      {Unary::exp, {}, [](long double x) { return std::exp(x); }},
      {Unary::log, {}, [](long double x) { return std::log(x); }},
      {Unary::sqrt, {}, [](long double x) { return std::sqrt(x); }},
      {Unary::tanh, {}, [](long double x) { return std::tanh(x); }},
      {Unary::gelu,
       {},
       [](long double x) { return x / (1 + std::exp(-1.5957691216057308L * (x + 0.044715L * x * x * x))); }},
      {Unary::abs, {}, [](long double x) { return std::abs(x); }},
      {Unary::sign, {}, [](long double x) { return x > 0   ? 1.0L
                                                   : x < 0 ? -1.0L
                                                           : 0.0L; }},
      {Unary::power, {1.5}, [](long double x) { return std::pow(x, 1.5L); }},
      {Unary::at_least, {0.75}, [](long double x) { return std::max(x, 0.75L); }},
      {Unary::at_most, {0.75}, [](long double x) { return std::min(x, 0.75L); }},
      {Unary::clamp, {0.5, 0.75}, [](long double x) { return std::clamp(x, 0.5L, 0.75L); }},
      {Unary::above, {0.75}, [&](long double x) { return truth(x > 0.75L); }},
      {Unary::below, {0.75}, [&](long double x) { return truth(x < 0.75L); }},
      {Unary::not_below, {0.75}, [&](long double x) { return truth(x >= 0.75L); }},
      {Unary::inside, {0.5, 0.75}, [&](long double x) { return truth(x >= 0.5L && x <= 0.75L); }},
  };
  for (const Case& c : cases)
    for (const Int n : {1, 15, 16, 17, 64, 100}) {
      // Positive numbers, two steps apart.
      auto x = numbers<T>(2 * n, 0.9, 1);
      x[0] = static_cast<T>(0.75);
      std::vector<T> packed(at(n));
      for (Int i = 0; i < n; ++i) packed[at(i)] = x[at(2 * i)];
      const DeviceArray<T> wide(x), dense(packed), y(n), z(n);
      unary<T>(c.f, Strided<2>::flat(n), dense.ptr(), y.ptr(), c.numbers);
      Strided<2> s;
      s.append(n, {1, 2});
      unary<T>(c.f, s, wide.ptr(), z.ptr(), c.numbers);
      const auto got = y.host(), strided = z.host();
      EXPECT_EQ(got, strided) << "function " << static_cast<int>(c.f) << ", " << n;
      for (Int i = 0; i < n; ++i) {
        const auto want = static_cast<double>(c.reference(static_cast<long double>(packed[at(i)])));
        ASSERT_NEAR(got[at(i)], want, 4 * std::numeric_limits<T>::epsilon() * (1 + std::abs(want)))
            << "function " << static_cast<int>(c.f) << " of " << packed[at(i)];
      }
    }
}

TYPED_TEST(Floats, QuantisesAndScales) {
  using T = TypeParam;
  const Int n = 37;
  const auto x = numbers<T>(n, 3);
  const DeviceArray<T> in(x), y(n), z(n);
  quantise<T>(Strided<2>::flat(n), 0.25, -5, 4, in.ptr(), y.ptr());
  scale<T>(Strided<2>::flat(n), -1.7, in.ptr(), z.ptr());
  const auto got = y.host(), scaled = z.host();
  for (Int i = 0; i < n; ++i) {
    const T steps = std::clamp(std::nearbyint(x[at(i)] / static_cast<T>(0.25)), T(-5), T(4));
    EXPECT_EQ(got[at(i)], static_cast<T>(0.25) * steps);
    EXPECT_EQ(scaled[at(i)], static_cast<T>(-1.7) * x[at(i)]);
  }
}

TYPED_TEST(Floats, ComplexNumbersAreMadeConjugatedAndRaised) {
  using T = TypeParam;
  using C = std::complex<T>;
  const Int n = 19;
  const auto re = numbers<T>(n), im = numbers<T>(n, 2, 0.3);
  const DeviceArray<T> a(re), b(im);
  const DeviceArray<C> z(n), w(n), e(n);
  make_complex<T>(Strided<3>::flat(n), a.ptr(), b.ptr(), z.ptr());
  conjugate<T>(Strided<2>::flat(n), z.ptr(), w.ptr());
  complex_exp<T>(Strided<2>::flat(n), z.ptr(), e.ptr());
  const auto made = z.host(), mirrored = w.host(), raised = e.host();
  for (Int i = 0; i < n; ++i) {
    EXPECT_EQ(made[at(i)], C(re[at(i)], im[at(i)]));
    EXPECT_EQ(mirrored[at(i)], C(re[at(i)], -im[at(i)]));
    EXPECT_LE(std::abs(raised[at(i)] - std::exp(made[at(i)])),
              8 * std::numeric_limits<T>::epsilon() * std::abs(raised[at(i)]));
  }
}

// f of a value of each type that has no complex numbers.
template <class F>
void for_real_types(const F& f) {
  f(DType::f32, float{});
  f(DType::f64, double{});
  f(DType::i32, std::int32_t{});
  f(DType::i64, std::int64_t{});
  f(DType::i8, std::int8_t{});
  f(DType::u8, std::uint8_t{});
  f(DType::boolean, char{});
}
template <class To, class From>
To converted(From x, DType to) {
  return to == DType::boolean ? static_cast<To>(static_cast<bool>(x)) : static_cast<To>(x);
}

TEST(Elementwise, CastsBetweenAllTypes) {
  const Int n = 700;
  for_real_types([&](DType from, auto of) {
    using From = decltype(of);
    std::vector<From> x(at(n));
    for (Int i = 0; i < n; ++i)
      x[at(i)] = from == DType::boolean ? static_cast<From>(i % 3 == 0) : static_cast<From>(i % 100 + 0.75);
    if (from == DType::i64) x[1] = static_cast<From>(9007199254740993);  // 2^53 + 1
    const DeviceArray<From> in(x);
    for_real_types([&](DType to, auto as) {
      using To = decltype(as);
      if (from == to) return;
      const Int count = sizeof(To) < 8 && from == DType::i64 && to != DType::f32 ? 1 : n;
      const DeviceArray<To> y(n);
      cast(count, from, in.ptr().template as<const std::byte>(), to, y.ptr().template as<std::byte>());
      const auto got = y.host();
      for (Int i = 0; i < count; ++i)
        ASSERT_EQ(got[at(i)], converted<To>(x[at(i)], to))
            << static_cast<int>(from) << " to " << static_cast<int>(to) << ", " << i;
    });
    const DeviceArray<std::complex<double>> z(n);
    cast(n, from, in.ptr().template as<const std::byte>(), DType::c128, z.ptr().template as<std::byte>());
    const auto got = z.host();
    for (Int i = 0; i < n; ++i) ASSERT_EQ(got[at(i)], std::complex<double>(static_cast<double>(x[at(i)])));
  });
  const auto c = numbers<std::complex<double>>(n);
  const DeviceArray<std::complex<double>> wide(c);
  const DeviceArray<std::complex<float>> narrow(n);
  cast(n, DType::c128, wide.ptr().as<const std::byte>(), DType::c64, narrow.ptr().as<std::byte>());
  const auto got = narrow.host();
  for (Int i = 0; i < n; ++i) ASSERT_EQ(got[at(i)], std::complex<float>(c[at(i)]));
}

template <class T>
class Words : public testing::Test {};
using WordTypes = testing::Types<std::uint8_t, std::uint32_t, std::uint64_t, std::complex<double>>;
TYPED_TEST_SUITE(Words, WordTypes);

template <class T>
std::vector<T> counting(Int n) {
  std::vector<T> out(at(n));
  for (Int i = 0; i < n; ++i) out[at(i)] = static_cast<T>(static_cast<double>(i % 251));
  return out;
}

TYPED_TEST(Words, AreCopiedFilledSelectedGatheredAndRepeated) {
  using T = TypeParam;
  const auto bytes = [](const DeviceArray<T>& x) { return x.ptr().template as<std::byte>(); };
  for (const Int n : {1, 5, 16, 67, 20000}) {
    const auto x = counting<T>(3 * n);
    const DeviceArray<T> in(x), y(3 * n), z(3 * n);
    // Transposed: y [n][3] of x [3][n].
    Strided<2> s;
    s.append(n, {3, 1});
    s.append(3, {1, n});
    copy(sizeof(T), s, bytes(in), bytes(y));
    copy(sizeof(T), Strided<2>::flat(3 * n), bytes(in), bytes(z));
    const auto got = y.host();
    EXPECT_EQ(z.host(), x);
    for (Int i = 0; i < 3 * n; ++i) ASSERT_EQ(got[at(i)], x[at(i % 3 * n + i / 3)]);
    for (const double v : {0.0, 7.0}) {
      const T filler = static_cast<T>(v);
      fill(sizeof(T), 3 * n, &filler, bytes(y));
      EXPECT_EQ(y.host(), std::vector<T>(at(3 * n), filler));
    }
    // Where the number is above 100: bools as bytes.
    std::vector<std::uint8_t> flags(at(n));
    for (Int i = 0; i < n; ++i) flags[at(i)] = i % 3 == 1;
    const DeviceArray<std::uint8_t> condition(flags);
    select(sizeof(T), Strided<4>::flat(n), condition.ptr().as<const bool>(), bytes(in),
           bytes(in) + n * Int(sizeof(T)), bytes(y));
    const auto chosen = y.host();
    for (Int i = 0; i < n; ++i) ASSERT_EQ(chosen[at(i)], x[at(flags[at(i)] ? i : n + i)]);
  }
  const std::vector<Int> index{2, 0, 1, 2, 2}, offsets{0, 2, 2, 5};
  const DeviceArray<Int> rows(index), ends(offsets);
  for (const Int inner : {1, 4})
    for (const Int outer : {1, 3}) {
      const auto x = counting<T>(outer * 3 * inner);
      const DeviceArray<T> in(x), y(outer * 5 * inner), z(outer * 5 * inner);
      gather_rows(sizeof(T), outer, 3, 5, inner, rows.ptr(), bytes(in), bytes(y));
      repeat_segments(sizeof(T), outer, 5, inner, 3, ends.ptr(), bytes(in), bytes(z));
      const auto got = y.host(), repeated = z.host();
      const std::vector<Int> segment{0, 0, 2, 2, 2};
      for (Int o = 0; o < outer; ++o)
        for (Int r = 0; r < 5; ++r)
          for (Int i = 0; i < inner; ++i) {
            const Int to = (o * 5 + r) * inner + i;
            ASSERT_EQ(got[at(to)], x[at((o * 3 + index[at(r)]) * inner + i)]);
            ASSERT_EQ(repeated[at(to)], x[at((o * 3 + segment[at(r)]) * inner + i)]);
          }
    }
}

TEST(Indexing, FindsTheFirstIndexOutside) {
  for (const Int n : {0, 1, 100, 20000}) {
    std::vector<Int> index(at(n));
    for (Int i = 0; i < n; ++i) index[at(i)] = i % 7;
    const DeviceArray<Int> first(1), work(first_outside_workspace(n));
    const auto look = [&] {
      const DeviceArray<Int> in(index);
      first_outside(n, 7, in.ptr(), first.ptr(), work.ptr());
      return first.host()[0];
    };
    EXPECT_EQ(look(), 0);
    if (n < 100) continue;
    index[at(n - 1)] = 7;
    EXPECT_EQ(look(), n);
    index[77] = -1;
    EXPECT_EQ(look(), 78);
  }
}

TYPED_TEST(Numeric, RowsAreAddedToTheirTargetsInOrder) {
  using T = TypeParam;
  for (const Int n : {0, 1, 31, 32, 33, 100, 1000})
    for (const Int targets : {1, 7, 40}) {
      std::vector<Int> index(at(n));
      for (Int i = 0; i < n; ++i) index[at(i)] = (i * 7919 + i / 5) % (targets + 1) - (i % 11 == 0 ? 1 : 0);
      const DeviceArray<Int> in(index), order(n), begin(targets + 1), work(n);
      inverse_index(n, targets, in.ptr(), order.ptr(), begin.ptr(), work.ptr());
      const auto begins = begin.host(), orders = order.host();
      for (Int t = 0; t < targets; ++t) {
        std::vector<Int> want;
        for (Int i = 0; i < n; ++i)
          if (index[at(i)] == t) want.push_back(i);
        const std::vector<Int> got(orders.begin() + begins[at(t)], orders.begin() + begins[at(t + 1)]);
        ASSERT_EQ(got, want) << "target " << t << " of " << targets << ", " << n << " rows";
      }
      for (const Int inner : {1, 3}) {
        const Int outer = 6;  // the host takes four at a time
        const auto x = numbers<T>(outer * n * inner);
        const DeviceArray<T> from(x), y(outer * targets * inner);
        sum_by_target<T>(outer, n, targets, inner, order.ptr(), begin.ptr(), from.ptr(), y.ptr());
        std::vector<T> want(at(outer * targets * inner), T(0));
        for (Int o = 0; o < outer; ++o)
          for (Int i = 0; i < n; ++i)
            for (Int j = 0; j < inner && index[at(i)] >= 0 && index[at(i)] < targets; ++j)
              want[at((o * targets + index[at(i)]) * inner + j)] += x[at((o * n + i) * inner + j)];
        ASSERT_EQ(y.host(), want);
      }
    }
}

// The sum's definition: `leaf` in order, halves at the largest power of two times the leaf.
template <class T>
T tree(const std::function<T(Int)>& x, Int lo, Int hi, Int leaf) {
  if (lo == hi) return T(0);
  if (hi - lo <= leaf) {
    T sum = x(lo);
    for (Int k = lo + 1; k < hi; ++k) sum = sum + x(k);
    return sum;
  }
  Int half = leaf;
  while (2 * half < hi - lo) half *= 2;
  return tree(x, lo, lo + half, leaf) + tree(x, lo + half, hi, leaf);
}

TYPED_TEST(Numeric, SumsHaveTheBitsOfTheirTrees) {
  using T = TypeParam;
  for (const Int n : {0, 1, 15, 16, 17, 255, 256, 257, 511, 1000, 16384, 16385, 33000}) {
    const Int rows = n > 1000 ? 2 : 5;
    const auto x = numbers<T>(rows * n);
    const DeviceArray<T> in(x), y(rows), work(sum_rows_workspace(rows, n));
    sum_rows<T>(rows, n, in.ptr(), y.ptr(), work.ptr());
    const auto got = y.host();
    for (Int r = 0; r < rows; ++r) ASSERT_EQ(got[at(r)], tree_sum(n, x.data() + r * n)) << n;
  }
  for (const Int n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 29, 100})
    for (const Int inner : {1, 3, 1030}) {
      const Int outer = 2;
      const auto x = numbers<T>(outer * n * inner);
      const DeviceArray<T> in(x), y(outer * inner);
      sum_columns<T>(outer, n, inner, in.ptr(), y.ptr());
      const auto got = y.host();
      for (Int i = 0; i < outer * inner; ++i) {
        const std::function<T(Int)> load = [&](Int k) {
          return x[at((i / inner * n + k) * inner + i % inner)];
        };
        ASSERT_EQ(got[at(i)], tree<T>(load, 0, n, 4)) << n << " x " << inner;
      }
    }
  if constexpr (std::is_floating_point_v<T>) {
    for (const Int count : {1, 2, 3, 5, 8, 13}) {
      std::vector<DeviceArray<T>> memory;
      std::vector<Part<T>> parts;
      std::vector<std::vector<T>> values;
      Int all = 0;
      for (Int p = 0; p < 40; ++p) {
        const Int width = p == 3 ? 2100 : p == 5 ? 0 : p % 4 + 1;
        values.push_back(numbers<T>(count * width, 1, 0.1 * static_cast<double>(p)));
        memory.emplace_back(values.back());
        parts.push_back({memory.back().ptr(), width});
        all += width;
      }
      const DeviceArray<T> total(all);
      for (const Int begin : {Int(0), count / 2}) {
        sum_parts<T>(parts, begin, count, total.ptr());
        const auto got = total.host();
        Int to = 0;
        for (std::size_t p = 0; p < parts.size(); ++p)
          for (Int i = 0; i < parts[p].width; ++i, ++to) {
            const std::function<T(Int)> load = [&](Int k) { return values[p][at(k * parts[p].width + i)]; };
            ASSERT_EQ(got[at(to)], tree<T>(load, begin, count, 1)) << "part " << p << ", " << count;
          }
      }
    }
  }
}

TYPED_TEST(Floats, ExtremesAreTheFirstOfEqualOnes) {
  using T = TypeParam;
  for (const Int n : {1, 4, 33})
    for (const Int inner : {1, 5}) {
      const Int outer = 3;
      std::vector<T> x(at(outer * n * inner));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>((i * 31) % 5);
      const DeviceArray<T> in(x), y(outer * inner), mark(outer * n * inner);
      const DeviceArray<Int> index(outer * inner);
      for (const bool largest : {true, false}) {
        first_extreme<T>(outer, n, inner, largest, in.ptr(), index.ptr());
        at_index<T>(outer, n, inner, index.ptr(), in.ptr(), y.ptr());
        mark_index<T>(outer, n, inner, index.ptr(), mark.ptr());
        const auto got = index.host();
        const auto value = y.host(), marks = mark.host();
        for (Int i = 0; i < outer * inner; ++i) {
          Int best = 0;
          const auto of = [&](Int k) { return at((i / inner * n + k) * inner + i % inner); };
          for (Int k = 1; k < n; ++k)
            if (largest ? x[of(k)] > x[of(best)] : x[of(k)] < x[of(best)]) best = k;
          ASSERT_EQ(got[at(i)], best);
          ASSERT_EQ(value[at(i)], x[of(best)]);
          for (Int k = 0; k < n; ++k) ASSERT_EQ(marks[of(k)], k == best ? T(1) : T(0));
        }
      }
    }
}

TYPED_TEST(Floats, CountsWhatIsNotFinite) {
  using T = TypeParam;
  for (const Int n : {0, 1, 300, 20000}) {
    auto x = numbers<T>(2 * n);
    const auto look = [&](int parts) {
      const DeviceArray<T> in(x);
      const DeviceArray<NotFiniteFlag> flag(1), work(count_not_finite_workspace(2 * n));
      count_not_finite<T>(2 * n / parts, parts, in.ptr(), flag.ptr(), work.ptr());
      return flag.host()[0];
    };
    EXPECT_EQ(look(1).count, 0);
    if (n < 300) continue;
    x[at(n)] = std::numeric_limits<T>::infinity();
    x[at(n + 1)] = std::numeric_limits<T>::quiet_NaN();
    x[7] = -std::numeric_limits<T>::infinity();
    EXPECT_EQ(look(1).count, 3);
    EXPECT_EQ(look(1).first, 7);
    EXPECT_EQ(look(2).count, 2);
    EXPECT_EQ(look(2).first, 3);
  }
}

TYPED_TEST(Numeric, RecurrencesRunBothWays) {
  using T = TypeParam;
  using Real = decltype(std::abs(T{}));
  const Real eps = 64 * std::numeric_limits<Real>::epsilon();
  for (const Int n : {1, 2, 9})
    for (const Int inner : {1, 3, 70, 1100})
      for (const bool reverse : {false, true}) {
        const Int outer = inner == 1 ? 150 : 3, all = outer * n * inner;
        const auto a = numbers<T>(all, 0.7), b = numbers<T>(all, 1, 0.2);
        const DeviceArray<T> da(a), db(b), sums(all), h(all);
        cumulative_sum<T>(outer, n, inner, reverse, db.ptr(), sums.ptr());
        diagonal_scan<T>(outer, n, inner, reverse, da.ptr(), db.ptr(), h.ptr());
        const auto got = sums.host(), scanned = h.host();
        for (Int i = 0; i < outer * inner; ++i) {
          T sum = 0, state = 0;
          for (Int k = 0; k < n; ++k) {
            const std::size_t j = at((i / inner * n + (reverse ? n - 1 - k : k)) * inner + i % inner);
            sum = k == 0 ? b[j] : b[j] + sum;
            state = a[j] * state + b[j];
            ASSERT_EQ(got[j], sum);
            ASSERT_LE(std::abs(scanned[j] - state), eps);
            state = scanned[j];
          }
        }
      }
}

TYPED_TEST(Numeric, SegmentsAreSummed) {
  using T = TypeParam;
  const std::vector<Int> offsets{0, 3, 3, 4, 9};
  const DeviceArray<Int> ends(offsets);
  for (const Int inner : {1, 6}) {
    const Int outer = 2, n = 9, segments = 4;
    const auto x = numbers<T>(outer * n * inner);
    const DeviceArray<T> in(x), y(outer * segments * inner);
    segment_sum<T>(outer, n, inner, segments, ends.ptr(), in.ptr(), y.ptr());
    const auto got = y.host();
    for (Int o = 0; o < outer; ++o)
      for (Int s = 0; s < segments; ++s)
        for (Int i = 0; i < inner; ++i) {
          T sum = 0;
          for (Int k = offsets[at(s)]; k < offsets[at(s + 1)]; ++k) sum += x[at((o * n + k) * inner + i)];
          ASSERT_EQ(got[at((o * segments + s) * inner + i)], sum);
        }
  }
}

TYPED_TEST(Floats, SegmentsHaveALargestAndASoftmax) {
  using T = TypeParam;
  const std::vector<Int> offsets{0, 3, 3, 4, 9};
  const DeviceArray<Int> ends(offsets);
  for (const Int inner : {1, 6}) {
    const Int outer = 2, n = 9, segments = 4;
    std::vector<T> x(at(outer * n * inner));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>((i * 31) % 4);
    const DeviceArray<T> in(x), top(outer * segments * inner), first(outer * n * inner), p(outer * n * inner);
    segment_max<T>(outer, n, inner, segments, ends.ptr(), in.ptr(), top.ptr(), first.ptr());
    segment_softmax<T>(outer, n, inner, segments, ends.ptr(), in.ptr(), p.ptr());
    const auto tops = top.host(), marks = first.host(), parts = p.host();
    for (Int o = 0; o < outer; ++o)
      for (Int s = 0; s < segments; ++s)
        for (Int i = 0; i < inner; ++i) {
          const auto of = [&](Int k) { return at((o * n + k) * inner + i); };
          Int best = -1;
          double total = 0;
          for (Int k = offsets[at(s)]; k < offsets[at(s + 1)]; ++k) {
            if (best < 0 || x[of(k)] > x[of(best)]) best = k;
            total += std::exp(static_cast<double>(x[of(k)]));
          }
          ASSERT_EQ(tops[at((o * segments + s) * inner + i)],
                    best < 0 ? -std::numeric_limits<T>::infinity() : x[of(best)]);
          for (Int k = offsets[at(s)]; k < offsets[at(s + 1)]; ++k) {
            ASSERT_EQ(marks[of(k)], k == best ? T(1) : T(0));
            ASSERT_NEAR(parts[of(k)], std::exp(static_cast<double>(x[of(k)])) / total,
                        8 * std::numeric_limits<T>::epsilon());
          }
        }
  }
}

}  // namespace
}  // namespace rankine::kernels
