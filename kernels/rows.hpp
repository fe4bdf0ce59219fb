// Kernels that treat each row as a whole (softmax, norms), and kernels that run along an axis in order for
// many columns at once (scans, recurrences, sums over an outer axis). kernels/ only.
#pragma once

#include "kernels/launch.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {

/// Rows of this length and more are summed in so many lanes, then by halves; shorter ones in order. On a
/// device that is a warp a row, and a thread a row.
inline constexpr int kRowLanes = 32;

/// What a body of rows() gets: the row's elements, looped over by whoever works on the row.
#if !RANKINE_ON_DEVICE
struct RowGroup {
  template <class F>
  inline __attribute__((always_inline)) void each(std::int64_t n, const F& f) const {
    if (n < kRowLanes) {
      for (std::int64_t i = 0; i < n; ++i) f(i);
      return;
    }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }
  template <class T, class F>
  inline __attribute__((always_inline)) T sum(std::int64_t n, const F& f) const {
    if (n < kRowLanes) {
      T total = 0;
      for (std::int64_t i = 0; i < n; ++i) total = total + f(i);
      return total;
    }
    T lanes[kRowLanes];
    for (int j = 0; j < kRowLanes; ++j) lanes[j] = T(0);
    std::int64_t i = 0;
    for (; i + kRowLanes <= n; i += kRowLanes)
      for (int j = 0; j < kRowLanes; ++j) lanes[j] = lanes[j] + f(i + j);
    for (int j = 0; i < n; ++i, ++j) lanes[j] = lanes[j] + f(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2)
      for (int j = 0; j < w; ++j) lanes[j] = lanes[j] + lanes[j + w];
    return lanes[0];
  }
  /// As sum(), of terms that f(i, sum) adds to the sum it is given.
  template <class T, class F>
  inline __attribute__((always_inline)) T fold(std::int64_t n, const F& f) const {
    if (n < kRowLanes) {
      T total = 0;
      for (std::int64_t i = 0; i < n; ++i) total = f(i, total);
      return total;
    }
    T lanes[kRowLanes];
    for (int j = 0; j < kRowLanes; ++j) lanes[j] = T(0);
    std::int64_t i = 0;
    for (; i + kRowLanes <= n; i += kRowLanes)
      for (int j = 0; j < kRowLanes; ++j) lanes[j] = f(i + j, lanes[j]);
    for (int j = 0; i < n; ++i, ++j) lanes[j] = f(i, lanes[j]);
    for (int w = kRowLanes / 2; w > 0; w /= 2)
      for (int j = 0; j < w; ++j) lanes[j] = lanes[j] + lanes[j + w];
    return lanes[0];
  }
  template <class T, class F>
  inline __attribute__((always_inline)) T max(std::int64_t n, const F& f) const {
    T top = f(0);
    std::int64_t i = 1;
    if (n >= kRowLanes) {
      T lanes[kRowLanes];
      for (int j = 0; j < kRowLanes; ++j) lanes[j] = f(j);
      for (i = kRowLanes; i + kRowLanes <= n; i += kRowLanes)
        for (int j = 0; j < kRowLanes; ++j) {
          const T v = f(i + j);
          lanes[j] = larger(lanes[j], v);
        }
      top = lanes[0];
      for (int j = 1; j < kRowLanes; ++j) top = larger(top, lanes[j]);
    }
    for (; i < n; ++i) {
      const T v = f(i);
      top = larger(top, v);
    }
    return top;
  }
  bool leader() const { return true; }
};
template <class Body>
struct RowChunk {
  Body body;
  std::int64_t rows, per_block;
  inline void operator()(std::int64_t block) const {
    const Body local = body;
    const std::int64_t end = (block + 1) * per_block < rows ? (block + 1) * per_block : rows;
    for (std::int64_t r = block * per_block; r < end; ++r) local(r, RowGroup{});
  }
};
#else
struct WarpGroup {
  template <class F>
  RANKINE_KERNEL void each(std::int64_t n, const F& f) const {
    for (std::int64_t i = lane_index(); i < n; i += kRowLanes) f(i);
    __syncwarp();
  }
  template <class T, class F>
  RANKINE_KERNEL T sum(std::int64_t n, const F& f) const {
    T s = 0;
    for (std::int64_t i = lane_index(); i < n; i += kRowLanes) s = s + f(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2) s = s + __shfl_down_sync(0xffffffffu, s, w, kRowLanes);
    return __shfl_sync(0xffffffffu, s, 0, kRowLanes);
  }
  template <class T, class F>
  RANKINE_KERNEL T fold(std::int64_t n, const F& f) const {
    T s = 0;
    for (std::int64_t i = lane_index(); i < n; i += kRowLanes) s = f(i, s);
    for (int w = kRowLanes / 2; w > 0; w /= 2) s = s + __shfl_down_sync(0xffffffffu, s, w, kRowLanes);
    return __shfl_sync(0xffffffffu, s, 0, kRowLanes);
  }
  template <class T, class F>
  RANKINE_KERNEL T max(std::int64_t n, const F& f) const {
    T top = f(static_cast<std::int64_t>(lane_index()) < n ? lane_index() : 0);
    for (std::int64_t i = lane_index() + kRowLanes; i < n; i += kRowLanes) {
      const T v = f(i);
      top = larger(top, v);
    }
    for (int w = kRowLanes / 2; w > 0; w /= 2) {
      const T v = __shfl_xor_sync(0xffffffffu, top, w, kRowLanes);
      top = larger(top, v);
    }
    return top;
  }
  RANKINE_KERNEL bool leader() const { return lane_index() == 0; }
};
struct ThreadGroup {
  template <class F>
  RANKINE_KERNEL void each(std::int64_t n, const F& f) const {
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }
  template <class T, class F>
  RANKINE_KERNEL T sum(std::int64_t n, const F& f) const {
    T s = 0;
    for (std::int64_t i = 0; i < n; ++i) s = s + f(i);
    return s;
  }
  template <class T, class F>
  RANKINE_KERNEL T fold(std::int64_t n, const F& f) const {
    T s = 0;
    for (std::int64_t i = 0; i < n; ++i) s = f(i, s);
    return s;
  }
  template <class T, class F>
  RANKINE_KERNEL T max(std::int64_t n, const F& f) const {
    T top = f(0);
    for (std::int64_t i = 1; i < n; ++i) {
      const T v = f(i);
      top = larger(top, v);
    }
    return top;
  }
  RANKINE_KERNEL bool leader() const { return true; }
};
template <class Body>
struct RowThread {
  Body body;
  RANKINE_KERNEL void operator()(std::int64_t row) const { body(row, ThreadGroup{}); }
};
template <class Body>
struct RowWarp {
  Body body;
  std::int64_t rows;
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const std::int64_t row = team.league_rank() * std::int64_t(team.team_size()) + team.team_rank();
    if (row < rows) body(row, WarpGroup{});
  }
};
#endif

/// body(row, group) for each row of n elements. The body is a template over the group: group.each(n, f),
/// group.sum<T>(n, f), group.max<T>(n, f) with f(i), group.fold<T>(n, f) with f(i, sum); only where
/// group.leader() it writes one value a row. Within a body, what one each() writes the next one may read only
/// at the same i.
template <class Body>
void rows(const char* name, std::int64_t count, std::int64_t n, const Body& body) {
#if RANKINE_ON_DEVICE
  if (n < kRowLanes)
    device_range(name, count, RowThread<Body>{body});
  else
    device_teams(name, (count + 3) / 4, 4, kRowLanes, 0, RowWarp<Body>{body, count});
#else
  const std::int64_t per = n >= kChunk ? 1 : kChunk / (n + 1) + 1;
  host_blocks(name, (count + per - 1) / per, RowChunk<Body>{body, count, per});
#endif
}

/// Neighbouring columns that one worker takes: all of a chunk on the host, one on a device.
struct Columns {
  std::int64_t begin, end;
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void each(const F& f) const {
#if RANKINE_ON_DEVICE
    f(begin);
#else
    if (end - begin == 1) return f(begin);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
    for (std::int64_t j = begin; j < end; ++j) f(j);
#endif
  }
};
inline constexpr std::int64_t kColumnsPerBlock = 1024;

template <class Body>
struct ColumnBlock {
  Body body;
  std::int64_t width, blocks, per;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    if (blocks == 1) return body(i, Columns{0, width});
    const std::int64_t begin = (i % blocks) * per;
    body(i / blocks, Columns{begin, begin + per < width ? begin + per : width});
  }
};

/// body(unit, columns) for each unit: the body loops along its axis in order and calls columns.each(f) for
/// what it does there, f(j) for column j < width. Columns do not see each other.
template <class Body>
void columns(const char* name, std::int64_t count, std::int64_t width, const Body& body) {
  if (width <= 0) return;
#if RANKINE_ON_DEVICE
  const std::int64_t per = 1;
#else
  const std::int64_t per = kColumnsPerBlock;
#endif
  const std::int64_t blocks = (width + per - 1) / per;
  units(name, count * blocks, ColumnBlock<Body>{body, width, blocks, per});
}

template <class Body>
struct GridBlock {
  Body body;
  std::int64_t outer, rows, width, per;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t row = i / width;
    body(row / rows, row % rows, Columns{i % width, i % width + 1});
  }
#else
  inline void operator()(std::int64_t block) const {
    const Body local = body;
    const std::int64_t begin = block * per, end = begin + per < outer * rows ? begin + per : outer * rows;
    std::int64_t o = begin / rows, r = begin % rows;
    for (std::int64_t i = begin; i < end; ++i) {
      local(o, r, Columns{0, width});
      if (++r == rows) {
        r = 0;
        ++o;
      }
    }
  }
#endif
};

/// body(o, r, columns) for each row r of each o: what depends on other columns as little as in columns(), but
/// is short.
template <class Body>
void grid(const char* name, std::int64_t outer, std::int64_t rows, std::int64_t width, const Body& body) {
  if (outer <= 0 || rows <= 0 || width <= 0) return;
  const std::int64_t per = kChunk / width + 1;
  const GridBlock<Body> all{body, outer, rows, width, per};
#if RANKINE_ON_DEVICE
  device_range(name, outer * rows * width, all);
#else
  host_blocks(name, (outer * rows + per - 1) / per, all);
#endif
}

}  // namespace rankine::kernels
