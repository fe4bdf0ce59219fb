#include "kernels/blas.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
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

// MR rows by NV vectors of C, all in registers: C = alpha A B + beta C with A(i, p) = a[i * row + p *
// column], or, if A is packed, a[p * kRows + i].
constexpr int kRows = 6;

template <class T, int MR, int NV, bool kPackedA>
inline void micro_kernel(std::int64_t k, T alpha, const T* a, std::int64_t row, std::int64_t column,
                         const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  using V = typename Vector<T>::Type;
  constexpr int W = Vector<T>::width;
  V acc[MR][NV];
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  for (std::int64_t p = 0; p < k; ++p) {
    V bv[NV];
    for (int j = 0; j < NV; ++j) bv[j] = *reinterpret_cast<const V*>(b + p * ldb + j * W);
    for (int i = 0; i < MR; ++i) {
      const T s = kPackedA ? a[p * kRows + i] : a[i * row + p * column];
      const V sv = s - V{};  // a broadcast; 0 + s would stay an addition, for the sake of -0
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

// The operands of one small product. Panels of B, two vectors wide, are copied to contiguous memory where
// several blocks of rows use them: rows of B lie a power of two apart more often than not, and would throw
// each other out of the cache.
template <class T>
struct SmallProduct {
  std::int64_t m, k;
  T alpha;
  const T* a;
  std::int64_t row, column;
  const T* packed_a;  // null: not packed
  T beta;
  T* c;
  std::int64_t ldc;

  template <int MR, int NV>
  void block(std::int64_t i, const T* b, std::int64_t ldb, T* to) const {
    if (packed_a != nullptr) {
      micro_kernel<T, MR, NV, true>(k, alpha, packed_a + i * k, 0, 0, b, ldb, beta, to + i * ldc, ldc);
    } else {
      micro_kernel<T, MR, NV, false>(k, alpha, a + i * row, row, column, b, ldb, beta, to + i * ldc, ldc);
    }
  }
  // All rows of C in one panel of NV vectors.
  template <int NV>
  void panel(const T* b, std::int64_t ldb, T* to) const {
    std::int64_t i = 0;
    for (; i + kRows <= m; i += kRows) block<kRows, NV>(i, b, ldb, to);
    switch (m - i) {
      case 5:
        block<5, NV>(i, b, ldb, to);
        break;
      case 4:
        block<4, NV>(i, b, ldb, to);
        break;
      case 3:
        block<3, NV>(i, b, ldb, to);
        break;
      case 2:
        block<2, NV>(i, b, ldb, to);
        break;
      case 1:
        block<1, NV>(i, b, ldb, to);
        break;
      default:
        break;
    }
  }
};

constexpr std::int64_t kMaxSmallRows = 144, kMaxSmallDepth = 256;

template <class T>
void small_gemm(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t row,
                std::int64_t column, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  constexpr int W = Vector<T>::width;
  alignas(64) T panel[kMaxSmallDepth * 2 * W];
  alignas(64) thread_local T packed[(kMaxSmallRows + kRows) * kMaxSmallDepth];
  SmallProduct<T> product{m, k, alpha, a, row, column, nullptr, beta, c, ldc};
  if (n >= 128) {
    for (std::int64_t i = 0; i < m; i += kRows) {
      const std::int64_t rows = std::min<std::int64_t>(kRows, m - i);
      for (std::int64_t p = 0; p < k; ++p)
        for (std::int64_t r = 0; r < rows; ++r) packed[i * k + p * kRows + r] = a[(i + r) * row + p * column];
    }
    product.packed_a = packed;
  }
  const bool pack_b = m > kRows && k > 4 && ldb > 2 * W;
  std::int64_t j = 0;
  for (; j + 2 * W <= n; j += 2 * W) {
    if (pack_b) {
      for (std::int64_t p = 0; p < k; ++p) std::memcpy(panel + p * 2 * W, b + p * ldb + j, 2 * W * sizeof(T));
      product.template panel<2>(panel, 2 * W, c + j);
    } else {
      product.template panel<2>(b + j, ldb, c + j);
    }
  }
  for (; j + W <= n; j += W) product.template panel<1>(b + j, ldb, c + j);
  for (; j < n; ++j)
    for (std::int64_t i = 0; i < m; ++i) {
      T sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum += a[i * row + p * column] * b[p * ldb + j];
      c[i * ldc + j] = beta == T(0) ? alpha * sum : alpha * sum + beta * c[i * ldc + j];
    }
}

void cblas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
           const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void cblas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a,
           int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

CBLAS_TRANSPOSE flag(Op op) { return op == Op::none ? CblasNoTrans : CblasTrans; }

template <class T>
void gemm_any(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
              std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
    return;
  }
  one_thread_unless_asked();
  if (op_b == Op::none && n >= Vector<T>::width) {
    const std::int64_t row = op_a == Op::none ? lda : 1, column = op_a == Op::none ? 1 : lda;
    // Shallow products, such as gradients of weights over a small batch: rows in groups whose part of A stays
    // in the caches while panels of B pass.
    if (k <= kMaxSmallDepth) {
      const std::int64_t group = m <= kMaxSmallRows ? m : kMaxSmallRows / 2;
      for (std::int64_t i = 0; i < m; i += group)
        small_gemm(std::min(group, m - i), n, k, alpha, a + i * row, row, column, b, ldb, beta, c + i * ldc,
                   ldc);
      return;
    }
    // Few rows: sums in parts, which are cheaper than BLAS' copy of all of B.
    if (m <= kMaxSmallRows / 2) {
      for (std::int64_t p = 0; p < k; p += kMaxSmallDepth)
        small_gemm(m, n, std::min(kMaxSmallDepth, k - p), alpha, a + p * column, row, column, b + p * ldb,
                   ldb, p == 0 ? beta : T(1), c, ldc);
      return;
    }
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

void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<float> alpha,
          const std::complex<float>* a, std::int64_t lda, const std::complex<float>* b, std::int64_t ldb,
          std::complex<float> beta, std::complex<float>* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  one_thread_unless_asked();
  cblas_cgemm(CblasRowMajor, flag(op_a), flag(op_b), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), &alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), &beta, c,
              static_cast<int>(ldc));
}

void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<double> alpha,
          const std::complex<double>* a, std::int64_t lda, const std::complex<double>* b, std::int64_t ldb,
          std::complex<double> beta, std::complex<double>* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  one_thread_unless_asked();
  cblas_zgemm(CblasRowMajor, flag(op_a), flag(op_b), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), &alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), &beta, c,
              static_cast<int>(ldc));
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
