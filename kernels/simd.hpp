// Vectors of the machine compiled for. GCC and Clang lower operations on them to one instruction each; sums
// keep their lanes, so that their order, and with it their bits, is what the source says.
#pragma once

#include <cstdint>
#include <cstring>

namespace rankine::kernels {

#if defined(__AVX__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

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
/// v, loaded once: GCC would rather read a vector from memory in each instruction that uses it, which the
/// load ports of a core cannot follow.
template <class V>
inline V in_register(V v) {
#if defined(__AVX__)
  asm("" : "+x"(v));
#endif
  return v;
}
/// The sum of the lanes, by halves.
template <class T>
inline T lane_sum(SimdOf<T> v) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
  if constexpr (Simd<T>::width == 8) {
    v = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    return (v + __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6))[0];
  } else if constexpr (Simd<T>::width == 4) {
    v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return (v + __builtin_shufflevector(v, v, 1, 0, 3, 2))[0];
  }
#endif
  T lanes[Simd<T>::width];
  std::memcpy(lanes, &v, sizeof v);
  for (int half = Simd<T>::width / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  return lanes[0];
}

/// n elements from `from` to `to`, which do not overlap: for short rows, where a call would cost more.
template <class T>
inline void copy_row(std::int64_t n, const T* from, T* to) {
  constexpr int W = Simd<T>::width;
  if (n < W) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store(to + i, load(from + i));
  if (i < n) store(to + n - W, load(from + n - W));
}

}  // namespace rankine::kernels
