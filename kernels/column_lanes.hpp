// Neighbouring columns of a field as the lanes of a vector, with operations that give the same bits for a
// column whatever columns stand beside it.
#pragma once

#include "kernels/inline.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine::kernels {

#if defined(__GNUC__) && !defined(__CUDACC__)
template <class T>
struct FourInVector {
  typedef T Group __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T))));
};
template <class T>
using Four = FourInVector<T>;
#else
template <class T>
struct FourInOrder {
  struct Group {
    T lanes[4];
    RANKINE_FORCEINLINE T& operator[](int i) { return lanes[i]; }
    RANKINE_FORCEINLINE const T& operator[](int i) const { return lanes[i]; }
  };
};
template <class T>
using Four = FourInOrder<T>;
#endif

/// `width` neighbouring columns of one cell, in groups of four: GCC keeps a group in one vector register, but
/// would leave one long array in memory. What a group is stands in the name, because a program may hold what
/// two compilers made of this.
template <class T, int width, class GroupOf = Four<T>>
struct ColumnLanes {
  static_assert(width % 4 == 0);
  using Group = typename GroupOf::Group;
  Group groups[width / 4];

  RANKINE_FORCEINLINE static ColumnLanes load(const T* from) {
    ColumnLanes lanes;
    for (int g = 0; g < width / 4; ++g) {
      for (int c = 0; c < 4; ++c) lanes.groups[g][c] = from[4 * g + c];
    }
    return lanes;
  }
  RANKINE_FORCEINLINE void store(T* to) const {
    for (int g = 0; g < width / 4; ++g) {
      for (int c = 0; c < 4; ++c) to[4 * g + c] = groups[g][c];
    }
  }
  RANKINE_FORCEINLINE friend ColumnLanes multiply_add(T a, const ColumnLanes& b, const ColumnLanes& c) {
    ColumnLanes sum;
    for (int g = 0; g < width / 4; ++g) {
      const Group x = b.groups[g], y = c.groups[g];
      sum.groups[g] = Group{kernels::multiply_add(a, x[0], y[0]), kernels::multiply_add(a, x[1], y[1]),
                            kernels::multiply_add(a, x[2], y[2]), kernels::multiply_add(a, x[3], y[3])};
    }
    return sum;
  }
  RANKINE_FORCEINLINE friend ColumnLanes operator*(T a, const ColumnLanes& b) {
    ColumnLanes product;
    for (int g = 0; g < width / 4; ++g) {
      const Group x = b.groups[g];
      product.groups[g] = Group{a * x[0], a * x[1], a * x[2], a * x[3]};
    }
    return product;
  }
};

template <class T, class GroupOf>
struct ColumnLanes<T, 1, GroupOf> {
  T lane;

  RANKINE_FORCEINLINE static ColumnLanes load(const T* from) { return {*from}; }
  RANKINE_FORCEINLINE void store(T* to) const { *to = lane; }
  RANKINE_FORCEINLINE friend ColumnLanes multiply_add(T a, const ColumnLanes& b, const ColumnLanes& c) {
    return {kernels::multiply_add(a, b.lane, c.lane)};
  }
  RANKINE_FORCEINLINE friend ColumnLanes operator*(T a, const ColumnLanes& b) { return {a * b.lane}; }
};

}  // namespace rankine::kernels
