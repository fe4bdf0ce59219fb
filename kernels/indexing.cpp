#include "kernels/indexing.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/elements.hpp"
#include "kernels/map.hpp"
#include "kernels/reduce.hpp"
#include "kernels/rows.hpp"

namespace rankine::kernels {
namespace indexing {

/// Pieces of n elements that are only moved: any division gives the same result, and a large one is what
/// memcpy is fastest at.
std::int64_t piece_of(std::int64_t n) {
  const std::int64_t pieces = n <= kChunk ? 1 : backend_concurrency();
  return std::max<std::int64_t>((n + pieces - 1) / pieces, 1);
}

template <class W>
struct CopyFlat {
  std::int64_t n, per;
  View<const W> x;
  View<W> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const { y[i] = x[i]; }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t begin = block * per, end = begin + per < n ? begin + per : n;
    if (begin >= end) return;
    std::memcpy(static_cast<void*>(y.at(begin)), x.at(begin),
                static_cast<std::size_t>(end - begin) * sizeof(W));
  }
#endif
};

template <class W>
inline __attribute__((always_inline)) void copy_row(std::int64_t n, W* to, std::int64_t to_step,
                                                    const W* from, std::int64_t from_step) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
  for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
}

template <class W>
struct CopyStrided {
  Strided<2> s;
  std::int64_t rows, rows_per_block;
  View<const W> x;
  View<W> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    std::int64_t to = 0, from = 0;
    for (int axis = s.rank - 1; axis >= 0; --axis) {
      const std::int64_t here = i % s.extent[axis];
      i /= s.extent[axis];
      to += here * s.step[0][axis];
      from += here * s.step[1][axis];
    }
    y[to] = x[from];
  }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t first = block * rows_per_block;
    const std::int64_t last = first + rows_per_block < rows ? first + rows_per_block : rows;
    const int inner = s.rank - 1;
    const std::int64_t n = s.extent[inner], to_step = s.step[0][inner], from_step = s.step[1][inner];
    std::int64_t index[kMaxAxes] = {}, to = 0, from = 0;
    for (std::int64_t axis = inner - 1, r = first; axis >= 0; --axis) {
      index[axis] = r % s.extent[axis];
      r /= s.extent[axis];
      to += index[axis] * s.step[0][axis];
      from += index[axis] * s.step[1][axis];
    }
    for (std::int64_t r = first; r < last; ++r) {
      W* const target = y.at(to);
      const W* const source = x.at(from);
      if (to_step == 1 && from_step == 1)
        std::memcpy(static_cast<void*>(target), source, static_cast<std::size_t>(n) * sizeof(W));
      else if (to_step == 1 && from_step == 2)
        copy_row(n, target, 1, source, 2);  // real parts
      else if (to_step == 1)
        copy_row(n, target, 1, source, from_step);
      else
        copy_row(n, target, to_step, source, from_step);
      for (int axis = inner - 1; axis >= 0; --axis) {
        to += s.step[0][axis];
        from += s.step[1][axis];
        if (++index[axis] < s.extent[axis]) break;
        to -= s.step[0][axis] * s.extent[axis];
        from -= s.step[1][axis] * s.extent[axis];
        index[axis] = 0;
      }
    }
  }
#endif
};

template <class W>
struct Fill {
  std::int64_t n, per;
  W value;
  bool zero;
  View<W> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const { y[i] = value; }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t begin = block * per, end = begin + per < n ? begin + per : n;
    if (begin >= end) return;
    W* const to = y.at(0);
    const W filler = value;
    if (zero)
      std::memset(static_cast<void*>(to + begin), 0, static_cast<std::size_t>(end - begin) * sizeof(W));
    else
      for (std::int64_t i = begin; i < end; ++i) to[i] = filler;
  }
#endif
};

struct Outside {
  std::int64_t extent;
  View<const std::int64_t> index;
  RANKINE_KERNEL std::int64_t operator()(std::int64_t i) const {
    return index[i] < 0 || index[i] >= extent ? i + 1 : 0;
  }
};

RANKINE_FORCEINLINE std::int64_t within(std::int64_t index, std::int64_t extent) {
  index = index < extent ? index : extent - 1;
  return index > 0 ? index : 0;
}
/// A row of the result.
template <class W>
struct GatherRows {
  std::int64_t extent, rows, inner;
  View<const std::int64_t> index;
  View<const W> x;
  View<W> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t r, const Columns& columns) const {
    const std::int64_t source = (o * extent + within(index[r], extent)) * inner, to = (o * rows + r) * inner;
#if RANKINE_ON_DEVICE
    y[to + columns.begin] = x[source + columns.begin];
#else
    std::memcpy(static_cast<void*>(y.at(to)), x.at(source),
                static_cast<std::size_t>(columns.end) * sizeof(W));
#endif
  }
};
/// Rows of one element.
template <class W>
struct GatherElements {
  std::int64_t extent, rows;
  View<const std::int64_t> index;
  View<const W> x;
  View<W> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t /*row*/, const Columns& columns) const {
    columns.each([&](std::int64_t r) { y[o * rows + r] = x[o * extent + within(index[r], extent)]; });
  }
};

#if RANKINE_ON_DEVICE
// Merge sort of the positions, a thread an element: equal indices stay in order, so there is one result.
inline constexpr std::int64_t kSorted = 32;
struct SortKey {
  std::int64_t targets;
  View<const std::int64_t> index;
  RANKINE_KERNEL std::int64_t operator()(std::int64_t position) const {
    const std::int64_t key = index[position];
    return key < 0 || key >= targets ? targets : key;
  }
};
struct SortRuns {
  std::int64_t n;
  SortKey key;
  View<std::int64_t> order;
  RANKINE_KERNEL void operator()(std::int64_t run) const {
    const std::int64_t begin = run * kSorted, end = begin + kSorted < n ? begin + kSorted : n;
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t at = i;
      for (; at > begin && key(order[at - 1]) > key(i); --at) order[at] = order[at - 1];
      order[at] = i;
    }
  }
};
struct MergeRuns {
  std::int64_t n, length;
  SortKey key;
  View<const std::int64_t> from;
  View<std::int64_t> to;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t begin = i / (2 * length) * (2 * length);
    const std::int64_t middle = begin + length < n ? begin + length : n;
    const std::int64_t end = begin + 2 * length < n ? begin + 2 * length : n;
    const bool left = i < middle;
    const std::int64_t mine = key(from[i]);
    // How many of the other run stand before.
    std::int64_t low = left ? middle : begin, high = left ? end : middle;
    const std::int64_t start = low;
    while (low < high) {
      const std::int64_t half = (low + high) / 2, other = key(from[half]);
      if (left ? other < mine : other <= mine)
        low = half + 1;
      else
        high = half;
    }
    to[(left ? i : i - (middle - begin)) + (low - start)] = from[i];
  }
};
struct TargetBegins {
  std::int64_t n;
  SortKey key;
  View<const std::int64_t> order;
  View<std::int64_t> begin;
  RANKINE_KERNEL void operator()(std::int64_t target) const {
    std::int64_t low = 0, high = n;
    while (low < high) {
      const std::int64_t half = (low + high) / 2;
      if (key(order[half]) < target)
        low = half + 1;
      else
        high = half;
    }
    begin[target] = low;
  }
};
#else
struct CountIndex {
  std::int64_t n, targets;
  View<const std::int64_t> index;
  View<std::int64_t> order, begin;
  void operator()(std::int64_t /*block*/) const {
    std::int64_t* const at = begin.at(0);
    const auto inside = [&](std::int64_t target) { return target >= 0 && target < targets; };
    std::fill_n(at, targets + 1, 0);
    for (std::int64_t i = 0; i < n; ++i)
      if (inside(index[i])) ++at[index[i] + 1];
    for (std::int64_t t = 0; t < targets; ++t) at[t + 1] += at[t];
    for (std::int64_t i = 0; i < n; ++i)
      if (inside(index[i])) order[at[index[i]]++] = i;
    // Each begin has moved to where the next one was.
    for (std::int64_t t = targets; t > 0; --t) at[t] = at[t - 1];
    at[0] = 0;
  }
};
#endif

template <class T>
struct SumByTarget {
  std::int64_t n, targets, inner;
  View<const std::int64_t> order, begin;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t target, const Columns& columns) const {
    const std::int64_t first = begin[target], last = begin[target + 1], to = (o * targets + target) * inner;
    columns.each([&](std::int64_t i) { y[to + i] = T(0); });
    for (std::int64_t k = first; k < last; ++k) {
      const std::int64_t from = (o * n + order[k]) * inner;
      columns.each([&](std::int64_t i) { y[to + i] += x[from + i]; });
    }
  }
};
/// Rows of one element, of a few outer ones side by side: their chains of sums overlap.
template <class T>
struct SumElementsByTarget {
  static constexpr int kTogether = RANKINE_ON_DEVICE ? 1 : 4;
  std::int64_t outer, n, targets;
  View<const std::int64_t> order, begin;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t group, std::int64_t /*row*/, const Columns& columns) const {
    std::int64_t o = group * kTogether;
    if (o + kTogether <= outer) return few<kTogether>(o, columns);
    for (; o < outer; ++o) few<1>(o, columns);
  }
  template <int kFew>
  RANKINE_KERNEL void few(std::int64_t o, const Columns& columns) const {
    const T* const from = x.at(o * n);
    T* const to = y.at(o * targets);
    const std::int64_t* const places = order.at(0);
    columns.each([&](std::int64_t target) {
      T sum[kFew] = {};
      for (std::int64_t k = begin[target]; k < begin[target + 1]; ++k)
        for (int j = 0; j < kFew; ++j) sum[j] += from[j * n + places[k]];
      for (int j = 0; j < kFew; ++j) to[j * targets + target] = sum[j];
    });
  }
};

}  // namespace indexing

using namespace indexing;

void copy(std::size_t bytes, const Strided<2>& s, DevicePtr<const std::byte> x, DevicePtr<std::byte> y) {
  const std::int64_t count = s.count();
  if (count == 0) return;
  count_work("copy", {0, static_cast<double>(bytes) * static_cast<double>(count + s.distinct(1))});
  for_word(bytes, [&](auto word) {
    using W = decltype(word);
    const bool flat = s.rank == 0 || (s.rank == 1 && s.step[0][0] == 1 && s.step[1][0] == 1);
    if (flat) {
      const std::int64_t per = piece_of(count);
      const CopyFlat<W> body{count, per, x.as<const W>(), y.as<W>()};
#if RANKINE_ON_DEVICE
      device_range("copy", count, body);
#else
      host_blocks("copy", (count + per - 1) / per, body);
#endif
      return;
    }
    const std::int64_t n = s.extent[s.rank - 1], rows = count / n, per = kChunk / n + 1;
    const CopyStrided<W> body{s, rows, per, x.as<const W>(), y.as<W>()};
#if RANKINE_ON_DEVICE
    device_range("copy", count, body);
#else
    host_blocks("copy", (rows + per - 1) / per, body);
#endif
  });
}

void fill(std::size_t bytes, std::int64_t n, const void* value, DevicePtr<std::byte> y) {
  count_work("fill", {0, static_cast<double>(bytes) * static_cast<double>(n)});
  for_word(bytes, [&](auto word) {
    using W = decltype(word);
    W filler{};
    const W nothing{};
    std::memcpy(static_cast<void*>(&filler), value, sizeof filler);
    const std::int64_t per = piece_of(n);
    const Fill<W> body{n, per, filler, std::memcmp(&filler, &nothing, sizeof filler) == 0, y.as<W>()};
#if RANKINE_ON_DEVICE
    device_range("fill", n, body);
#else
    host_blocks("fill", (n + per - 1) / per, body);
#endif
  });
}

std::int64_t first_outside_workspace(std::int64_t n) { return reduce_workspace(1, n); }

void first_outside(std::int64_t n, std::int64_t extent, DevicePtr<const std::int64_t> index,
                   DevicePtr<std::int64_t> first, DevicePtr<std::int64_t> work) {
  count_work("check_index", {0, in_bytes<std::int64_t>(n + 1)});
  reduce<FirstFlag>("check_index", Outside{extent, index}, 1, n, first, work);
}

void gather_rows(std::size_t bytes, std::int64_t outer, std::int64_t extent, std::int64_t rows,
                 std::int64_t inner, DevicePtr<const std::int64_t> index, DevicePtr<const std::byte> x,
                 DevicePtr<std::byte> y) {
  count_work("gather", {0, 2 * static_cast<double>(bytes) * static_cast<double>(outer * rows * inner) +
                               in_bytes<std::int64_t>(rows)});
  for_word(bytes, [&](auto word) {
    using W = decltype(word);
    if (inner == 1)
      grid("gather", outer, 1, rows, GatherElements<W>{extent, rows, index, x.as<const W>(), y.as<W>()});
    else
      grid("gather", outer, rows, inner,
           GatherRows<W>{extent, rows, inner, index, x.as<const W>(), y.as<W>()});
  });
}

void inverse_index(std::int64_t n, std::int64_t targets, DevicePtr<const std::int64_t> index,
                   DevicePtr<std::int64_t> order, DevicePtr<std::int64_t> begin,
                   DevicePtr<std::int64_t> work) {
  count_work("inverse_index", {0, in_bytes<std::int64_t>(2 * n + targets + 1)});
#if RANKINE_ON_DEVICE
  const SortKey key{targets, index};
  int merges = 0;
  for (std::int64_t length = kSorted; length < n; length *= 2) ++merges;
  DevicePtr<std::int64_t> from = merges % 2 == 0 ? order : work, to = merges % 2 == 0 ? work : order;
  device_range("inverse_index", (n + kSorted - 1) / kSorted, SortRuns{n, key, from});
  for (std::int64_t length = kSorted; length < n; length *= 2) {
    device_range("inverse_index", n, MergeRuns{n, length, key, from, to});
    std::swap(from, to);
  }
  device_range("inverse_index", targets + 1, TargetBegins{n, key, order, begin});
#else
  static_cast<void>(work);
  host_blocks("inverse_index", 1, CountIndex{n, targets, index, order, begin});
#endif
}

template <class T>
void sum_by_target(std::int64_t outer, std::int64_t n, std::int64_t targets, std::int64_t inner,
                   DevicePtr<const std::int64_t> order, DevicePtr<const std::int64_t> begin,
                   DevicePtr<const T> x, DevicePtr<T> y) {
  using E = Element<T>;
  count_work("sum_by_target",
             {static_cast<double>(outer * n * inner),
              in_bytes<T>(outer * (n + targets) * inner) + in_bytes<std::int64_t>(n + targets + 1)});
  if (inner == 1)
    grid("sum_by_target", (outer + SumElementsByTarget<E>::kTogether - 1) / SumElementsByTarget<E>::kTogether,
         1, targets, SumElementsByTarget<E>{outer, n, targets, order, begin, elements(x), elements(y)});
  else
    grid("sum_by_target", outer, targets, inner,
         SumByTarget<E>{n, targets, inner, order, begin, elements(x), elements(y)});
}
#define RANKINE_INSTANTIATE(T)                                                                 \
  template void sum_by_target<T>(std::int64_t, std::int64_t, std::int64_t, std::int64_t,       \
                                 DevicePtr<const std::int64_t>, DevicePtr<const std::int64_t>, \
                                 DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
RANKINE_INSTANTIATE(std::complex<float>)
RANKINE_INSTANTIATE(std::complex<double>)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
