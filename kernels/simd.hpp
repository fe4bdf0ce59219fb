// Vectors of the machine compiled for. GCC and Clang lower operations on them to one instruction each; sums
// keep their lanes, so that their order, and with it their bits, is what the source says. Nothing that is
// computed with them may depend on the width of a vector: sums run in kSumLanes lanes on all machines.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/multiply_add.hpp"

#if defined(__x86_64__) && defined(__AVX__)
#include <immintrin.h>
#endif

namespace rankine::kernels {

// The build chooses RANKINE_VECTOR_BYTES where it does not want the widest.
#if defined(RANKINE_VECTOR_BYTES)
inline constexpr int kVectorBytes = RANKINE_VECTOR_BYTES;
#elif defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif
static_assert(kVectorBytes == 16 || kVectorBytes == 32 || kVectorBytes == 64);

/// A vector of T that may lie anywhere a T may.
template <class T>
struct Simd {
  static constexpr int width = kVectorBytes / static_cast<int>(sizeof(T));
  typedef T Type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using SimdOf = typename Simd<T>::Type;

template <class T>
inline SimdOf<T> load(const T* from) {
  return *reinterpret_cast<const SimdOf<T>*>(from);
}
template <class T>
inline void store(T* to, SimdOf<T> v) {
  *reinterpret_cast<SimdOf<T>*>(to) = v;
}
/// s in all lanes. (0 + s would stay an addition, for the sake of -0.)
template <class T>
inline SimdOf<T> broadcast(T s) {
  return s - SimdOf<T>{};
}

#if defined(__AVX__)
namespace internal {
/// From element 8 - n on: n lanes of all ones, then zeros.
inline constexpr std::int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
template <class T>
inline __m256i first_lanes(std::int64_t count) {
  const std::int64_t words = count * static_cast<std::int64_t>(sizeof(T) / 4);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstLanes + 8 - words));
}
}  // namespace internal
#endif

/// The first `count` lanes from memory, 0 in the others; 0 < count < width.
template <class T>
inline SimdOf<T> load_first(const T* from, std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (kVectorBytes == 64) {
    if constexpr (sizeof(T) == 4) {
      return SimdOf<T>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1), from));
    } else {
      return SimdOf<T>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << count) - 1), from));
    }
  }
#endif
#if defined(__AVX__)
  if constexpr (kVectorBytes == 32 && sizeof(T) == 4)
    return SimdOf<T>(_mm256_maskload_ps(from, internal::first_lanes<T>(count)));
  if constexpr (kVectorBytes == 32 && sizeof(T) == 8)
    return SimdOf<T>(_mm256_maskload_pd(from, internal::first_lanes<T>(count)));
#endif
  T lanes[Simd<T>::width] = {};
  for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return load(lanes);
}
/// The first `count` lanes to memory; 0 < count < width.
template <class T>
inline void store_first(T* to, SimdOf<T> v, std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (kVectorBytes == 64) {
    if constexpr (sizeof(T) == 4) {
      _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << count) - 1), __m512(v));
    } else {
      _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1U << count) - 1), __m512d(v));
    }
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (kVectorBytes == 32) {
    if constexpr (sizeof(T) == 4) {
      _mm256_maskstore_ps(to, internal::first_lanes<T>(count), __m256(v));
    } else {
      _mm256_maskstore_pd(to, internal::first_lanes<T>(count), __m256d(v));
    }
    return;
  }
#endif
  T lanes[Simd<T>::width];
  store(lanes, v);
  for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}
/// v with 0 in all lanes but the first `count`.
template <class T>
inline SimdOf<T> keep_first(SimdOf<T> v, std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (kVectorBytes == 64) {
    if constexpr (sizeof(T) == 4) {
      return SimdOf<T>(_mm512_maskz_mov_ps(static_cast<__mmask16>((1U << count) - 1), __m512(v)));
    } else {
      return SimdOf<T>(_mm512_maskz_mov_pd(static_cast<__mmask8>((1U << count) - 1), __m512d(v)));
    }
  }
#endif
#if defined(__AVX__)
  if constexpr (kVectorBytes == 32 && sizeof(T) == 4)
    return SimdOf<T>(_mm256_and_ps(_mm256_castsi256_ps(internal::first_lanes<T>(count)), __m256(v)));
  if constexpr (kVectorBytes == 32 && sizeof(T) == 8)
    return SimdOf<T>(_mm256_and_pd(_mm256_castsi256_pd(internal::first_lanes<T>(count)), __m256d(v)));
#endif
  T lanes[Simd<T>::width];
  store(lanes, v);
  for (std::int64_t i = count; i < Simd<T>::width; ++i) lanes[i] = T(0);
  return load(lanes);
}

/// multiply_add in all lanes.
template <class T>
inline SimdOf<T> multiply_add_lanes(SimdOf<T> a, SimdOf<T> b, SimdOf<T> c) {
#ifdef RANKINE_HAS_FMA
#if defined(__AVX512F__)
  if constexpr (kVectorBytes == 64 && sizeof(T) == 4)
    return SimdOf<T>(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
  if constexpr (kVectorBytes == 64 && sizeof(T) == 8)
    return SimdOf<T>(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c)));
#endif
#if defined(__FMA__)
  if constexpr (kVectorBytes == 32 && sizeof(T) == 4)
    return SimdOf<T>(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
  if constexpr (kVectorBytes == 32 && sizeof(T) == 8)
    return SimdOf<T>(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c)));
  if constexpr (kVectorBytes == 16 && sizeof(T) == 4)
    return SimdOf<T>(_mm_fmadd_ps(__m128(a), __m128(b), __m128(c)));
  if constexpr (kVectorBytes == 16 && sizeof(T) == 8)
    return SimdOf<T>(_mm_fmadd_pd(__m128d(a), __m128d(b), __m128d(c)));
#endif
  for (int i = 0; i < Simd<T>::width; ++i) c[i] = multiply_add(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}

/// v, loaded once: GCC would rather read a vector from memory in each instruction that uses it, which the
/// load ports of a core cannot follow.
template <class V>
inline V in_register(V v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__AVX__)
  asm("" : "+x"(v));
#endif
  return v;
}

// What nvcc makes of a pack among the lanes GCC refuses.
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector) && !defined(__CUDACC__)
#define RANKINE_SHUFFLES_VECTORS
#endif
namespace internal {
#ifdef RANKINE_SHUFFLES_VECTORS
// Of vectors a and b in segments of s lanes: which lane comes to place p when the lower or the upper halves
// of all segments are put in a row.
constexpr int lane_of_half(int s, int p, bool upper) {
  return 2 * p / s * s + p % (s / 2) + (upper ? s / 2 : 0);
}
template <class T, int s, int... p>
inline SimdOf<T> add_halves(SimdOf<T> a, SimdOf<T> b, std::integer_sequence<int, p...> /*places*/) {
  return __builtin_shufflevector(a, b, lane_of_half(s, p, false)...) +
         __builtin_shufflevector(a, b, lane_of_half(s, p, true)...);
}
template <class T, int s, int... p>
inline SimdOf<T> add_halves(SimdOf<T> v, std::integer_sequence<int, p...> /*places*/) {
  return v + __builtin_shufflevector(v, v, (p ^ (s / 2))...);
}
// Segment k of v[0] becomes what was in the segments of v[k].
template <class T, int K, int s>
inline void add_segments(SimdOf<T>* v) {
  constexpr std::make_integer_sequence<int, Simd<T>::width> places;
  if constexpr (K > 1) {
    for (int k = 0; k < K / 2; ++k) v[k] = add_halves<T, s>(v[2 * k], v[2 * k + 1], places);
    add_segments<T, K / 2, s / 2>(v);
  } else if constexpr (s > 1) {
    v[0] = add_halves<T, s>(v[0], places);
    add_segments<T, 1, s / 2>(v);
  }
}
// In blocks of 2 s by 2 s lanes, the upper right and the lower left quarter change places.
template <class T, int s, int... p>
inline void swap_quarters(SimdOf<T>& a, SimdOf<T>& b, std::integer_sequence<int, p...> /*places*/) {
  const SimdOf<T> upper = __builtin_shufflevector(a, b, (p & s ? Simd<T>::width + p - s : p)...);
  b = __builtin_shufflevector(a, b, (p & s ? Simd<T>::width + p : p + s)...);
  a = upper;
}
template <class T, int s, int... k>
inline void swap_blocks(SimdOf<T>* v, std::integer_sequence<int, k...> places) {
  if constexpr (s > 0) {
    (((k & s) == 0 ? swap_quarters<T, s>(v[k], v[k | s], places) : void()), ...);
    swap_blocks<T, s / 2>(v, places);
  }
}
#endif
}  // namespace internal

/// sums[k] = the sum of the lanes of v[k], by halves; K is a power of 2, at most the width. What is left of
/// two vectors goes on in one, so that several sums take little longer than one. v is overwritten.
template <class T, int K>
inline void lane_sums(SimdOf<T>* v, T* sums) {
  constexpr int W = Simd<T>::width;
  static_assert(K <= W);
#ifdef RANKINE_SHUFFLES_VECTORS
  internal::add_segments<T, K, W>(v);
  for (int k = 0; k < K; ++k) sums[k] = v[0][k * (W / K)];
#else
  for (int k = 0; k < K; ++k) {
    T lanes[W];
    store(lanes, v[k]);
    for (int half = W / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
    sums[k] = lanes[0];
  }
#endif
}
template <class T>
inline T lane_sum(SimdOf<T> v) {
  T sum;
  lane_sums<T, 1>(&v, &sum);
  return sum;
}

/// Lane j of v[i] and lane i of v[j] change places, in as many vectors as one has lanes.
template <class T>
inline void transpose(SimdOf<T>* v) {
  constexpr int W = Simd<T>::width;
#ifdef RANKINE_SHUFFLES_VECTORS
  internal::swap_blocks<T, W / 2>(v, std::make_integer_sequence<int, W>());
#else
  T lanes[W][W];
  for (int i = 0; i < W; ++i) store(lanes[i], v[i]);
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < W; ++j) v[i][j] = lanes[j][i];
#endif
}

/// An integer for each lane of a vector of T, of the size of T.
template <class T>
using SimdPlaces = SimdOf<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;
/// Lane i of the result is lane from[i] of v.
template <class T>
inline SimdOf<T> lanes_of(SimdOf<T> v, SimdPlaces<T> from) {
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
  return __builtin_shuffle(v, from);
#else
  T lanes[Simd<T>::width];
  store(lanes, v);
  for (int i = 0; i < Simd<T>::width; ++i) v[i] = lanes[from[i]];
  return v;
#endif
}

/// The sum of `lanes` numbers, by halves.
template <int lanes, class T>
inline T lane_tree(const T* x) {
  constexpr int W = Simd<T>::width, parts = lanes / W;
  SimdOf<T> v[parts];
  for (int i = 0; i < parts; ++i) v[i] = load(x + i * W);
  for (int half = parts / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return lane_sum<T>(v[0]);
}

/// The elements of a row from `i` on that fill one vector: all, or, at the end of the row, the first `count`.
template <class T, bool kAll>
struct Chunk {
  std::int64_t i, count;

  /// x[i ..]; 0 in lanes beyond the row.
  SimdOf<T> of(const T* x) const {
    if constexpr (kAll) return load(x + i);
    return load_first(x + i, count);
  }
  /// v with 0 in lanes beyond the row.
  SimdOf<T> keep(SimdOf<T> v) const {
    if constexpr (kAll) return v;
    return keep_first<T>(v, count);
  }
  void to(T* y, SimdOf<T> v) const {
    if constexpr (kAll) {
      store(y + i, v);
    } else {
      store_first<T>(y + i, v, count);
    }
  }
};

/// f(chunk) for all of a row of n elements.
template <class T, class F>
inline void for_chunks(std::int64_t n, F f) {
  constexpr int W = Simd<T>::width;
  std::int64_t i = 0;
  for (; i + W <= n; i += W) f(Chunk<T, true>{i, W});
  if (i < n) f(Chunk<T, false>{i, n - i});
}

/// Lanes of a sum over a row: element i adds to lane i % kSumLanes, and the lanes are added by halves. A warp
/// of a GPU can keep this order. Rows of fewer elements are summed in order.
inline constexpr int kSumLanes = 32;

/// K sums over a row of n elements. f(chunk, acc) adds a chunk's terms to K vectors, 0 for lanes beyond the
/// row, and g(i, acc) those of element i to K numbers.
template <class T, int K, class F, class G>
inline void row_sums(std::int64_t n, F f, G g, T* sums) {
  constexpr int W = Simd<T>::width, parts = kSumLanes / W;
  if (n < kSumLanes) {
    for (int k = 0; k < K; ++k) sums[k] = T(0);
    for (std::int64_t i = 0; i < n; ++i) g(i, sums);
    return;
  }
  // Loops that the first pass of a compiler undoes leave the sums in registers.
  const auto for_parts = [](auto part) {
    [part]<int... u>(std::integer_sequence<int, u...>) { (part(std::integral_constant<int, u>()), ...); }
    (std::make_integer_sequence<int, parts>());
  };
  SimdOf<T> acc[parts][K] = {};
  std::int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes)
    for_parts([&](auto u) { f(Chunk<T, true>{i + u * W, W}, acc[u]); });
  if (i < n)
    for_parts([&](auto u) {
      const std::int64_t at = i + u * W;
      if (at + W <= n) {
        f(Chunk<T, true>{at, W}, acc[u]);
      } else if (at < n) {
        f(Chunk<T, false>{at, n - at}, acc[u]);
      }
    });
  for (int half = parts / 2; half > 0; half /= 2)
    for (int u = 0; u < half; ++u)
      for (int k = 0; k < K; ++k) acc[u][k] = acc[u][k] + acc[u + half][k];
  lane_sums<T, K>(acc[0], sums);
}
/// The sum of n elements.
template <class T>
inline T row_sum(std::int64_t n, const T* x) {
  T sum;
  row_sums<T, 1>(
      n, [x](const auto& at, SimdOf<T>* acc) { acc[0] = acc[0] + at.of(x); },
      [x](std::int64_t i, T* acc) { acc[0] = acc[0] + x[i]; }, &sum);
  return sum;
}

/// n elements from `from` to `to`, which do not overlap: for short rows, where a call would cost more.
template <class T>
inline void copy_row(std::int64_t n, const T* from, T* to) {
  constexpr int W = Simd<T>::width;
  if (n < W) {
    if (n > 0) store_first<T>(to, load_first(from, n), n);
    return;
  }
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store(to + i, load(from + i));
  if (i < n) store(to + n - W, load(from + n - W));
}

}  // namespace rankine::kernels
