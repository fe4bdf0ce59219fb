#include "kernels/reductions.hpp"

#include <algorithm>

#include "kernels/elements.hpp"
#include "kernels/reduce.hpp"
#include "kernels/rows.hpp"

namespace rankine::kernels {
namespace reductions {

template <class T>
struct LoadElement {
  View<const T> x;
  RANKINE_KERNEL const T& operator()(std::int64_t i) const { return x[i]; }
};

/// The largest power of two times `leaf` below n > leaf.
RANKINE_FORCEINLINE std::int64_t tree_middle(std::int64_t n, std::int64_t leaf) {
  std::int64_t half = leaf;
  while (2 * half < n) half *= 2;
  return half;
}

/// Sum of load(k), k < n, n > 0: leaves in order, then pairs of neighbours, as tree_middle() divides n. What
/// is open is kept in a stack of whole sub-trees.
template <class T, class Load>
RANKINE_FORCEINLINE T tree_of_leaves(std::int64_t n, std::int64_t leaf, const Load& load) {
  T open[48];
  int depth = 0;
  for (std::int64_t begin = 0, leaves = 1; begin < n; begin += leaf, ++leaves) {
    T sum = load(begin);
    const std::int64_t end = begin + leaf < n ? begin + leaf : n;
    for (std::int64_t k = begin + 1; k < end; ++k) sum = sum + load(k);
    for (std::int64_t pairs = leaves; pairs % 2 == 0; pairs /= 2) sum = open[--depth] + sum;
    open[depth++] = sum;
  }
  T sum = open[--depth];
  while (depth > 0) sum = open[--depth] + sum;
  return sum;
}

// Columns that the host sums at once: they stay in the first-level cache with the partial sums.
inline constexpr std::int64_t kSumLeaf = 4, kPartLeaf = 2;

#if !RANKINE_ON_DEVICE
inline constexpr std::int64_t kStrip = 1024;

/// The same tree for m columns at once. `partial` has m elements for each division.
template <class T>
void sum_strip(std::int64_t n, std::int64_t leaf, std::int64_t m, std::int64_t stride, const T* x, T* y,
               T* partial) {
  if (n <= leaf) {
    if (n == 1) {
      std::copy_n(x, m, y);
      return;
    }
    for (std::int64_t i = 0; i < m; ++i) y[i] = x[i] + x[stride + i];
    for (std::int64_t k = 2; k < n; ++k)
      for (std::int64_t i = 0; i < m; ++i) y[i] = y[i] + x[k * stride + i];
    return;
  }
  const std::int64_t half = tree_middle(n, leaf);
  sum_strip(half, leaf, m, stride, x, y, partial);
  sum_strip(n - half, leaf, m, stride, x + half * stride, partial, partial + m);
  for (std::int64_t i = 0; i < m; ++i) y[i] = y[i] + partial[i];
}

template <class T>
void sum_strip(std::int64_t n, std::int64_t leaf, std::int64_t m, std::int64_t stride, const T* x, T* y) {
  if (n == 0) {
    std::fill_n(y, m, T(0));
    return;
  }
  std::int64_t divisions = 0;
  for (std::int64_t left = n; left > leaf; left = tree_middle(left, leaf)) ++divisions;
  // Few divisions, as almost always, need no memory of their own.
  constexpr std::size_t usual = 10 * kStrip;
  const auto size = static_cast<std::size_t>(divisions * m);
  if (size <= usual) {
    alignas(T) std::byte room[usual * sizeof(T)];
    sum_strip(n, leaf, m, stride, x, y, reinterpret_cast<T*>(room));
  } else {
    std::vector<T> partial(size);
    sum_strip(n, leaf, m, stride, x, y, partial.data());
  }
}
#endif

template <class T>
struct SumColumns {
  std::int64_t n, inner;
  View<const T> x;
  View<T> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t from = i / inner * n * inner + i % inner;
    y[i] =
        n == 0 ? T(0) : tree_of_leaves<T>(n, kSumLeaf, [&](std::int64_t k) { return x[from + k * inner]; });
  }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t strips = (inner + kStrip - 1) / kStrip, o = block / strips;
    const std::int64_t i = block % strips * kStrip, m = inner - i < kStrip ? inner - i : kStrip;
    sum_strip(n, kSumLeaf, m, inner, x.at(o * n * inner + i), y.at(o * inner + i));
  }
#endif
};

inline constexpr int kPartsAtOnce = 32;
template <class T>
struct SumParts {
  std::int64_t begin, end;
  int count;
  List<std::int64_t, kPartsAtOnce> width, first;  // `first` column or strip of each part
  List<View<const T>, kPartsAtOnce> values;
  List<View<T>, kPartsAtOnce> total;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    int p = 0;
    while (p + 1 < count && i >= first[p + 1]) ++p;
    i -= first[p];
#if RANKINE_ON_DEVICE
    const std::int64_t m = width[p], from = begin * m + i;
    total[p][i] = begin == end ? T(0) : tree_of_leaves<T>(end - begin, kPartLeaf, [&](std::int64_t k) {
      return values[p][from + k * m];
    });
#else
    const std::int64_t column = i * kStrip, m = width[p] - column < kStrip ? width[p] - column : kStrip;
    sum_strip(end - begin, kPartLeaf, m, width[p], values[p].at(begin * width[p] + column),
              total[p].at(column));
#endif
  }
};

template <class T, bool kLargest>
struct FirstExtreme {
  std::int64_t n, inner;
  View<const T> x;
  View<std::int64_t> index;
  RANKINE_KERNEL void operator()(std::int64_t o, const Columns& columns) const {
    columns.each([&](std::int64_t i) {
      const std::int64_t from = o * n * inner + i;
      std::int64_t best = 0;
      T top = x[from];
      for (std::int64_t k = 1; k < n; ++k) {
        const T here = x[from + k * inner];
        if (kLargest ? here > top : here < top) {
          best = k;
          top = here;
        }
      }
      index[o * inner + i] = best;
    });
  }
};
template <class T>
struct AtIndex {
  std::int64_t n, inner;
  View<const std::int64_t> index;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t o, const Columns& columns) const {
    columns.each([&](std::int64_t i) {
      const std::int64_t at = o * inner + i;
      y[at] = x[(o * n + index[at]) * inner + i];
    });
  }
};
template <class T>
struct MarkIndex {
  std::int64_t n, inner;
  View<const std::int64_t> index;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t k, const Columns& columns) const {
    const std::int64_t row = o * n + k;
    columns.each([&](std::int64_t i) { y[row * inner + i] = index[o * inner + i] == k ? T(1) : T(0); });
  }
};

struct CountAndFirst {
  RANKINE_FORCEINLINE static NotFiniteFlag identity() { return {0, INT64_MAX}; }
  RANKINE_FORCEINLINE static NotFiniteFlag combine(const NotFiniteFlag& a, const NotFiniteFlag& b) {
    return {a.count + b.count, b.first < a.first ? b.first : a.first};
  }
};
template <class T>
struct LoadNotFinite {
  int parts;
  View<const T> x;
  RANKINE_KERNEL NotFiniteFlag operator()(std::int64_t i) const {
    bool finite = true;
    for (int p = 0; p < parts; ++p) {
      const T v = x[i * parts + p];
      finite = finite && v - v == T(0);
    }
    return finite ? CountAndFirst::identity() : NotFiniteFlag{1, i};
  }
};

/// What runs along n for many columns [outer, inner]: on the host a block of them takes each step together.
template <class Step>
struct Recurrence {
  std::int64_t outer, n, inner, per, strips;  // `per` of outer or of inner are a block
  bool reverse;
  Step step;
  /// From element to element of column c, from its first one on.
  RANKINE_KERNEL std::int64_t by() const { return reverse ? -inner : inner; }
  RANKINE_KERNEL std::int64_t first(std::int64_t c) const {
    return (c / inner * n + (reverse ? n - 1 : 0)) * inner + c % inner;
  }
  /// Some columns, each with its last value in a register.
  template <int kColumns>
  RANKINE_KERNEL void few(std::int64_t column) const {
    const Step local = step;
    std::int64_t at[kColumns];
    typename Step::Value value[kColumns];
    for (int j = 0; j < kColumns; ++j) {
      at[j] = first(column + j);
      value[j] = local.start(at[j]);
    }
    for (std::int64_t k = 1; k < n; ++k)
      for (int j = 0; j < kColumns; ++j) value[j] = local.next(at[j] += by(), value[j]);
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t column) const { few<1>(column); }
#else
  void operator()(std::int64_t block) const {
    if (inner < 2 * kFewColumns) {
      std::int64_t c = block * per * inner;
      const std::int64_t end = std::min(c + per * inner, outer * inner);
      for (; c + kFewColumns <= end; c += kFewColumns) few<kFewColumns>(c);
      for (; c < end; ++c) few<1>(c);
      return;
    }
    const std::int64_t o0 = strips > 1 ? block / strips : block * per;
    const std::int64_t o1 = strips > 1 ? o0 + 1 : std::min(o0 + per, outer);
    const std::int64_t i0 = strips > 1 ? block % strips * per : 0;
    const std::int64_t i1 = strips > 1 ? std::min(i0 + per, inner) : inner;
    const Step local = step;
    const std::int64_t back = -by();
    for (std::int64_t k = 0; k < n; ++k)
      for (std::int64_t o = o0; o < o1; ++o) {
        const std::int64_t row = first(o * inner) - k * back;
        const Columns columns{row + i0, row + i1};
        if (k == 0)
          columns.each([&](std::int64_t i) { local.start(i); });
        else
          columns.each([&](std::int64_t i) { local.next(i, local.value(i + back)); });
      }
  }
  static constexpr std::int64_t kFewColumns = 8;
#endif
};
template <class Step>
void recurrence(const char* name, std::int64_t outer, std::int64_t n, std::int64_t inner, bool reverse,
                const Step& step) {
  if (outer <= 0 || n <= 0 || inner <= 0) return;
  const std::int64_t count = outer * n * inner;
  count_work(name, {Step::kFlops * static_cast<double>(count),
                    in_bytes<typename Step::Value>(Step::kArrays * count)});
#if RANKINE_ON_DEVICE
  device_range(name, outer * inner, Recurrence<Step>{outer, n, inner, 1, 1, reverse, step});
#else
  const std::int64_t strips = (inner + kColumnsPerBlock - 1) / kColumnsPerBlock;
  const std::int64_t per = strips > 1 ? kColumnsPerBlock : (64 + inner - 1) / inner;
  host_blocks(name, strips > 1 ? outer * strips : (outer + per - 1) / per,
              Recurrence<Step>{outer, n, inner, per, strips, reverse, step});
#endif
}

template <class T>
struct CumulativeSum {
  using Value = T;
  static constexpr int kFlops = 1, kArrays = 2;  // an element, and those that are read or written
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL T value(std::int64_t i) const { return y[i]; }
  RANKINE_KERNEL T start(std::int64_t i) const { return y[i] = x[i]; }
  RANKINE_KERNEL T next(std::int64_t i, const T& before) const { return y[i] = x[i] + before; }
};
template <class T>
struct DiagonalScan {
  using Value = T;
  static constexpr int kFlops = std::is_floating_point_v<T> ? 2 : 8, kArrays = 3;
  View<const T> a, b;
  View<T> h;
  RANKINE_KERNEL T value(std::int64_t i) const { return h[i]; }
  RANKINE_KERNEL T start(std::int64_t i) const { return h[i] = b[i]; }
  RANKINE_KERNEL T next(std::int64_t i, const T& before) const {
    return h[i] = b[i] + times(T(a[i]), before);
  }
};

template <class T>
struct SegmentSum {
  std::int64_t n, inner, segments;
  View<const std::int64_t> offsets;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t s, const Columns& columns) const {
    const std::int64_t row = o * segments + s, begin = offsets[s], end = offsets[s + 1];
    if (inner == 1) {
      T sum(0);
      for (std::int64_t k = begin; k < end; ++k) sum += x[o * n + k];
      y[row] = sum;
      return;
    }
    columns.each([&](std::int64_t i) { y[row * inner + i] = T(0); });
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t from = (o * n + k) * inner;
      columns.each([&](std::int64_t i) { y[row * inner + i] += x[from + i]; });
    }
  }
};
template <class T>
struct SegmentMax {
  std::int64_t n, inner, segments;
  View<const std::int64_t> offsets;
  View<const T> x;
  View<T> y, mark;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t s, const Columns& columns) const {
    const std::int64_t row = o * segments + s, begin = offsets[s], end = offsets[s + 1];
    columns.each([&](std::int64_t i) {
      T top = -static_cast<T>(HUGE_VAL);
      std::int64_t where = -1;
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t at = (o * n + k) * inner + i;
        mark[at] = T(0);
        if (where >= 0 && !(x[at] > top)) continue;
        top = x[at];
        where = at;
      }
      y[row * inner + i] = top;
      if (where >= 0) mark[where] = T(1);
    });
  }
};
template <class T>
struct SegmentSoftmax {
  std::int64_t n, inner, segments;
  View<const std::int64_t> offsets;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t s, const Columns& columns) const {
    const std::int64_t begin = offsets[s], end = offsets[s + 1];
    columns.each([&](std::int64_t i) {
      T top = -static_cast<T>(HUGE_VAL), total = 0;
      for (std::int64_t k = begin; k < end; ++k) top = larger(top, T(x[(o * n + k) * inner + i]));
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t at = (o * n + k) * inner + i;
        const T value = std::exp(x[at] - top);
        y[at] = value;
        total += value;
      }
      for (std::int64_t k = begin; k < end; ++k) y[(o * n + k) * inner + i] /= total;
    });
  }
};
template <class W>
struct RepeatSegments {
  std::int64_t n, inner, segments;
  View<const std::int64_t> offsets;
  View<const W> x;
  View<W> y;
  RANKINE_KERNEL void operator()(std::int64_t o, std::int64_t s, const Columns& columns) const {
    const std::int64_t row = o * segments + s, begin = offsets[s], end = offsets[s + 1];
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t to = (o * n + k) * inner;
      columns.each([&](std::int64_t i) { y[to + i] = x[row * inner + i]; });
    }
  }
};

/// Of what has, of all outer and inner ones, `elements` elements and as many flops each.
template <class T>
Cost segment_work(std::int64_t outer, std::int64_t elements, std::int64_t inner, double flops) {
  const std::int64_t count = outer * elements * inner;
  return {flops * static_cast<double>(count), in_bytes<T>(count)};
}

}  // namespace reductions

using namespace reductions;

std::int64_t sum_rows_workspace(std::int64_t rows, std::int64_t n) { return reduce_workspace(rows, n); }

template <class T>
void sum_rows(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y, DevicePtr<T> work) {
  using E = Element<T>;
  count_work("sum_rows", {static_cast<double>(rows * n), in_bytes<T>(rows * (n + 1))});
  reduce<Sum<E>>("sum_rows", LoadElement<E>{elements(x)}, rows, n, elements(y), elements(work));
}

template <class T>
void sum_columns(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const T> x,
                 DevicePtr<T> y) {
  const SumColumns<Element<T>> body{n, inner, elements(x), elements(y)};
  count_work("sum_columns", {static_cast<double>(outer * n * inner), in_bytes<T>(outer * (n + 1) * inner)});
#if RANKINE_ON_DEVICE
  device_range("sum_columns", outer * inner, body);
#else
  host_blocks("sum_columns", outer * ((inner + kStrip - 1) / kStrip), body);
#endif
}

template <class T>
void sum_parts(const std::vector<Part<T>>& parts, std::int64_t begin, std::int64_t end, DevicePtr<T> total) {
  std::int64_t to = 0;
  for (std::size_t i = 0; i < parts.size();) {
    SumParts<T> body{};
    body.begin = begin;
    body.end = end;
    std::int64_t work = 0;
    for (int p = 0; p < kPartsAtOnce && i < parts.size(); ++p, ++i) {
      body.count = p + 1;
      body.width[p] = parts[i].width;
      body.first[p] = work;
      body.values[p] = parts[i].values;
      body.total[p] = total + to;
      to += parts[i].width;
#if RANKINE_ON_DEVICE
      work += parts[i].width;
#else
      work += (parts[i].width + kStrip - 1) / kStrip;
#endif
    }
    units("sum_parts", work, body);
  }
  count_work("sum_parts", {static_cast<double>((end - begin) * to), in_bytes<T>((end - begin + 1) * to)});
}

template <class T>
void first_extreme(std::int64_t outer, std::int64_t n, std::int64_t inner, bool largest, DevicePtr<const T> x,
                   DevicePtr<std::int64_t> index) {
  count_work("first_extreme", {static_cast<double>(outer * n * inner),
                               in_bytes<T>(outer * n * inner) + in_bytes<std::int64_t>(outer * inner)});
  if (largest)
    columns("first_extreme", outer, inner, FirstExtreme<T, true>{n, inner, x, index});
  else
    columns("first_extreme", outer, inner, FirstExtreme<T, false>{n, inner, x, index});
}
template <class T>
void at_index(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const std::int64_t> index,
              DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("at_index", {0, in_bytes<T>(2 * outer * inner) + in_bytes<std::int64_t>(outer * inner)});
  columns("at_index", outer, inner, AtIndex<T>{n, inner, index, x, y});
}
template <class T>
void mark_index(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const std::int64_t> index,
                DevicePtr<T> y) {
  count_work("mark_index", {0, in_bytes<T>(outer * n * inner) + in_bytes<std::int64_t>(outer * inner)});
  grid("mark_index", outer, n, inner, MarkIndex<T>{n, inner, index, y});
}

std::int64_t count_not_finite_workspace(std::int64_t n) { return reduce_workspace(1, n); }

template <class T>
void count_not_finite(std::int64_t n, int parts, DevicePtr<const T> x, DevicePtr<NotFiniteFlag> flag,
                      DevicePtr<NotFiniteFlag> work) {
  count_work("not_finite", {static_cast<double>(n * parts), in_bytes<T>(n * parts)});
  reduce<CountAndFirst>("not_finite", LoadNotFinite<T>{parts, x}, 1, n, flag, work);
}

template <class T>
void cumulative_sum(std::int64_t outer, std::int64_t n, std::int64_t inner, bool reverse,
                    DevicePtr<const T> x, DevicePtr<T> y) {
  // Of complex numbers the parts are columns.
  using Part = decltype(std::real(T{}));
  recurrence("cumulative_sum", outer, n, inner * static_cast<std::int64_t>(sizeof(T) / sizeof(Part)), reverse,
             CumulativeSum<Part>{x.template as<const Part>(), y.template as<Part>()});
}
template <class T>
void diagonal_scan(std::int64_t outer, std::int64_t n, std::int64_t inner, bool reverse, DevicePtr<const T> a,
                   DevicePtr<const T> b, DevicePtr<T> h) {
  recurrence("diagonal_scan", outer, n, inner, reverse,
             DiagonalScan<Element<T>>{elements(a), elements(b), elements(h)});
}

template <class T>
void segment_sum(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                 DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("segment_sum", segment_work<T>(outer, n + segments, inner, 1));
  grid("segment_sum", outer, segments, inner,
       SegmentSum<Element<T>>{n, inner, segments, offsets, elements(x), elements(y)});
}
template <class T>
void segment_max(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                 DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y,
                 DevicePtr<T> first) {
  count_work("segment_max", segment_work<T>(outer, n + 2 * segments, inner, 1));
  grid("segment_max", outer, segments, inner, SegmentMax<T>{n, inner, segments, offsets, x, y, first});
}
template <class T>
void segment_softmax(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                     DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("segment_softmax", segment_work<T>(outer, 2 * n, inner, 12));
  grid("segment_softmax", outer, segments, inner, SegmentSoftmax<T>{n, inner, segments, offsets, x, y});
}
void repeat_segments(std::size_t bytes, std::int64_t outer, std::int64_t n, std::int64_t inner,
                     std::int64_t segments, DevicePtr<const std::int64_t> offsets,
                     DevicePtr<const std::byte> x, DevicePtr<std::byte> y) {
  count_work("repeat_segments",
             {0, static_cast<double>(bytes) * static_cast<double>(outer * (n + segments) * inner)});
  for_word(bytes, [&](auto word) {
    using W = decltype(word);
    grid("repeat_segments", outer, segments, inner,
         RepeatSegments<W>{n, inner, segments, offsets, x.as<const W>(), y.as<W>()});
  });
}

using Int = std::int64_t;
#define RANKINE_INSTANTIATE(T)                                                                               \
  template void sum_rows<T>(Int, Int, DevicePtr<const T>, DevicePtr<T>, DevicePtr<T>);                       \
  template void sum_columns<T>(Int, Int, Int, DevicePtr<const T>, DevicePtr<T>);                             \
  template void cumulative_sum<T>(Int, Int, Int, bool, DevicePtr<const T>, DevicePtr<T>);                    \
  template void diagonal_scan<T>(Int, Int, Int, bool, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>); \
  template void segment_sum<T>(Int, Int, Int, Int, DevicePtr<const Int>, DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
RANKINE_INSTANTIATE(std::complex<float>)
RANKINE_INSTANTIATE(std::complex<double>)
#undef RANKINE_INSTANTIATE

#define RANKINE_INSTANTIATE(T)                                                                             \
  template void sum_parts<T>(const std::vector<Part<T>>&, Int, Int, DevicePtr<T>);                         \
  template void first_extreme<T>(Int, Int, Int, bool, DevicePtr<const T>, DevicePtr<Int>);                 \
  template void at_index<T>(Int, Int, Int, DevicePtr<const Int>, DevicePtr<const T>, DevicePtr<T>);        \
  template void mark_index<T>(Int, Int, Int, DevicePtr<const Int>, DevicePtr<T>);                          \
  template void count_not_finite<T>(Int, int, DevicePtr<const T>, DevicePtr<NotFiniteFlag>,                \
                                    DevicePtr<NotFiniteFlag>);                                             \
  template void segment_max<T>(Int, Int, Int, Int, DevicePtr<const Int>, DevicePtr<const T>, DevicePtr<T>, \
                               DevicePtr<T>);                                                              \
  template void segment_softmax<T>(Int, Int, Int, Int, DevicePtr<const Int>, DevicePtr<const T>,           \
                                   DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
