#include "kernels/blas.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>

extern "C" {
#include <cblas.h>
}

#ifdef OPENBLAS_VERSION
#define RANKINE_OPENBLAS 1
#endif

namespace rankine::blas {
namespace {

std::once_flag threads_once;

void one_thread_unless_asked() {
  std::call_once(threads_once, [] {
#ifdef RANKINE_OPENBLAS
    if (std::getenv("OPENBLAS_NUM_THREADS") == nullptr) openblas_set_num_threads(1);
#endif
  });
}

// The vector width of the machine compiled for. GCC and Clang lower operations on it to one instruction each.
#if defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Vector {
  static constexpr int width = kVectorBytes / sizeof(T);
  typedef T Type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};

// MR rows by NV vectors of C, all in registers: C += alpha A B with A(i, p) = a[i * row + p * column]. B is read where
// it lies, so nothing is packed; that is what makes it faster than BLAS on the small products of a tile.
template <class T, int MR, int NV>
inline void micro_kernel(std::int64_t k, T alpha, const T* a, std::int64_t row, std::int64_t column, const T* b,
                         std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  using V = typename Vector<T>::Type;
  constexpr int W = Vector<T>::width;
  V acc[MR][NV];
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  for (std::int64_t p = 0; p < k; ++p) {
    V bv[NV];
    for (int j = 0; j < NV; ++j) bv[j] = *reinterpret_cast<const V*>(b + p * ldb + j * W);
    for (int i = 0; i < MR; ++i) {
      const T s = a[i * row + p * column];
      const V sv = V{} + s;
      for (int j = 0; j < NV; ++j) acc[i][j] += sv * bv[j];
    }
  }
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) {
      V* out = reinterpret_cast<V*>(c + i * ldc + j * W);
      if (beta == T(0)) {
        *out = alpha * acc[i][j];
      } else {
        *out = alpha * acc[i][j] + beta * *out;
      }
    }
}

template <class T, int MR>
inline void micro_tail(std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t row, std::int64_t column,
                       const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  for (int i = 0; i < MR; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum += a[i * row + p * column] * b[p * ldb + j];
      c[i * ldc + j] = beta == T(0) ? alpha * sum : alpha * sum + beta * c[i * ldc + j];
    }
}

template <class T, int MR>
inline void row_block(std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t row, std::int64_t column,
                      const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  constexpr int W = Vector<T>::width;
  std::int64_t j = 0;
  for (; j + 2 * W <= n; j += 2 * W)
    micro_kernel<T, MR, 2>(k, alpha, a, row, column, b + j, ldb, beta, c + j, ldc);
  for (; j + W <= n; j += W) micro_kernel<T, MR, 1>(k, alpha, a, row, column, b + j, ldb, beta, c + j, ldc);
  if (j < n) micro_tail<T, MR>(n - j, k, alpha, a, row, column, b + j, ldb, beta, c + j, ldc);
}

// Columns are taken in strips so that the strip of B stays in the first-level cache for all row blocks.
template <class T>
void small_gemm(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t row,
                std::int64_t column, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  constexpr int W = Vector<T>::width;
  const std::int64_t strip = std::max<std::int64_t>(2 * W, 16384 / sizeof(T) / std::max<std::int64_t>(k, 1) / (2 * W) * (2 * W));
  for (std::int64_t j = 0; j < n; j += strip) {
    const std::int64_t w = std::min(strip, n - j);
    std::int64_t i = 0;
    for (; i + 6 <= m; i += 6)
      row_block<T, 6>(w, k, alpha, a + i * row, row, column, b + j, ldb, beta, c + i * ldc + j, ldc);
    const T* at = a + i * row;
    T* ct = c + i * ldc + j;
    switch (m - i) {
      case 5: row_block<T, 5>(w, k, alpha, at, row, column, b + j, ldb, beta, ct, ldc); break;
      case 4: row_block<T, 4>(w, k, alpha, at, row, column, b + j, ldb, beta, ct, ldc); break;
      case 3: row_block<T, 3>(w, k, alpha, at, row, column, b + j, ldb, beta, ct, ldc); break;
      case 2: row_block<T, 2>(w, k, alpha, at, row, column, b + j, ldb, beta, ct, ldc); break;
      case 1: row_block<T, 1>(w, k, alpha, at, row, column, b + j, ldb, beta, ct, ldc); break;
      default: break;
    }
  }
}

void cblas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
           const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void cblas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a, int lda,
           const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void gemm_any(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t lda,
              const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
    return;
  }
  one_thread_unless_asked();
  const bool small = op_b == Op::none && k <= 64 && m <= 64 && n >= Vector<T>::width;
  if (small) {
    const std::int64_t row = op_a == Op::none ? lda : 1, column = op_a == Op::none ? 1 : lda;
    small_gemm(m, n, k, alpha, a, row, column, b, ldb, beta, c, ldc);
    return;
  }
  cblas(op_a == Op::none ? CblasNoTrans : CblasTrans, op_b == Op::none ? CblasNoTrans : CblasTrans,
        static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a, static_cast<int>(lda), b,
        static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

}  // namespace

void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  gemm_any(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const double* a,
          std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc) {
  gemm_any(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void set_threads(int threads) {
  std::call_once(threads_once, [] {});
#ifdef RANKINE_OPENBLAS
  openblas_set_num_threads(threads);
#else
  static_cast<void>(threads);
#endif
}

}  // namespace rankine::blas
