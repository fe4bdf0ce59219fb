#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/blas.hpp"

namespace rankine {
namespace {

using blas::Op;

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

TEST(Gemm, TakesEmptyOperands) {
  blas::gemm(Op::none, Op::none, 0, 4, 4, 1.0, nullptr, 4, nullptr, 4, 0.0, nullptr, 4);
}

}  // namespace
}  // namespace rankine
