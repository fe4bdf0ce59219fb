#include "kernels/blas.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "kernels/simd.hpp"

extern "C" {
#include <cblas.h>
}

#ifdef OPENBLAS_VERSION
#define RANKINE_OPENBLAS 1
#endif

namespace rankine::blas {
namespace {

using Index = std::int64_t;
using kernels::multiply_add;
using kernels::Simd;
using kernels::SimdOf;

std::once_flag threads_once;

// Rows and vectors of the largest tile of C: its accumulators, a row of B and a scalar fill the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kVectors = 2;
// Depth of one pass: a panel of B, two vectors wide, fills half of the first-level cache.
constexpr Index kDepth = 256;
// Extents of the part of C whose partial sums a deep product keeps aside.
constexpr Index kPartRows = 384, kPartColumns = 512;

// An operand's element (i, j) is data[i * row + j * column].
template <class T>
struct Matrix {
  const T* data;
  Index row, column;
  Matrix at(Index i, Index j) const { return {data + i * row + j * column, row, column}; }
  Matrix transposed() const { return {data, column, row}; }
};

// MR rows by NV vectors of sums over k. kUnitRow: rows of A lie side by side, a.row = 1; else its columns do,
// a.column = 1. kPart: what C holds are partial sums, which go on; else C = alpha sum + beta C.
template <class T, int MR, int NV, bool kUnitRow, bool kPart>
void tile(Index k, Matrix<T> a, const T* b, Index ldb, T alpha, T beta, T* c, Index ldc) {
  using V = SimdOf<T>;
  constexpr int W = Simd<T>::width;
  V acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) acc[i][j] = kPart ? kernels::load(c + i * ldc + j * W) : V{};
      // The processor foresees the next row, but not the next panel, which lies as far away as rows are long.
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) __builtin_prefetch(c + i * ldc + (NV + j) * W, 1);
  // Four rows share a base, from which one or two distances lead to each.
  constexpr int bases = kUnitRow ? 1 : (MR + 3) / 4;
  const T* base[bases];
  for (int g = 0; g < bases; ++g) base[g] = a.data + 4 * g * a.row;
  for (Index p = 0; p < k; ++p, b += ldb) {
    V bv[NV];
    for (int j = 0; j < NV; ++j) bv[j] = kernels::in_register(kernels::load(b + j * W));
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const V s = kernels::broadcast(kUnitRow ? base[0][i] : base[i / 4][i % 4 * a.row]);
      for (int j = 0; j < NV; ++j) acc[i][j] = kernels::multiply_add_lanes<T>(s, bv[j], acc[i][j]);
    }
    for (int g = 0; g < bases; ++g) base[g] += kUnitRow ? a.column : 1;
  }
  const V factor = kernels::broadcast(alpha), share = kernels::broadcast(beta);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) {
      T* to = c + i * ldc + j * W;
      if (kPart) {
        kernels::store(to, acc[i][j]);
      } else if (beta == T(0)) {
        kernels::store(to, factor * acc[i][j]);
      } else {
        kernels::store(to, kernels::multiply_add_lanes<T>(share, kernels::load(to), factor * acc[i][j]));
      }
    }
}

template <class T>
using Tile = void (*)(Index, Matrix<T>, const T*, Index, T, T, T*, Index);

template <class T, int NV, bool kUnitRow, bool kPart, std::size_t... MR>
constexpr std::array<Tile<T>, sizeof...(MR)> tiles_of(std::index_sequence<MR...>) {
  return {&tile<T, static_cast<int>(MR) + 1, NV, kUnitRow, kPart>...};
}
// By rows - 1.
template <class T, int NV, bool kUnitRow, bool kPart>
constexpr auto by_rows = tiles_of<T, NV, kUnitRow, kPart>(std::make_index_sequence<kRows>());

template <class T, bool kPart>
const std::array<Tile<T>, kRows>& tiles_for(Index vectors, bool unit_row) {
  if (vectors == 1) return unit_row ? by_rows<T, 1, true, kPart> : by_rows<T, 1, false, kPart>;
  return unit_row ? by_rows<T, 2, true, kPart> : by_rows<T, 2, false, kPart>;
}

/// Work space of a thread, which grows and stays.
template <class T>
T* work_space(Index count) {
  struct Free {
    void operator()(T* memory) const { ::operator delete(memory, std::align_val_t(64)); }
  };
  thread_local std::unique_ptr<T, Free> memory;
  thread_local Index size = 0;
  if (count > size) {
    memory.reset(
        static_cast<T*>(::operator new(static_cast<std::size_t>(count) * sizeof(T), std::align_val_t(64))));
    size = count;
  }
  return memory.get();
}

// [0, m) in tiles of nearly one size: f(first row, rows of a tile, tiles) for those of one size and the
// others.
template <class F>
void in_tiles(Index m, F f) {
  const Index parts = (m + kRows - 1) / kRows, rows = m / parts, larger = m - parts * rows;
  if (larger > 0) f(Index{0}, rows + 1, larger);
  f(larger * (rows + 1), rows, parts - larger);
}

#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
#define RANKINE_TRANSPOSES_VECTORS 1
// x[i][j] and x[j][i] exchanged: in each round the blocks of `kApart` beside the diagonal.
template <class T, int kApart, std::size_t... I>
inline void exchange(SimdOf<T>* x, std::index_sequence<I...>) {
  constexpr int W = Simd<T>::width;
  for (int i = 0; i < W; ++i) {
    if (i & kApart) continue;
    const SimdOf<T> low = x[i], high = x[i + kApart];
    x[i] = __builtin_shufflevector(low, high, (I & kApart ? W + I - kApart : I)...);
    x[i + kApart] = __builtin_shufflevector(low, high, (I & kApart ? W + I : I + kApart)...);
  }
}
template <class T, int kApart = 1>
inline void transpose(SimdOf<T>* x) {
  exchange<T, kApart>(x, std::make_index_sequence<Simd<T>::width>());
  if constexpr (2 * kApart < Simd<T>::width) transpose<T, 2 * kApart>(x);
}
#endif

// to[p * pitch + j] = b(p, j), j < n, zeros up to a whole vector. Asks for the panel after the next.
template <class T>
void pack_panel(Index k, Index n, Matrix<T> b, T* to, Index pitch) {
  constexpr int W = Simd<T>::width;
  if (b.column == 1) {
    const Index whole = n / W * W, rest = n - whole;
    for (Index p = 0; p < k; ++p, to += pitch) {
      const T* from = b.data + p * b.row;
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(from + (2 * kVectors + v) * W);
      if (whole == kVectors * W) {
        for (int v = 0; v < kVectors; ++v) kernels::store(to + v * W, kernels::load(from + v * W));
        continue;
      }
      for (Index j = 0; j < whole; j += W) kernels::store(to + j, kernels::load(from + j));
      if (rest > 0) kernels::store(to + whole, kernels::load_first(from + whole, rest));
    }
    return;
  }
  for (Index j = 0; j < n; j += W) {
    const Index count = std::min<Index>(W, n - j);
    const T* from = b.data + j * b.column;
    T* out = to + j;
    Index p = 0;
#ifdef RANKINE_TRANSPOSES_VECTORS
    for (; p + W <= k; p += W) {
      SimdOf<T> x[W];
      for (Index i = 0; i < W; ++i) x[i] = i < count ? kernels::load(from + i * b.column + p) : SimdOf<T>{};
      transpose<T>(x);
      for (Index i = 0; i < W; ++i) kernels::store(out + (p + i) * pitch, x[i]);
    }
#endif
    for (; p < k; ++p) {
      for (Index i = 0; i < count; ++i) out[p * pitch + i] = from[i * b.column + p];
      for (Index i = count; i < W; ++i) out[p * pitch + i] = T(0);
    }
  }
}

// Rows from which on a panel of B is copied: rows of B lie a power of two apart more often than not, and
// would throw each other out of the cache.
constexpr Index kManyRows = 2 * kRows;

// Columns up to which the transposed product is formed, whose vectors run along the rows.
constexpr Index kFewColumns = 4;

// C += A B (kPart) or C = alpha A B + beta C for 0 < k <= kDepth; if kPart, C has room up to whole panels.
// `packed` [m * k] is there where packs() says so.
bool packs(bool unit_row, Index n) { return !unit_row && n >= 128; }

template <class T, bool kPart>
void shallow(Index m, Index n, Index k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c, Index ldc,
             T* packed) {
  constexpr int W = Simd<T>::width;
  constexpr Index wide = kVectors * W;
  alignas(64) T panel[kDepth * wide];
  // A is copied where many panels of B pass it.
  const bool pack_a = packs(a.row == 1, n);
  if (pack_a)
    in_tiles(m, [&](Index i, Index rows, Index count) {
      const T* from = a.data + i * a.row;
      T* to = packed + i * k;
      for (Index t = 0; t < count; ++t, from += rows * a.row)
        for (Index p = 0; p < k; ++p)
          for (Index r = 0; r < rows; ++r) *to++ = from[r * a.row + p * a.column];
    });
  for (Index j = 0; j < n; j += wide) {
    const Index columns = std::min(wide, n - j), vectors = (columns + W - 1) / W;
    const bool tail = columns % W != 0;
    const auto& run = tiles_for<T, kPart>(vectors, pack_a || a.row == 1);
    Matrix<T> from = b.at(0, j);
    if (tail || b.column != 1 || (m > kManyRows && k > 4 && b.row > wide)) {
      pack_panel(k, columns, from, panel, vectors * W);
      from = {panel, vectors * W, 1};
    }
    in_tiles(m, [&](Index i, Index rows, Index count) {
      Matrix<T> part = pack_a ? Matrix<T>{packed + i * k, 1, rows} : a.at(i, 0);
      const Index next = pack_a ? rows * k : rows * a.row;
      const Tile<T> tile = run[static_cast<std::size_t>(rows - 1)];
      T* to = c + i * ldc + j;
      if (kPart || !tail) {
        for (Index t = 0; t < count; ++t, part.data += next, to += rows * ldc)
          tile(k, part, from.data, from.row, alpha, beta, to, ldc);
        return;
      }
      alignas(64) T block[kRows * wide];
      const Index whole = columns > W ? W : 0, rest = columns - whole;
      for (Index t = 0; t < count; ++t, part.data += next, to += rows * ldc) {
        if (beta != T(0))
          for (Index r = 0; r < rows; ++r) {
            if (whole > 0) kernels::store(block + r * wide, kernels::load(to + r * ldc));
            kernels::store(block + r * wide + whole, kernels::load_first(to + r * ldc + whole, rest));
          }
        tile(k, part, from.data, from.row, alpha, beta, block, wide);
        for (Index r = 0; r < rows; ++r) {
          if (whole > 0) kernels::store(to + r * ldc, kernels::load(block + r * wide));
          kernels::store_first(to + r * ldc + whole, kernels::load(block + r * wide + whole), rest);
        }
      }
    });
  }
}

// C = alpha A B + beta C for k > 0. Each element's sum starts at 0 and takes the products in the order of the
// depth by multiply_add, whatever the extents; so parts of a product along m and n have the bits of the
// whole.
template <class T>
void product(Index m, Index n, Index k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c, Index ldc) {
  constexpr Index wide = kVectors * Simd<T>::width;
  if (n <= kFewColumns && m >= 4 * kFewColumns) {
    constexpr Index strip = 256;
    T sums[kFewColumns * strip];
    for (Index i = 0; i < m; i += strip) {
      const Index rows = std::min(strip, m - i);
      product(n, rows, k, alpha, b.transposed(), a.at(i, 0).transposed(), T(0), sums, rows);
      for (Index r = 0; r < rows; ++r)
        for (Index j = 0; j < n; ++j) {
          T& to = c[(i + r) * ldc + j];
          to = beta == T(0) ? sums[j * rows + r] : multiply_add(beta, to, sums[j * rows + r]);
        }
    }
    return;
  }
  if (k <= kDepth) {
    for (Index i = 0; i < m; i += kPartRows) {
      const Index rows = std::min(kPartRows, m - i);
      T* const packed = packs(a.row == 1, n) ? work_space<T>(rows * k) : nullptr;
      shallow<T, false>(rows, n, k, alpha, a.at(i, 0), b, beta, c + i * ldc, ldc, packed);
    }
    return;
  }
  for (Index i = 0; i < m; i += kPartRows)
    for (Index j = 0; j < n; j += kPartColumns) {
      const Index rows = std::min(kPartRows, m - i), columns = std::min(kPartColumns, n - j);
      const Index lds = (columns + wide - 1) / wide * wide;
      T* const sums = work_space<T>(rows * lds + rows * kDepth);
      std::fill_n(sums, rows * lds, T(0));
      for (Index p = 0; p < k; p += kDepth)
        shallow<T, true>(rows, columns, std::min(kDepth, k - p), T(1), a.at(i, p), b.at(p, j), T(0), sums,
                         lds, sums + rows * lds);
      for (Index r = 0; r < rows; ++r) {
        const T* from = sums + r * lds;
        T* to = c + (i + r) * ldc + j;
        for (Index q = 0; q < columns; ++q)
          to[q] = beta == T(0) ? alpha * from[q] : multiply_add(beta, to[q], alpha * from[q]);
      }
    }
}

template <class T>
Matrix<T> operand(Op op, const T* data, Index ld) {
  return op == Op::none ? Matrix<T>{data, ld, 1} : Matrix<T>{data, 1, ld};
}

template <class T>
void gemm_any(Op op_a, Op op_b, Index m, Index n, Index k, T alpha, const T* a, Index lda, const T* b,
              Index ldb, T beta, T* c, Index ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
    return;
  }
  product(m, n, k, alpha, operand(op_a, a, lda), operand(op_b, b, ldb), beta, c, ldc);
}

// Complex products as two real ones of twice the depth: with A' = [re a, im a] along the depth,
//   re C = A' [re b, -im b],   im C = A' [im b, re b],
// so each part of an element is one chain: first the products with re a, then those with im a, step by step.
template <class T>
void gemm_complex(Op op_a, Op op_b, Index m, Index n, Index k, std::complex<T> alpha,
                  const std::complex<T>* a, Index lda, const std::complex<T>* b, Index ldb,
                  std::complex<T> beta, std::complex<T>* c, Index ldc) {
  constexpr Index strip = 128;
  const Matrix<std::complex<T>> from_a = operand(op_a, a, lda), from_b = operand(op_b, b, ldb);
  const auto at = [](const Matrix<std::complex<T>>& x, Index i, Index j) { return *x.at(i, j).data; };
  const Index wide = std::min(n, strip), high = std::min(m, strip);
  std::vector<T> left(static_cast<std::size_t>(high * 2 * k));
  std::vector<T> right(static_cast<std::size_t>(4 * k * wide)),
      sums(static_cast<std::size_t>(2 * high * wide));
  T* const right_im = right.data() + 2 * k * wide;
  T* const im = sums.data() + high * wide;
  for (Index j = 0; j < n; j += strip) {
    const Index columns = std::min(strip, n - j);
    for (Index p = 0; p < k; ++p)
      for (Index q = 0; q < columns; ++q) {
        const std::complex<T> x = at(from_b, p, j + q);
        T* re_to = right.data() + 2 * p * columns + q;
        T* im_to = right_im + 2 * p * columns + q;
        re_to[0] = im_to[columns] = x.real();
        im_to[0] = x.imag();
        re_to[columns] = -x.imag();
      }
    for (Index i = 0; i < m; i += strip) {
      const Index rows = std::min(strip, m - i);
      for (Index r = 0; r < rows; ++r)
        for (Index p = 0; p < k; ++p) {
          const std::complex<T> x = at(from_a, i + r, p);
          left[static_cast<std::size_t>(2 * (r * k + p))] = x.real();
          left[static_cast<std::size_t>(2 * (r * k + p) + 1)] = x.imag();
        }
      for (const auto& [part, to] : {std::pair{right.data(), sums.data()}, std::pair{right_im, im}})
        gemm_any(Op::none, Op::none, rows, columns, 2 * k, T(1), left.data(), 2 * k, part, columns, T(0), to,
                 columns);
      for (Index r = 0; r < rows; ++r)
        for (Index q = 0; q < columns; ++q) {
          std::complex<T>& to = c[(i + r) * ldc + j + q];
          const T x = sums[static_cast<std::size_t>(r * columns + q)], y = im[r * columns + q];
          std::complex<T> value{multiply_add(-alpha.imag(), y, alpha.real() * x),
                                multiply_add(alpha.imag(), x, alpha.real() * y)};
          if (beta != std::complex<T>(0))
            value = {
                multiply_add(-beta.imag(), to.imag(), multiply_add(beta.real(), to.real(), value.real())),
                multiply_add(beta.imag(), to.real(), multiply_add(beta.real(), to.imag(), value.imag()))};
          to = value;
        }
    }
  }
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
  gemm_complex(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm(Op op_a, Op op_b, std::int64_t m, std::int64_t n, std::int64_t k, std::complex<double> alpha,
          const std::complex<double>* a, std::int64_t lda, const std::complex<double>* b, std::int64_t ldb,
          std::complex<double> beta, std::complex<double>* c, std::int64_t ldc) {
  gemm_complex(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void library_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b, float* c) {
  use_one_thread();
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), inner = static_cast<int>(k);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, columns, inner, 1, a, inner, b, columns, 0, c,
              columns);
}

void use_one_thread() {
  std::call_once(threads_once, [] {
#ifdef RANKINE_OPENBLAS
    if (std::getenv("OPENBLAS_NUM_THREADS") == nullptr) openblas_set_num_threads(1);
#endif
  });
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
