// Batched products and the Fourier network's kernels: the tuned loops of the host against an element at a
// time and against plain loops. Compiled a second time with RANKINE_EMULATE_DEVICE, where the bodies are
// those of a device.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#ifdef RANKINE_EMULATE_DEVICE
#include "kernels/dft.cpp"
#include "kernels/elementwise.cpp"
#include "kernels/fourier.cpp"
#include "kernels/product.cpp"
#include "tests/support/needed_barriers.hpp"
#else
#include "kernels/fourier.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/product.hpp"
#endif
#include "tests/support/device_array.hpp"

namespace rankine::kernels {
namespace {

using test::DeviceArray;

template <class T>
T number(std::mt19937& rng) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(uniform(rng));
  else
    return T(static_cast<typename T::value_type>(uniform(rng)),
             static_cast<typename T::value_type>(uniform(rng)));
}
template <class T>
std::vector<T> numbers(std::int64_t count, std::mt19937& rng) {
  std::vector<T> out(static_cast<std::size_t>(count));
  for (T& value : out) value = number<T>(rng);
  return out;
}

template <class T>
T chain(T a, T b, T c) {
  return multiply_add(a, b, c);
}
template <class R>
std::complex<R> chain(std::complex<R> a, std::complex<R> b, std::complex<R> c) {
  const R re = multiply_add(a.imag(), -b.imag(), multiply_add(a.real(), b.real(), c.real()));
  return {re, multiply_add(a.imag(), b.real(), multiply_add(a.real(), b.imag(), c.imag()))};
}

/// A product with its operands, and what plain loops make of it. Rows are longer than they need be, matrices
/// lie apart, and some are shared by several u.
template <class T>
struct Case {
  Product p;
  T alpha, beta;
  std::vector<T> a, b, c, expected;

  Case(blas::Op op_a, blas::Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T scale, T keep)
      : alpha(scale), beta(keep) {
    std::mt19937 rng(static_cast<unsigned>(m + 7 * n + 31 * k));
    const bool plain_a = op_a == blas::Op::none, plain_b = op_b == blas::Op::none;
    p = {.op_a = op_a,
         .op_b = op_b,
         .m = m,
         .n = n,
         .k = k,
         .lda = (plain_a ? k : m) + 3,
         .ldb = (plain_b ? n : k) + 1,
         .ldc = n + 2,
         .batch = {2, 3, 2}};
    const std::int64_t of_a = (plain_a ? m : k) * p.lda + 1, of_b = (plain_b ? k : n) * p.ldb + 2,
                       of_c = m * p.ldc + 3;
    const std::int64_t a_step[3] = {of_a, 0, 0}, b_step[3] = {of_b, 2 * of_b, 0},
                       c_step[3] = {of_c, 2 * of_c, 6 * of_c};
    for (int axis = 0; axis < 3; ++axis) {
      p.a_step[axis] = a_step[axis];
      p.b_step[axis] = b_step[axis];
      p.c_step[axis] = c_step[axis];
    }
    a = numbers<T>(2 * of_a, rng);
    b = numbers<T>(6 * of_b, rng);
    c = numbers<T>(12 * of_c, rng);
    if (beta == T(0))  // what is not read may be anything
      each([this](std::int64_t, std::int64_t at) {
        c[static_cast<std::size_t>(at)] = std::numeric_limits<double>::quiet_NaN();
      });
    expected = c;
  }
  /// f(u, place in c) for the elements of all C.
  template <class F>
  void each(const F& f) const {
    for (std::int64_t u = 0; u < p.units(); ++u)
      for (std::int64_t i = 0; i < p.m; ++i)
        for (std::int64_t j = 0; j < p.n; ++j) f(u, start(p.c_step, u) + i * p.ldc + j);
  }
  std::int64_t start(const std::int64_t (&step)[3], std::int64_t u) const {
    const std::int64_t i2 = u % p.batch[2], i1 = u / p.batch[2] % p.batch[1],
                       i0 = u / p.batch[2] / p.batch[1];
    return i0 * step[0] + i1 * step[1] + i2 * step[2];
  }
  T sum(std::int64_t u, std::int64_t i, std::int64_t j) const {
    T total = 0;
    for (std::int64_t q = 0; q < p.k; ++q) {
      const std::int64_t ia = p.op_a == blas::Op::none ? i * p.lda + q : q * p.lda + i,
                         ib = p.op_b == blas::Op::none ? q * p.ldb + j : j * p.ldb + q;
      total = chain(a[static_cast<std::size_t>(start(p.a_step, u) + ia)],
                    b[static_cast<std::size_t>(start(p.b_step, u) + ib)], total);
    }
    return total;
  }
  /// C as one chain for each element, `added(u, i, j)` being what alpha times the sum is added to.
  void expect(const std::function<T(std::int64_t, std::int64_t, std::int64_t, T)>& finish) {
    each([&](std::int64_t u, std::int64_t at) {
      const std::int64_t in = at - start(p.c_step, u), i = in / p.ldc, j = in % p.ldc;
      T& to = expected[static_cast<std::size_t>(at)];
      to = finish(u, i, j, sum(u, i, j));
    });
  }
};

template <class T>
void expect_near(const std::vector<T>& got, const std::vector<T>& want, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (tolerance == 0) {
      ASSERT_EQ(got[i], want[i]) << what << " at " << i;
    } else {
      ASSERT_LE(static_cast<double>(std::abs(got[i] - want[i])), tolerance) << what << " at " << i;
    }
  }
}

const std::vector<std::array<std::int64_t, 3>>& shapes() {
  static const std::vector<std::array<std::int64_t, 3>> all{{1, 1, 1},     {5, 3, 2},     {17, 16, 40},
                                                            {24, 150, 24}, {24, 24, 150}, {65, 70, 33},
                                                            {33, 32, 16},  {3, 8, 0},     {130, 64, 17}};
  return all;
}

template <class T>
class Products : public testing::Test {};
using ProductTypes = testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(Products, ProductTypes);

TYPED_TEST(Products, AreOneChainForEachElement) {
  using T = TypeParam;
  using R = decltype(std::abs(T{}));
  for (const auto& [m, n, k] : shapes())
    for (const auto op_a : {blas::Op::none, blas::Op::transpose})
      for (const auto op_b : {blas::Op::none, blas::Op::transpose})
        for (const auto& [alpha, beta] : {std::pair<T, T>{1, 0}, {T(R(-0.5)), T(2)}}) {
          Case<T> c(op_a, op_b, m, n, k, alpha, beta);
          c.expect([&](std::int64_t u, std::int64_t i, std::int64_t j, T sum) -> T {
            const T before = c.c[static_cast<std::size_t>(c.start(c.p.c_step, u) + i * c.p.ldc + j)];
            return beta == T(0) ? alpha * sum : chain(beta, before, alpha * sum);
          });
          const DeviceArray<T> a(c.a), b(c.b), tuned(c.c), portable(c.c);
          product<T>(c.p, alpha, a.ptr(), b.ptr(), beta, tuned.ptr());
          product_portable<T>(c.p, alpha, a.ptr(), b.ptr(), beta, portable.ptr());
          const std::string what = std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
          expect_near(portable.host(), c.expected, 0, what + ", element by element");
          expect_near(tuned.host(), c.expected, 0, what);
        }
}

template <class T>
class Reals : public testing::Test {};
using RealTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Reals, RealTypes);

TYPED_TEST(Reals, ABiasIsAddedToRowsOrColumns) {
  using T = TypeParam;
  for (const auto& [m, n, k] : shapes())
    for (const auto to : {Bias<T>::To::rows, Bias<T>::To::columns}) {
      Case<T> c(blas::Op::none, blas::Op::none, m, n, k, 1, 0);
      std::mt19937 rng(3);
      const std::int64_t length = to == Bias<T>::To::rows ? n : m;
      const std::vector<T> values = numbers<T>(3 * length, rng);
      c.expect([&](std::int64_t u, std::int64_t i, std::int64_t j, T sum) -> T {
        const std::int64_t i1 = u / c.p.batch[2] % c.p.batch[1];
        return values[static_cast<std::size_t>(i1 * length + (to == Bias<T>::To::rows ? j : i))] + sum;
      });
      const DeviceArray<T> a(c.a), b(c.b), tuned(c.c), portable(c.c), bias(values);
      const Bias<T> operand{bias.ptr(), to, {0, length, 0}};
      product<T>(c.p, a.ptr(), b.ptr(), operand, tuned.ptr());
      product_portable<T>(c.p, a.ptr(), b.ptr(), operand, portable.ptr());
      const std::string what = std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
      expect_near(portable.host(), c.expected, 0, what + ", element by element");
      expect_near(tuned.host(), c.expected, std::numeric_limits<T>::epsilon() * static_cast<double>(k + 4),
                  what);
    }
}

// With several threads the rows or columns of a lone product are divided, and nobody notices.
TYPED_TEST(Reals, AProductDoesNotKnowHowManyThereAre) {
  using T = TypeParam;
  const std::vector<std::pair<std::int64_t, std::int64_t>> sizes{{24, 31}, {24, 100}, {24, 640}, {24, 643},
                                                                 {24, 24}, {100, 7},  {643, 31}, {640, 64}};
  for (const auto& [m, n] : sizes)
    for (const blas::Op op : {blas::Op::none, blas::Op::transpose}) {
      Case<T> many(op, op, m, n, 24, 1, 0);
      std::mt19937 rng(3);
      const DeviceArray<T> a(many.a), b(many.b), bias(numbers<T>(std::max(m, n), rng));
      // 0: none, 1: to rows, 2: to columns
      for (const int with_bias : {0, 1, 2}) {
        const DeviceArray<T> all(many.c), one(many.c);
        const auto run = [&](const Product& p, std::int64_t at_a, std::int64_t at_b, DevicePtr<T> c) {
          using To = typename Bias<T>::To;
          if (with_bias == 0)
            product<T>(p, T(1), a.ptr() + at_a, b.ptr() + at_b, T(0), c);
          else
            product<T>(p, a.ptr() + at_a, b.ptr() + at_b,
                       Bias<T>{bias.ptr(), with_bias == 1 ? To::rows : To::columns}, c);
        };
        run(many.p, 0, 0, all.ptr());
        for (std::int64_t u = 0; u < many.p.units(); ++u) {
          Product single = many.p;
          for (std::int64_t& extent : single.batch) extent = 1;
          run(single, many.start(many.p.a_step, u), many.start(many.p.b_step, u),
              one.ptr() + many.start(many.p.c_step, u));
        }
        expect_near(all.host(), one.host(), 0,
                    std::to_string(m) + " x " + std::to_string(n) + ", bias " + std::to_string(with_bias));
      }
    }
}

template <class T>
T by_pairs(const T* x, std::int64_t n, std::int64_t step) {
  if (n == 0) return 0;
  if (n == 1) return *x;
  std::int64_t half = 1;
  while (2 * half < n) half *= 2;
  return by_pairs(x, half, step) + by_pairs(x + half * step, n - half, step);
}

TYPED_TEST(Reals, PartsAreSummedByPairs) {
  using T = TypeParam;
  std::mt19937 rng(4);
  const std::int64_t outer = 3;
  for (const std::int64_t n : {0, 1, 2, 3, 5, 6, 7, 8, 13, 100}) {
    const std::vector<std::int64_t> counts{1, 64, 65, 200};
    std::vector<std::vector<T>> x;
    std::vector<DeviceArray<T>> parts, sums;
    for (const std::int64_t count : counts) {
      x.push_back(numbers<T>(outer * n * count, rng));
      parts.emplace_back(x.back());
      sums.emplace_back(outer * count);
    }
    sum_parts<T>("sums", outer, n,
                 {{parts[0].ptr(), sums[0].ptr(), counts[0]},
                  {parts[1].ptr(), sums[1].ptr(), counts[1]},
                  {parts[2].ptr(), sums[2].ptr(), counts[2]},
                  {parts[3].ptr(), sums[3].ptr(), counts[3]}});
    for (std::size_t array = 0; array < counts.size(); ++array) {
      const std::vector<T> got = sums[array].host();
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t j = 0; j < counts[array]; ++j)
          ASSERT_EQ(got[static_cast<std::size_t>(o * counts[array] + j)],
                    by_pairs(x[array].data() + o * n * counts[array] + j, n, counts[array]))
              << n << " parts of " << counts[array];
    }
  }
}

TYPED_TEST(Reals, ColumnsAreSummedFourRowsAtATime) {
  using T = TypeParam;
  std::mt19937 rng(5);
  for (const std::int64_t rows : {0, 1, 3, 4, 9, 64})
    for (const std::int64_t n : {1, 63, 64, 130}) {
      const std::vector<T> x = numbers<T>(2 * rows * n, rng);
      const DeviceArray<T> from(x), sums(2 * n);
      column_sums<T>("sums", 2, rows, n, from.ptr(), sums.ptr());
      const std::vector<T> got = sums.host();
      for (std::int64_t o = 0; o < 2; ++o)
        for (std::int64_t j = 0; j < n; ++j) {
          const auto at = [&](std::int64_t r) { return x[static_cast<std::size_t>((o * rows + r) * n + j)]; };
          T sum = 0;
          std::int64_t r = 0;
          for (; r + 4 <= rows; r += 4) sum = sum + ((at(r) + at(r + 1)) + (at(r + 2) + at(r + 3)));
          for (; r < rows; ++r) sum = sum + at(r);
          ASSERT_EQ(got[static_cast<std::size_t>(o * n + j)], sum) << rows << " x " << n;
        }
    }
}

TYPED_TEST(Reals, ModesAreMixedInOneChainForEachPart) {
  using T = TypeParam;
  std::mt19937 rng(6);
  for (const ModeMixing& shape : {ModeMixing{3, 2, 5, 7}, {1, 4, 4, 33}, {2, 0, 3, 4}, {0, 2, 3, 4}}) {
    const std::int64_t row = 2 * shape.modes;
    const std::vector<T> w = numbers<T>(shape.in * shape.out * row, rng),
                         x = numbers<T>(shape.batch * shape.in * row, rng),
                         dy = numbers<T>(shape.batch * shape.out * row, rng);
    const DeviceArray<T> dw(w), dx(x), ddy(dy);
    const auto at = [&](const std::vector<T>& v, std::int64_t r, std::int64_t k, bool conjugate) {
      const T im = v[static_cast<std::size_t>(r * row + shape.modes + k)];
      return std::complex<T>(v[static_cast<std::size_t>(r * row + k)], conjugate ? -im : im);
    };
    // result(r) = sum of `terms` products a x
    const auto check = [&](const DeviceArray<T>& tuned, const DeviceArray<T>& portable, std::int64_t results,
                           std::int64_t terms, const auto& a, const auto& b) {
      std::vector<T> expected(static_cast<std::size_t>(results * row));
      for (std::int64_t r = 0; r < results; ++r)
        for (std::int64_t k = 0; k < shape.modes; ++k) {
          std::complex<T> sum = 0;
          for (std::int64_t s = 0; s < terms; ++s) sum = chain(a(r, s, k), b(r, s, k), sum);
          expected[static_cast<std::size_t>(r * row + k)] = sum.real();
          expected[static_cast<std::size_t>(r * row + shape.modes + k)] = sum.imag();
        }
      expect_near(portable.host(), expected, 0, "a mode at a time");
      expect_near(tuned.host(), expected, 0, "tuned");
    };
    {
      const DeviceArray<T> tuned(shape.batch * shape.out * row), portable(shape.batch * shape.out * row);
      mix_modes<T>(shape, dw.ptr(), dx.ptr(), tuned.ptr());
      mix_modes_portable<T>(shape, dw.ptr(), dx.ptr(), portable.ptr());
      check(
          tuned, portable, shape.batch * shape.out, shape.in,
          [&](auto r, auto s, auto k) { return at(w, s * shape.out + r % shape.out, k, false); },
          [&](auto r, auto s, auto k) { return at(x, r / shape.out * shape.in + s, k, false); });
    }
    {
      const DeviceArray<T> tuned(shape.batch * shape.in * row), portable(shape.batch * shape.in * row);
      mix_modes_backward_input<T>(shape, dw.ptr(), ddy.ptr(), tuned.ptr());
      mix_modes_backward_input_portable<T>(shape, dw.ptr(), ddy.ptr(), portable.ptr());
      check(
          tuned, portable, shape.batch * shape.in, shape.out,
          [&](auto r, auto s, auto k) { return at(w, r % shape.in * shape.out + s, k, true); },
          [&](auto r, auto s, auto k) { return at(dy, r / shape.in * shape.out + s, k, false); });
    }
    {
      const DeviceArray<T> tuned(shape.in * shape.out * row), portable(shape.in * shape.out * row);
      mix_modes_backward_weight<T>(shape, dx.ptr(), ddy.ptr(), tuned.ptr());
      mix_modes_backward_weight_portable<T>(shape, dx.ptr(), ddy.ptr(), portable.ptr());
      check(
          tuned, portable, shape.in * shape.out, shape.batch,
          [&](auto r, auto s, auto k) { return at(x, s * shape.in + r / shape.out, k, true); },
          [&](auto r, auto s, auto k) { return at(dy, s * shape.out + r % shape.out, k, false); });
    }
  }
}

/// Waves of 2 tiles of a grid in device memory.
template <class T>
struct Waves {
  std::vector<T> values;
  DeviceArray<T> memory;
  TileWaves<T> waves;
  Waves(std::int64_t nt, std::int64_t nx, std::int64_t modes_t, std::int64_t modes_x)
      : Waves(PartialDft<T>({nt, 2 * nx}, {modes_t, modes_x}), nt, nx) {}
  Waves(const PartialDft<T>& dft, std::int64_t nt, std::int64_t nx)
      : values(dft.tables({{0, 0}, {0, nx}}, {nt, nx})),
        memory(values),
        waves(dft.tables_at(memory.ptr(), 2, {nt, nx})) {}
};

// Along t, then along x, each sum one chain.
TYPED_TEST(Reals, AnalysisIsTwoProductsForEachTileAndSample) {
  using T = TypeParam;
  std::mt19937 rng(10);
  const std::int64_t nt = 9, nx = 7, batch = 3, channels = 2, units = 2 * batch;
  const Waves<T> transform(nt, nx, 2, 3);
  const std::int64_t rows = transform.waves.rows(), columns = transform.waves.columns();
  const std::vector<T> u = numbers<T>(units * channels * nt * nx, rng);
  const DeviceArray<T> from(u), s(units * channels * rows * columns),
      work(transform_work(transform.waves, batch, channels));
  analyse<T>(transform.waves, batch, channels, from.ptr(), s.ptr(), work.ptr());
  const std::vector<T> got = s.host();
  const T* const along_t = transform.values.data();
  const T* const along_x = along_t + 2 * rows * nt;
  for (std::int64_t at = 0; at < units * channels; ++at) {
    const std::int64_t l = at / channels / batch;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t k = 0; k < columns; ++k) {
        T sum = 0;
        for (std::int64_t x = 0; x < nx; ++x) {
          T half = 0;
          for (std::int64_t t = 0; t < nt; ++t)
            half = chain(along_t[(l * rows + r) * nt + t],
                         u[static_cast<std::size_t>((at * nt + t) * nx + x)], half);
          sum = chain(half, along_x[(l * nx + x) * columns + k], sum);
        }
        ASSERT_EQ(got[static_cast<std::size_t>((at * rows + r) * columns + k)], sum) << at;
      }
  }
}

// One to four axes, in two tiles along the last: the modes by their definition, and the way back as the
// adjoint.
TYPED_TEST(Reals, ModesAreThoseOfTheDefinition) {
  using T = TypeParam;
  using PerAxis = typename PartialDft<T>::PerAxis;
  std::mt19937 rng(12);
  const std::int64_t batch = 2, channels = 3, each = batch * channels;
  for (const auto& [points, modes] : std::vector<std::pair<PerAxis, PerAxis>>{
           {{8}, {3}}, {{4, 6}, {2, 4}}, {{4, 3, 6}, {2, 1, 3}}, {{2, 4, 3, 4}, {1, 2, 1, 3}}}) {
    PerAxis tile = points, second(points.size());
    second.back() = tile.back() /= 2;
    const PartialDft<T> dft(points, modes);
    const DeviceArray<T> tables(dft.tables({PerAxis(points.size()), second}, tile));
    const TileWaves<T> waves = dft.tables_at(tables.ptr(), 2, tile);
    const std::int64_t n = waves.points(), nx = tile.back(), coefficients = waves.rows() * waves.columns();
    const std::vector<T> u = numbers<T>(2 * each * n, rng), y = numbers<T>(2 * each * waves.modes(), rng);
    const DeviceArray<T> from(u), of_tiles(2 * each * coefficients),
        work(transform_work(waves, batch, channels)), found(2 * each * waves.modes()), cotangent(y),
        back(each * coefficients), adjoint(2 * each * n);
    analyse<T>(waves, batch, channels, from.ptr(), of_tiles.ptr(), work.ptr());
    std::vector<T> sum = of_tiles.host();
    for (std::int64_t i = 0; i < each * coefficients; ++i)
      sum[static_cast<std::size_t>(i)] += sum[static_cast<std::size_t>(each * coefficients + i)];
    const DeviceArray<T> all(sum);
    to_modes<T>(waves, each, all.ptr(), found.ptr(), false);
    const std::vector<T> got = found.host();
    const double tolerance = 16 * std::numeric_limits<T>::epsilon() * static_cast<double>(2 * n);
    for (std::int64_t c = 0; c < each; ++c)
      for (std::int64_t mode = 0; mode < waves.modes(); ++mode) {
        std::complex<double> expected = 0;
        for (std::int64_t i = 0; i < 2 * n; ++i) {
          const std::int64_t l = i / n;
          double turns = 0;
          std::int64_t k = mode, at = i % n;
          for (std::size_t a = points.size(); a-- > 0;) {
            const bool last = a + 1 == points.size();
            const std::int64_t kept = last ? modes[a] : 2 * modes[a], j = k % kept;
            const std::int64_t x = at % tile[a] + (last ? l * nx : 0);
            turns += static_cast<double>((last || j < modes[a] ? j : j - kept) * x) /
                     static_cast<double>(points[a]);
            k /= kept;
            at /= tile[a];
          }
          expected += static_cast<double>(u[static_cast<std::size_t>((l * each + c) * n + i % n)]) *
                      std::polar(1.0, -2 * std::acos(-1.0) * turns);
        }
        const auto re = static_cast<std::size_t>(2 * c * waves.modes() + mode);
        ASSERT_NEAR(got[re], expected.real(), tolerance) << points.size() << " axes, mode " << mode;
        ASSERT_NEAR(got[re + static_cast<std::size_t>(waves.modes())], expected.imag(), tolerance);
      }
    from_modes<T>(waves, each, cotangent.ptr(), back.ptr(), false);
    synthesise<T>(waves, batch, channels, back.ptr(), 0, T(0), adjoint.ptr(), work.ptr());
    double left = 0, right = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      left += static_cast<double>(got[i]) * static_cast<double>(y[i]);
    const std::vector<T> u_bar = adjoint.host();
    for (std::size_t i = 0; i < u.size(); ++i)
      right += static_cast<double>(u[i]) * static_cast<double>(u_bar[i]);
    EXPECT_NEAR(left, right, tolerance * static_cast<double>(y.size())) << points.size() << " axes";
  }
}

// All that the host does at once against one launch after the other.
TYPED_TEST(Reals, TheFusedForwardPassIsThatOfItsParts) {
  using T = TypeParam;
  std::mt19937 rng(9);
  for (const std::int64_t nx : {7, 40})
    for (const bool with_waves : {false, true}) {
      const std::int64_t nt = 9, batch = 3, in = 4, out = 5, units = 2 * batch, points = nt * nx;
      const Waves<T> transform(nt, nx, 2, 3);
      const std::int64_t coefficients = transform.waves.rows() * transform.waves.columns();
      const DeviceArray<T> x(numbers<T>(units * in * points, rng)), weight(numbers<T>(2 * out * in, rng)),
          bias(numbers<T>(out, rng)), waves(numbers<T>(batch * out * coefficients, rng));
      const DeviceArray<T> fused(units * out * points), parts(units * out * points);
      PointwiseForward<T> f{.shape = {2, batch, in, out, points},
                            .x = x.ptr(),
                            .weight = {weight.ptr(), out * in},
                            .bias = {bias.ptr(), 0},
                            .waves = with_waves ? waves.ptr() : DevicePtr<T>(),
                            .y = fused.ptr()};
      const DeviceArray<T> work(pointwise_forward_work(f, transform.waves)),
          portable_work(pointwise_forward_portable_work(f, transform.waves));
      pointwise_forward<T>(f, transform.waves, work.ptr());
      f.y = parts.ptr();
      pointwise_forward_portable<T>(f, transform.waves, portable_work.ptr());
      expect_near(fused.host(), parts.host(), 0, std::to_string(nx));
    }
}
TYPED_TEST(Reals, TheFusedBackwardPassIsThatOfItsParts) {
  using T = TypeParam;
  std::mt19937 rng(7);
  for (const std::int64_t nx : {7, 40})
    for (const bool activate : {false, true})
      for (const bool with_waves : {false, true}) {
        const std::int64_t nt = 9, batch = 3, in = 4, out = 5, units = 2 * batch, points = nt * nx;
        const Waves<T> transform(nt, nx, 2, 3);
        const std::int64_t coefficients = transform.waves.rows() * transform.waves.columns();
        const DeviceArray<T> z(numbers<T>(units * in * points, rng)),
            dy(numbers<T>(units * out * points, rng)), weight(numbers<T>(2 * out * in, rng)),
            waves(numbers<T>(batch * in * coefficients, rng));
        std::vector<std::vector<T>> got;
        for (const bool fused : {true, false}) {
          const DeviceArray<T> dz(units * in * points), weights(units * out * in), biases(units * out);
          const PointwiseBackward<T> b{.shape = {2, batch, in, out, points},
                                       .activate = activate,
                                       .z = z.ptr(),
                                       .dy = dy.ptr(),
                                       .weight = {weight.ptr(), out * in},
                                       .waves = with_waves ? waves.ptr() : DevicePtr<T>(),
                                       .dz = dz.ptr(),
                                       .weight_parts = weights.ptr(),
                                       .bias_parts = biases.ptr()};
          if (fused) {
            const DeviceArray<T> work(pointwise_backward_work(b, transform.waves));
            pointwise_backward<T>(b, transform.waves, work.ptr());
          } else {
            const DeviceArray<T> work(pointwise_backward_portable_work(b, transform.waves));
            pointwise_backward_portable<T>(b, transform.waves, work.ptr());
          }
          got.push_back(dz.host());
          got.push_back(weights.host());
          got.push_back(biases.host());
        }
        for (std::size_t i = 0; i < 3; ++i) expect_near(got[i], got[3 + i], 0, "result " + std::to_string(i));
      }
}

TYPED_TEST(Reals, TheFusedHeadIsThatOfItsParts) {
  using T = TypeParam;
  std::mt19937 rng(8);
  const std::int64_t batch = 2, in = 4, hidden = 9, out = 2, units = 2 * batch;
  for (const std::int64_t points : {5, 300, 700}) {
    const DeviceArray<T> z(numbers<T>(units * in * points, rng)), dy(numbers<T>(units * out * points, rng)),
        weight1(numbers<T>(hidden * in, rng)), bias1(numbers<T>(hidden, rng)),
        weight2(numbers<T>(2 * out * hidden, rng)), bias2(numbers<T>(2 * out, rng));
    const Head<T> head{2,
                       batch,
                       in,
                       hidden,
                       out,
                       points,
                       z.ptr(),
                       {weight1.ptr(), 0},
                       {bias1.ptr(), 0},
                       {weight2.ptr(), out * hidden},
                       {bias2.ptr(), out}};
    std::vector<std::vector<T>> got;
    for (const bool fused : {true, false}) {
      const DeviceArray<T> y(units * out * points), dz(units * in * points), weights1(units * hidden * in),
          biases1(units * hidden), weights2(units * out * hidden), biases2(units * out);
      const HeadBackward<T> b{head,          dy.ptr(),       dz.ptr(),     weights1.ptr(),
                              biases1.ptr(), weights2.ptr(), biases2.ptr()};
      const DeviceArray<T> work(
          fused ? std::max(head_forward_work(head), head_backward_work(b))
                : std::max(head_forward_portable_work(head), head_backward_portable_work(b)));
      if (fused) {
        head_forward<T>(head, y.ptr(), work.ptr());
        head_backward<T>(b, work.ptr());
      } else {
        head_forward_portable<T>(head, y.ptr(), work.ptr());
        head_backward_portable<T>(b, work.ptr());
      }
      for (const auto* x : {&y, &dz, &weights1, &biases1, &weights2, &biases2}) got.push_back(x->host());
    }
    // Sums over the points run in blocks here and through there.
    const double tolerance = 16 * std::numeric_limits<T>::epsilon() * static_cast<double>(points);
    for (std::size_t i = 0; i < 6; ++i)
      expect_near(got[i], got[6 + i], tolerance, "result " + std::to_string(i));
  }
}

#ifdef RANKINE_EMULATE_DEVICE
// Of the two barriers for each 16 of k, all but the very last keep threads from what others have not put down
// or still need.
TEST(Products, EachBarrierOfATileIsNeeded) {
  const std::int64_t m = 70, n = 65, k = 40;
  std::mt19937 rng(5);
  const DeviceArray<float> a(numbers<float>(m * k, rng)), b(numbers<float>(k * n, rng)),
      c(std::vector<float>(static_cast<std::size_t>(m * n)));
  const auto run = [&] {
    product(Product{.m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n}, 1.0F,
            DevicePtr<const float>(a.ptr()), DevicePtr<const float>(b.ptr()), 0.0F, c.ptr());
    return c.host();
  };
  EXPECT_EQ(test::needed_barriers(8, run), (std::vector<int>{0, 1, 2, 3, 4}));
}
#endif

}  // namespace
}  // namespace rankine::kernels
