#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/blas.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine {
namespace {

using blas::Op;
using kernels::multiply_add;

// C = alpha op(A) op(B) + beta C against plain loops in long double, with leading dimensions beyond the rows'
// lengths.
template <class T>
void check(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, T beta) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<T> uniform(-1, 1);
  const std::int64_t lda = (op_a == Op::none ? k : m) + 3, ldb = (op_b == Op::none ? n : k) + 1, ldc = n + 2;
  std::vector<T> a(static_cast<std::size_t>((op_a == Op::none ? m : k) * lda + 1));
  std::vector<T> b(static_cast<std::size_t>((op_b == Op::none ? k : n) * ldb + 1));
  std::vector<T> c(static_cast<std::size_t>(m * ldc + 1));
  for (auto* x : {&a, &b, &c})
    for (T& value : *x) value = uniform(rng);
  std::vector<T> found = c;
  if (beta == T(0))
    for (std::int64_t i = 0; i < m; ++i)  // what is not read may be anything
      for (std::int64_t j = 0; j < n; ++j)
        found[static_cast<std::size_t>(i * ldc + j)] = std::numeric_limits<T>::quiet_NaN();
  blas::gemm(op_a, op_b, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, found.data(), ldc);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < ldc; ++j) {
      const auto at = static_cast<std::size_t>(i * ldc + j);
      long double expected = c[at];
      if (j < n) {
        long double sum = 0;
        for (std::int64_t p = 0; p < k; ++p)
          sum += static_cast<long double>(
                     a[static_cast<std::size_t>(op_a == Op::none ? i * lda + p : p * lda + i)]) *
                 static_cast<long double>(
                     b[static_cast<std::size_t>(op_b == Op::none ? p * ldb + j : j * ldb + p)]);
        expected = alpha * sum + beta * expected;
      }
      ASSERT_NEAR(found[at], static_cast<double>(expected),
                  std::numeric_limits<T>::epsilon() * static_cast<double>(k + 4))
          << m << " x " << n << " x " << k << " at " << i << ", " << j;
    }
}

TEST(Gemm, MatchesLoopsForAllFlagsAndSizes) {
  for (const auto& [m, n, k] : {std::array<int, 3>{1, 1, 1},
                                {5, 3, 2},
                                {6, 16, 4},
                                {17, 16, 40},
                                {13, 37, 9},
                                {24, 200, 24},
                                {144, 130, 7},
                                {145, 20, 12},
                                {301, 70, 50},
                                {11, 37, 600},
                                {500, 16, 33},
                                {300, 70, 8},
                                {7, 9, 257},
                                {150, 140, 300},
                                {3, 8, 0}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        check<double>(op_a, op_b, m, n, k, 1.0, 0.0);
        check<double>(op_a, op_b, m, n, k, -0.5, 2.0);
        check<float>(op_a, op_b, m, n, k, 1.0f, 1.0f);
      }
}

// What blas.hpp writes down, as plain loops.
template <class T>
void chain(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
           std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (std::int64_t p = 0; p < k; ++p)
        sum = multiply_add(op_a == Op::none ? a[i * lda + p] : a[p * lda + i],
                           op_b == Op::none ? b[p * ldb + j] : b[j * ldb + p], sum);
      T& to = c[i * ldc + j];
      to = beta == T(0) ? alpha * sum : multiply_add(beta, to, alpha * sum);
    }
}
template <class T>
void chain(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<T> alpha,
           const std::complex<T>* a, std::int64_t lda, const std::complex<T>* b, std::int64_t ldb,
           std::complex<T> beta, std::complex<T>* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      T re = 0, im = 0;
      for (std::int64_t p = 0; p < k; ++p) {
        const std::complex<T> x = op_a == Op::none ? a[i * lda + p] : a[p * lda + i];
        const std::complex<T> y = op_b == Op::none ? b[p * ldb + j] : b[j * ldb + p];
        re = multiply_add(x.imag(), -y.imag(), multiply_add(x.real(), y.real(), re));
        im = multiply_add(x.imag(), y.real(), multiply_add(x.real(), y.imag(), im));
      }
      std::complex<T>& to = c[i * ldc + j];
      T out_re = multiply_add(-alpha.imag(), im, alpha.real() * re);
      T out_im = multiply_add(alpha.imag(), re, alpha.real() * im);
      if (beta != std::complex<T>(0)) {
        out_re = multiply_add(-beta.imag(), to.imag(), multiply_add(beta.real(), to.real(), out_re));
        out_im = multiply_add(beta.imag(), to.real(), multiply_add(beta.real(), to.imag(), out_im));
      }
      to = {out_re, out_im};
    }
}

template <class T>
T random_number(std::mt19937& rng) {
  return std::uniform_real_distribution<T>(-1, 1)(rng);
}
template <class T>
void fill(std::vector<T>& x, std::mt19937& rng) {
  for (T& value : x) value = random_number<T>(rng);
}
template <class T>
void fill(std::vector<std::complex<T>>& x, std::mt19937& rng) {
  for (auto& value : x) value = {random_number<T>(rng), random_number<T>(rng)};
}

// The matrices of one product, at distances beyond the rows' lengths.
template <class T>
struct Operands {
  Op op_a, op_b;
  std::int64_t m, n, k, lda, ldb, ldc;
  std::vector<T> a, b, c;
  Operands(Op a_op, Op b_op, std::int64_t rows, std::int64_t columns, std::int64_t depth)
      : op_a(a_op),
        op_b(b_op),
        m(rows),
        n(columns),
        k(depth),
        lda((a_op == Op::none ? depth : rows) + 3),
        ldb((b_op == Op::none ? columns : depth) + 1),
        ldc(columns + 2),
        a(static_cast<std::size_t>((a_op == Op::none ? rows : depth) * lda)),
        b(static_cast<std::size_t>((b_op == Op::none ? depth : columns) * ldb)),
        c(static_cast<std::size_t>(rows * ldc)) {
    std::mt19937 rng(static_cast<unsigned>(m + 100 * n + 10000 * k));
    fill(a, rng);
    fill(b, rng);
    fill(c, rng);
  }
  const T* a_at(std::int64_t i) const { return a.data() + (op_a == Op::none ? i * lda : i); }
  const T* b_at(std::int64_t j) const { return b.data() + (op_b == Op::none ? j : j * ldb); }
};

template <class T>
void expect_same_bits(const std::vector<T>& found, const std::vector<T>& expected, const std::string& where) {
  ASSERT_EQ(found.size(), expected.size());
  if (std::memcmp(found.data(), expected.data(), found.size() * sizeof(T)) == 0) return;
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], expected[i]) << where << ", element " << i;
  FAIL() << where << ": zeros of two signs";
}

template <class T>
void expect_chain(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, T beta) {
  const Operands<T> x(op_a, op_b, m, n, k);
  std::vector<T> found = x.c, expected = x.c;
  blas::gemm(op_a, op_b, m, n, k, alpha, x.a.data(), x.lda, x.b.data(), x.ldb, beta, found.data(), x.ldc);
  chain(op_a, op_b, m, n, k, alpha, x.a.data(), x.lda, x.b.data(), x.ldb, beta, expected.data(), x.ldc);
  expect_same_bits(found, expected,
                   std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + ", flags " +
                       std::to_string(static_cast<int>(op_a)) + std::to_string(static_cast<int>(op_b)));
}

constexpr Op kOps[] = {Op::none, Op::transpose};

TEST(Gemm, EachElementIsOneAscendingChain) {
  // All tails of tiles up to 12 rows and two vectors of 16 numbers, on both sides of the depth of a pass.
  for (const Op op_a : kOps)
    for (const Op op_b : kOps) {
      for (std::int64_t m = 1; m <= 26; ++m) expect_chain<float>(op_a, op_b, m, 33, 5, 1, 0);
      for (std::int64_t n = 1; n <= 70; ++n) {
        expect_chain<float>(op_a, op_b, 14, n, 6, 0.7f, 1.0f);
        expect_chain<double>(op_a, op_b, 14, n, 6, -0.3, 0.9);
      }
      for (const std::int64_t k : {1, 15, 16, 17, 31, 100, 255, 256, 257, 511, 513, 700}) {
        expect_chain<float>(op_a, op_b, 13, 35, k, 1.3f, 0.4f);
        expect_chain<double>(op_a, op_b, 13, 35, k, 1, 1);
      }
      for (const auto& [m, n, k] : {std::array<int, 3>{400, 2, 9},
                                    {400, 3, 300},
                                    {385, 20, 10},
                                    {390, 513, 260},
                                    {24, 640, 24},
                                    {150, 130, 40}}) {
        expect_chain<float>(op_a, op_b, m, n, k, 1, 0);
        expect_chain<double>(op_a, op_b, m, n, k, 1.1, -2);
      }
    }
}

TEST(Gemm, EachPartOfAComplexElementIsOneAscendingChain) {
  using Float = std::complex<float>;
  using Double = std::complex<double>;
  for (const Op op_a : kOps)
    for (const Op op_b : kOps)
      for (const auto& [m, n, k] : {std::array<int, 3>{1, 1, 1},
                                    {5, 7, 3},
                                    {13, 37, 130},
                                    {130, 5, 6},
                                    {7, 140, 20},
                                    {150, 3, 129}}) {
        expect_chain<Float>(op_a, op_b, m, n, k, {1, 0}, {0, 0});
        expect_chain<Float>(op_a, op_b, m, n, k, {0.5f, -0.3f}, {0.1f, 2});
        expect_chain<Double>(op_a, op_b, m, n, k, {-0.2, 1}, {1, 0});
      }
}

// Parts of a product along rows and columns, as other ranks and batches would form them.
TEST(Gemm, PartsHaveTheBitsOfTheWhole) {
  for (const Op op_a : kOps)
    for (const Op op_b : kOps)
      for (const std::int64_t k : {24, 300}) {
        const Operands<float> x(op_a, op_b, 29, 150, k);
        std::vector<float> whole = x.c, parts = x.c;
        blas::gemm(op_a, op_b, x.m, x.n, k, 0.7f, x.a.data(), x.lda, x.b.data(), x.ldb, 1.0f, whole.data(),
                   x.ldc);
        const std::array<std::int64_t, 5> rows{0, 1, 14, 17, 29}, columns{0, 3, 40, 131, 150};
        for (std::size_t r = 0; r + 1 < rows.size(); ++r)
          for (std::size_t s = 0; s + 1 < columns.size(); ++s)
            blas::gemm(op_a, op_b, rows[r + 1] - rows[r], columns[s + 1] - columns[s], k, 0.7f,
                       x.a_at(rows[r]), x.lda, x.b_at(columns[s]), x.ldb, 1.0f,
                       parts.data() + rows[r] * x.ldc + columns[s], x.ldc);
        expect_same_bits(parts, whole, "depth " + std::to_string(k));
      }
}

TEST(Gemm, TakesEmptyOperands) {
  blas::gemm(Op::none, Op::none, 0, 4, 4, 1.0, nullptr, 4, nullptr, 4, 0.0, nullptr, 4);
}

}  // namespace
}  // namespace rankine
