// Neighbouring columns of a field as the lanes of a vector, with operations that give the same bits for a
// column whatever columns stand beside it.
#pragma once

#include <Kokkos_Core.hpp>

#include "kernels/multiply_add.hpp"

namespace rankine::kernels {

/// `width` neighbouring columns of one cell, in groups of four: GCC keeps a group in one vector register, but
/// would leave one long array in memory.
template <class T, int width>
struct ColumnLanes {
  static_assert(width % 4 == 0);
#if defined(__GNUC__) && !defined(__CUDACC__)
  typedef T Group __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T))));
#else
  using Group = Kokkos::Array<T, 4>;
#endif
  Group groups[width / 4];

  KOKKOS_FORCEINLINE_FUNCTION static ColumnLanes load(const T* from) {
    ColumnLanes lanes;
    for (int g = 0; g < width / 4; ++g) {
      for (int c = 0; c < 4; ++c) lanes.groups[g][c] = from[4 * g + c];
    }
    return lanes;
  }
  KOKKOS_FORCEINLINE_FUNCTION void store(T* to) const {
    for (int g = 0; g < width / 4; ++g) {
      for (int c = 0; c < 4; ++c) to[4 * g + c] = groups[g][c];
    }
  }
  KOKKOS_FORCEINLINE_FUNCTION friend ColumnLanes multiply_add(T a, const ColumnLanes& b,
                                                              const ColumnLanes& c) {
    ColumnLanes sum;
    for (int g = 0; g < width / 4; ++g) {
      const Group x = b.groups[g], y = c.groups[g];
      sum.groups[g] = Group{kernels::multiply_add(a, x[0], y[0]), kernels::multiply_add(a, x[1], y[1]),
                            kernels::multiply_add(a, x[2], y[2]), kernels::multiply_add(a, x[3], y[3])};
    }
    return sum;
  }
  KOKKOS_FORCEINLINE_FUNCTION friend ColumnLanes operator*(T a, const ColumnLanes& b) {
    ColumnLanes product;
    for (int g = 0; g < width / 4; ++g) {
      const Group x = b.groups[g];
      product.groups[g] = Group{a * x[0], a * x[1], a * x[2], a * x[3]};
    }
    return product;
  }
};

template <class T>
struct ColumnLanes<T, 1> {
  T lane;

  KOKKOS_FORCEINLINE_FUNCTION static ColumnLanes load(const T* from) { return {*from}; }
  KOKKOS_FORCEINLINE_FUNCTION void store(T* to) const { *to = lane; }
  KOKKOS_FORCEINLINE_FUNCTION friend ColumnLanes multiply_add(T a, const ColumnLanes& b,
                                                              const ColumnLanes& c) {
    return {kernels::multiply_add(a, b.lane, c.lane)};
  }
  KOKKOS_FORCEINLINE_FUNCTION friend ColumnLanes operator*(T a, const ColumnLanes& b) { return {a * b.lane}; }
};

}  // namespace rankine::kernels
