// Reductions in a tree that depends on the number of elements only: 16 lanes over leaves of 256, halves of
// the lanes, then adjacent pairs of leaves. The same additions in the same order on host and device.
// kernels/ only.
#pragma once

#include "kernels/launch.hpp"

namespace rankine::kernels {

inline constexpr std::int64_t kLeaf = 256;
inline constexpr int kLeafLanes = 16;

/// Combine a sum. Others have the same two members.
template <class T>
struct Sum {
  KOKKOS_FORCEINLINE_FUNCTION static T identity() { return T(0); }
  KOKKOS_FORCEINLINE_FUNCTION static T combine(const T& a, const T& b) { return a + b; }
};

/// The smallest number that is not 0: of what is bad the first place, counted from 1.
struct FirstFlag {
  KOKKOS_FORCEINLINE_FUNCTION static std::int64_t identity() { return 0; }
  KOKKOS_FORCEINLINE_FUNCTION static std::int64_t combine(std::int64_t a, std::int64_t b) {
    if (a == 0) return b;
    return b == 0 || a < b ? a : b;
  }
};

/// Adjacent pairs, level by level, an odd one carried up: v[0] becomes the whole.
template <class C, class T>
KOKKOS_FORCEINLINE_FUNCTION T pair_tree(T* v, std::int64_t n) {
  for (; n > 1; n = (n + 1) / 2)
    for (std::int64_t i = 0; 2 * i < n; ++i)
      v[i] = 2 * i + 1 < n ? C::combine(v[2 * i], v[2 * i + 1]) : v[2 * i];
  return v[0];
}

/// A leaf by one thread: of load(begin + i), i < n.
template <class T, class C, class Load>
RANKINE_KERNEL T leaf(const Load& load, std::int64_t begin, std::int64_t n) {
  T lanes[kLeafLanes];
  for (int j = 0; j < kLeafLanes; ++j) lanes[j] = C::identity();
  std::int64_t i = 0;
  for (; i + kLeafLanes <= n; i += kLeafLanes)
    for (int j = 0; j < kLeafLanes; ++j) lanes[j] = C::combine(lanes[j], load(begin + i + j));
  for (int j = 0; i < n; ++i, ++j) lanes[j] = C::combine(lanes[j], load(begin + i));
  for (int width = kLeafLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lanes[j] = C::combine(lanes[j], lanes[j + width]);
  return lanes[0];
}

#if !RANKINE_ON_DEVICE
/// A chunk of a row; chunks are whole subtrees of the row's tree.
template <class T, class C, class Load>
struct ReduceChunk {
  Load load;
  std::int64_t n, parts;
  View<T> out;  // [row][part]
  inline void operator()(std::int64_t block) const {
    const Load local = load;
    const std::int64_t row = parts == 1 ? block : block / parts, begin = (block - row * parts) * kChunk;
    const std::int64_t end = begin + kChunk < n ? begin + kChunk : n;
    T leaves[kChunk / kLeaf];
    std::int64_t count = 0;
    for (std::int64_t i = begin; i < end; i += kLeaf)
      leaves[count++] = leaf<T, C>(local, row * n + i, i + kLeaf < end ? kLeaf : end - i);
    out[block] = count == 0 ? C::identity() : pair_tree<C>(leaves, count);
  }
};
/// Rows of one leaf each, as many as make a chunk.
template <class T, class C, class Load>
struct ReduceRows {
  Load load;
  std::int64_t rows, n, per;
  View<T> out;
  inline void operator()(std::int64_t block) const {
    const Load local = load;
    const std::int64_t end = (block + 1) * per < rows ? (block + 1) * per : rows;
    for (std::int64_t row = block * per; row < end; ++row) out[row] = leaf<T, C>(local, row * n, n);
  }
};
template <class T, class C>
struct ReduceParts {
  std::int64_t parts;
  View<T> work, out;
  inline void operator()(std::int64_t row) const { out[row] = pair_tree<C>(work.at(row * parts), parts); }
};
#else
/// Half a warp a leaf.
template <class T, class C, class Load>
struct ReduceLeaf {
  Load load;
  std::int64_t n, leaves, all;
  View<T> out;  // [row][leaf]
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const std::int64_t here = team.league_rank() * std::int64_t(team.team_size()) + team.team_rank();
    const int lane = static_cast<int>(lane_index());
    const std::int64_t row = here / leaves, begin = (here % leaves) * kLeaf;
    const std::int64_t end = here >= all ? 0 : begin + kLeaf < n ? begin + kLeaf : n;
    T value = C::identity();
    for (std::int64_t i = begin + lane; i < end; i += kLeafLanes)
      value = C::combine(value, load(row * n + i));
    const unsigned mask = 0xffffu << (((warp_index() * 16u + lane_index()) & 31u) & 16u);
    for (int width = kLeafLanes / 2; width > 0; width /= 2)
      value = C::combine(value, shuffle_down(mask, value, width, kLeafLanes));
    if (lane == 0 && here < all) out[here] = value;
  }
};
/// One level of the tree of leaves.
template <class T, class C>
struct ReduceLevel {
  std::int64_t n, half;
  View<const T> in;
  View<T> out;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t row = i / half, k = i % half;
    out[i] = 2 * k + 1 < n ? C::combine(in[row * n + 2 * k], in[row * n + 2 * k + 1]) : in[row * n + 2 * k];
  }
};
#endif

/// Elements of work memory that reduce() needs.
inline std::int64_t reduce_workspace(std::int64_t rows, std::int64_t n) {
#if RANKINE_ON_DEVICE
  return 2 * rows * ((n + kLeaf - 1) / kLeaf);
#else
  return n <= kChunk ? 0 : rows * ((n + kChunk - 1) / kChunk);
#endif
}

/// out[row] = C over load(row * n + i), i < n. `load` holds numbers and Views.
template <class C, class T, class Load>
void reduce(const char* name, const Load& load, std::int64_t rows, std::int64_t n, DevicePtr<T> out,
            DevicePtr<T> work) {
  if (rows <= 0) return;
#if RANKINE_ON_DEVICE
  const std::int64_t leaves = n == 0 ? 1 : (n + kLeaf - 1) / kLeaf;
  DevicePtr<T> from = leaves == 1 ? out : work, to = work + rows * leaves;
  device_teams(name, (rows * leaves + 7) / 8, 8, kLeafLanes, 0,
               ReduceLeaf<T, C, Load>{load, n, leaves, rows * leaves, from});
  for (std::int64_t count = leaves; count > 1;) {
    const std::int64_t half = (count + 1) / 2;
    const DevicePtr<T> next = half == 1 ? out : to;
    device_range(name, rows * half, ReduceLevel<T, C>{count, half, from, next});
    to = from;
    from = next;
    count = half;
  }
#else
  if (n <= kLeaf) {
    const std::int64_t per = kChunk / (n + 1) + 1;
    host_blocks(name, (rows + per - 1) / per, ReduceRows<T, C, Load>{load, rows, n, per, out});
    return;
  }
  const std::int64_t parts = n == 0 ? 1 : (n + kChunk - 1) / kChunk;
  host_blocks(name, rows * parts, ReduceChunk<T, C, Load>{load, n, parts, parts == 1 ? out : work});
  if (parts > 1) host_blocks(name, rows, ReduceParts<T, C>{parts, work, out});
#endif
}

}  // namespace rankine::kernels
