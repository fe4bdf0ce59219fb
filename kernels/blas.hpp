// Dense products. Row-major everywhere; the one place (with the .cpp) that knows which BLAS is linked.
#pragma once

#include <complex>
#include <cstdint>

namespace rankine::blas {

/// How an operand enters a product.
enum class Op { none, transpose };

/// C = alpha op(A) op(B) + beta C, row-major: op(A) is m x k, op(B) is k x n, C is m x n; `lda`, `ldb`, `ldc`
/// are the distances between rows as stored. With beta = 0, C is not read. Small products go through an own
/// kernel, large ones to BLAS: which of the two depends on shapes and flags only, so equal calls give equal
/// bits.
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const double* a,
          std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc);

/// The same for complex numbers, without conjugation; always by BLAS.
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<float> alpha,
          const std::complex<float>* a, std::int64_t lda, const std::complex<float>* b, std::int64_t ldb,
          std::complex<float> beta, std::complex<float>* c, std::int64_t ldc);
void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<double> alpha,
          const std::complex<double>* a, std::int64_t lda, const std::complex<double>* b, std::int64_t ldb,
          std::complex<double> beta, std::complex<double>* c, std::int64_t ldc);

/// Threads that BLAS may use in one call. Rankine runs one rank a core, so it is 1 from the first gemm on,
/// unless this is called or the environment sets OPENBLAS_NUM_THREADS. More threads change the bits of large
/// products.
void set_threads(int threads);

}  // namespace rankine::blas
