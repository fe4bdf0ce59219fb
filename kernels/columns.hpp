// Sums along the outer axis for bodies of columns() and of parts in pairs. kernels/ only.
#pragma once

#include <type_traits>

#include "kernels/rows.hpp"

namespace rankine::kernels {

/// Sums of K functions over r = 0 .. n - 1, in order, for each of the columns: load(r, j, sum...) adds to the
/// sums, finish(j, sum...) takes them. On the host neighbouring columns go side by side through each r.
template <class T, int K, class Load, class Finish>
RANKINE_KERNEL void column_sums(const Columns& columns, std::int64_t n, const Load& load,
                                const Finish& finish) {
  static_assert(K == 1 || K == 2);
#if RANKINE_ON_DEVICE
  T a = T(0), b = T(0);
  for (std::int64_t r = 0; r < n; ++r) {
    if constexpr (K == 1) load(r, columns.begin, a);
    if constexpr (K == 2) load(r, columns.begin, a, b);
  }
  if constexpr (K == 1) finish(columns.begin, a);
  if constexpr (K == 2) finish(columns.begin, a, b);
#else
  constexpr std::int64_t wide = 32;
  // A full strip has a constant width, so that its sums stay in registers.
  const auto strip = [&](std::int64_t first, auto count) {
    T sums[K][wide];
    for (auto& sum : sums)
      for (std::int64_t j = 0; j < wide; ++j) sum[j] = T(0);
    for (std::int64_t r = 0; r < n; ++r)
      for (std::int64_t j = 0; j < count; ++j) {
        if constexpr (K == 1) load(r, first + j, sums[0][j]);
        if constexpr (K == 2) load(r, first + j, sums[0][j], sums[1][j]);
      }
    for (std::int64_t j = 0; j < count; ++j) {
      if constexpr (K == 1) finish(first + j, sums[0][j]);
      if constexpr (K == 2) finish(first + j, sums[0][j], sums[1][j]);
    }
  };
  std::int64_t first = columns.begin;
  for (; first + wide <= columns.end; first += wide)
    strip(first, std::integral_constant<std::int64_t, wide>());
  if (first < columns.end) strip(first, columns.end - first);
#endif
}

/// The sum of load(p), p = 0 .. n - 1, in adjacent pairs, level by level, an odd one carried up; n >= 1.
template <class T, class Load>
RANKINE_KERNEL T sum_in_pairs(std::int64_t n, const Load& load) {
  // Sums of 2^k neighbours that wait for theirs.
  T waiting[32] = {};
  for (std::int64_t p = 0; p < n; ++p) {
    T sum = load(p);
    int level = 0;
    for (; ((p >> level) & 1) != 0; ++level) sum = waiting[level] + sum;
    waiting[level] = sum;
  }
  int level = 0;
  while (((n >> level) & 1) == 0) ++level;
  T sum = waiting[level];
  for (++level; (n >> level) != 0; ++level)
    if (((n >> level) & 1) != 0) sum = waiting[level] + sum;
  return sum;
}

}  // namespace rankine::kernels
