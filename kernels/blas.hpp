// Dense products, row-major everywhere, by kernels of our own; and the one place (with the .cpp) that knows
// which BLAS is linked.
#pragma once

#include <complex>
#include <cstdint>

namespace rankine::blas {

/// How an operand enters a product.
enum class Op { none, transpose };

/// C = alpha op(A) op(B) + beta C, row-major: op(A) is m x k, op(B) is k x n, C is m x n; `lda`, `ldb`, `ldc`
/// are the distances between rows as stored. With beta = 0, C is not read.
///
/// The bits of an element depend on its row of op(A), its column of op(B), alpha, beta and C alone: not on
/// the extents, nor on the width of the vectors compiled for. With multiply_add of kernels/multiply_add.hpp,
///   sum = 0;  for p = 0 .. k-1: sum = multiply_add(a[i,p], b[p,j], sum)
///   c[i,j] = alpha sum                            if beta = 0
///   c[i,j] = multiply_add(beta, c[i,j], alpha sum)   else.
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const double* a,
          std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc);

/// The same for complex numbers, without conjugation. Each part of an element is one chain:
///   re = multiply_add(re a, re b, re);  re = multiply_add(im a, -im b, re)
///   im = multiply_add(re a, im b, im);  im = multiply_add(im a,  re b, im)
/// for p = 0 .. k-1. Then x = alpha sum and, if beta is not 0, x + beta c, by
///   (re, im) = (multiply_add(-im alpha, im sum, re alpha re sum), multiply_add(im alpha, re sum, re alpha im
///   sum)) re = multiply_add(-im beta, im c, multiply_add(re beta, re c, re)),  im likewise with + im beta,
///   re c.
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<float> alpha,
          const std::complex<float>* a, std::int64_t lda, const std::complex<float>* b, std::int64_t ldb,
          std::complex<float> beta, std::complex<float>* c, std::int64_t ldc);
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<double> alpha,
          const std::complex<double>* a, std::int64_t lda, const std::complex<double>* b, std::int64_t ldb,
          std::complex<double> beta, std::complex<double>* c, std::int64_t ldc);

/// C = A B of packed row-major matrices by the BLAS that is linked, to measure the products above against. Its
/// bits are the library's.
void library_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b, float* c);

/// Threads that BLAS and LAPACK may use in one call. Rankine runs one rank a core, so it is 1 from the first
/// call of use_one_thread() on, unless this is called or the environment sets OPENBLAS_NUM_THREADS. More
/// threads change the bits of large factorisations.
void set_threads(int threads);
/// Before each call of BLAS or LAPACK: see set_threads().
void use_one_thread();

}  // namespace rankine::blas
