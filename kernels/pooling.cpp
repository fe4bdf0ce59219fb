#include "kernels/pooling.hpp"

#include <limits>

#include "kernels/multiply_add.hpp"
#include "kernels/rows.hpp"

#if !RANKINE_ON_DEVICE
#include <algorithm>

#include "kernels/scratch.hpp"
#include "kernels/simd.hpp"
#endif

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

/// Whether the windows are the 2x2 squares that tile the planes. On the host these go in two steps, rows and
/// then pairs of columns of a whole plane, both of which vectorise; a device keeps that order.
inline bool tiled_by_squares(const PoolExtents& e) {
  return e.kernel_height == 2 && e.kernel_width == 2 && e.stride_height == 2 && e.stride_width == 2 &&
         e.pad_height == 0 && e.pad_width == 0 && e.height == 2 * e.out_height && e.width == 2 * e.out_width;
}

// Of plain memory, on the host.
#if !RANKINE_ON_DEVICE

/// Calls f(tap, output row offset, input row offset, first, last) for each output row of a plane and each tap
/// of its window: outputs first .. last - 1 of that row read the input row at stride j + l - pad.
template <class F>
void for_each_tap(const PoolExtents& e, F f) {
  for (std::int64_t i = 0; i < e.out_height; ++i)
    for (std::int64_t k = 0; k < e.kernel_height; ++k) {
      const std::int64_t row = i * e.stride_height + k - e.pad_height;
      if (row < 0 || row >= e.height) continue;
      for (std::int64_t l = 0; l < e.kernel_width; ++l) {
        const std::int64_t shift = l - e.pad_width, s = e.stride_width;
        const std::int64_t first = shift >= 0 ? 0 : (-shift + s - 1) / s;
        const std::int64_t last =
            e.width - 1 - shift < 0 ? 0 : std::min(e.out_width, (e.width - 1 - shift) / s + 1);
        if (first < last) f(k * e.kernel_width + l, i * e.out_width, row * e.width + shift, first, last);
      }
    }
}

template <class T, class Tap>
void max_pool_forward(const PoolExtents& e, const T* x, T* y, Tap* tap) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  if (tiled_by_squares(e)) {
    // Of equal values the upper and then the left one counts; NaN counts as larger than all.
    const auto larger = [](T b, T a) { return static_cast<bool>((b > a) | (b != b)); };
    T* const top = host_scratch<T>(2 * out);
    std::int32_t* const row = host_scratch<std::int32_t>(3 * out);
    std::int32_t* const which = row + 2 * out;
    for (std::int64_t p = 0; p < e.planes; ++p, x += 4 * out, y += out, tap += out) {
      for (std::int64_t i = 0; i < e.out_height; ++i) {
        const T* upper = x + 2 * i * e.width;
        const T* lower = upper + e.width;
        T* to = top + i * e.width;
        std::int32_t* below = row + i * e.width;
        for (std::int64_t j = 0; j < e.width; ++j) {
          const bool lower_wins = larger(lower[j], upper[j]);
          to[j] = lower_wins ? lower[j] : upper[j];
          below[j] = lower_wins ? 2 : 0;
        }
      }
      for (std::int64_t i = 0; i < out; ++i) {
        const T left = top[2 * i], right = top[2 * i + 1];
        y[i] = larger(right, left) ? right : left;
      }
      for (std::int64_t i = 0; i < out; ++i) {
        const std::int32_t left = row[2 * i], right = row[2 * i + 1] + 1;
        which[i] = larger(top[2 * i + 1], top[2 * i]) ? right : left;
      }
      for (std::int64_t i = 0; i < out; ++i) tap[i] = static_cast<Tap>(which[i]);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, x += e.height * e.width, y += out, tap += out) {
    std::fill(y, y + out, -std::numeric_limits<T>::infinity());
    std::fill(tap, tap + out, Tap(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j) {
            const T v = x[from + j * s];
            const bool larger = v > y[to + j] || v != v;
            y[to + j] = larger ? v : y[to + j];
            tap[to + j] = larger ? static_cast<Tap>(t) : tap[to + j];
          }
        });
  }
}

template <class T, class Tap>
void pick_taps(const PoolExtents& e, const T* x, const Tap* tap, T* y) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  for (std::int64_t p = 0; p < e.planes; ++p, x += e.height * e.width, y += out, tap += out) {
    std::fill(y, y + out, T(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j)
            y[to + j] = tap[to + j] == static_cast<Tap>(t) ? x[from + j * s] : y[to + j];
        });
  }
}

template <class T, class Tap>
void place_taps(const PoolExtents& e, const T* dy, const Tap* tap, T* dx) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width, plane = e.height * e.width;
  if (tiled_by_squares(e)) {
    T* const rows = host_scratch<T>(4 * out);
    std::int32_t* const which = host_scratch<std::int32_t>(out);
    for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out, tap += out) {
      for (std::int64_t i = 0; i < out; ++i) which[i] = tap[i];
      for (std::int32_t below = 0; below < 2; ++below) {
        T* to = rows + 2 * out * below;
        for (std::int64_t i = 0; i < out; ++i) {
          const std::int32_t t = which[i];
          to[2 * i] = t == 2 * below ? dy[i] : T(0);
          to[2 * i + 1] = t == 2 * below + 1 ? dy[i] : T(0);
        }
      }
      for (std::int64_t i = 0; i < e.out_height; ++i)
        for (std::int64_t below = 0; below < 2; ++below)
          copy_row(e.width, rows + 2 * out * below + i * e.width, dx + (2 * i + below) * e.width);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out, tap += out) {
    std::fill(dx, dx + plane, T(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j)
            dx[from + j * s] += tap[to + j] == static_cast<Tap>(t) ? dy[to + j] : T(0);
        });
  }
}

template <class T>
void sum_pool_forward(const PoolExtents& e, T factor, const T* x, T* y) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  if (tiled_by_squares(e)) {
    T* const to = host_scratch<T>(2 * out);
    for (std::int64_t p = 0; p < e.planes; ++p, x += 4 * out, y += out) {
      for (std::int64_t i = 0; i < e.out_height; ++i) {
        const T* upper = x + 2 * i * e.width;
        for (std::int64_t j = 0; j < e.width; ++j) to[i * e.width + j] = upper[j] + upper[e.width + j];
      }
      for (std::int64_t i = 0; i < out; ++i) y[i] = factor * (to[2 * i] + to[2 * i + 1]);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, x += e.height * e.width, y += out) {
    std::fill(y, y + out, T(0));
    for_each_tap(
        e, [&](std::int64_t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          if (s == 1) {
            for (std::int64_t j = first; j < last; ++j) y[to + j] += x[from + j];
          } else if (s == 2) {
            for (std::int64_t j = first; j < last; ++j) y[to + j] += x[from + 2 * j];
          } else {
            for (std::int64_t j = first; j < last; ++j) y[to + j] += x[from + j * s];
          }
        });
    for (std::int64_t i = 0; i < out; ++i) y[i] *= factor;
  }
}

template <class T>
void sum_pool_backward(const PoolExtents& e, T factor, const T* dy, T* dx) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width, plane = e.height * e.width;
  if (tiled_by_squares(e)) {
    T* const wide = host_scratch<T>(2 * out);
    for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out) {
      for (std::int64_t i = 0; i < out; ++i) wide[2 * i] = wide[2 * i + 1] = factor * dy[i];
      for (std::int64_t i = 0; i < e.height; ++i) copy_row(e.width, wide + i / 2 * e.width, dx + i * e.width);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out) {
    std::fill(dx, dx + plane, T(0));
    for_each_tap(
        e, [&](std::int64_t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j) dx[from + j * s] += factor * dy[to + j];
        });
  }
}

// Planes that the host takes at once.
struct Planes {
  PoolExtents e;
  Index per, units;
  explicit Planes(const PoolExtents& extents)
      : e(extents),
        per(kChunk / (e.height * e.width + e.out_height * e.out_width + 1) + 1),
        units((e.planes + per - 1) / per) {}
  PoolExtents of(Index unit) const {
    PoolExtents some = e;
    some.planes = std::min(per, e.planes - unit * per);
    return some;
  }
  Index input(Index unit) const { return unit * per * e.height * e.width; }
  Index output(Index unit) const { return unit * per * e.out_height * e.out_width; }
};

template <class T, class Tap>
struct MaxPoolPlanes {
  Planes planes;
  View<const T> x;
  View<T> y;
  View<Tap> tap;
  inline void operator()(Index unit) const {
    const Index out = planes.output(unit);
    max_pool_forward(planes.of(unit), x.at(planes.input(unit)), y.at(out), tap.at(out));
  }
};
template <class T, class Tap>
struct PickTapsPlanes {
  Planes planes;
  View<const T> x;
  View<const Tap> tap;
  View<T> y;
  inline void operator()(Index unit) const {
    const Index out = planes.output(unit);
    pick_taps(planes.of(unit), x.at(planes.input(unit)), tap.at(out), y.at(out));
  }
};
template <class T, class Tap>
struct PlaceTapsPlanes {
  Planes planes;
  View<const T> dy;
  View<const Tap> tap;
  View<T> dx;
  inline void operator()(Index unit) const {
    const Index out = planes.output(unit);
    place_taps(planes.of(unit), dy.at(out), tap.at(out), dx.at(planes.input(unit)));
  }
};
template <class T>
struct SumPoolPlanes {
  Planes planes;
  T factor;
  View<const T> x;
  View<T> y;
  inline void operator()(Index unit) const {
    sum_pool_forward(planes.of(unit), factor, x.at(planes.input(unit)), y.at(planes.output(unit)));
  }
};
template <class T>
struct SumPoolBackwardPlanes {
  Planes planes;
  T factor;
  View<const T> dy;
  View<T> dx;
  inline void operator()(Index unit) const {
    sum_pool_backward(planes.of(unit), factor, dy.at(planes.output(unit)), dx.at(planes.input(unit)));
  }
};
#endif

/// Where element i of a plane's inputs or outputs stands.
struct Place {
  Index plane, row, column;
  KOKKOS_FORCEINLINE_FUNCTION Place(Index i, Index height, Index width)
      : plane(i / width / height), row(i / width % height), column(i % width) {}
};

/// The outputs i = first .. last whose windows hold position `at` of the input, along one axis.
struct Windows {
  Index first, last;
  KOKKOS_FORCEINLINE_FUNCTION Windows(Index at, Index kernel, Index stride, Index pad, Index outputs) {
    const Index reach = at + pad - kernel + 1;
    first = reach <= 0 ? 0 : (reach + stride - 1) / stride;
    last = (at + pad) / stride;
    if (last > outputs - 1) last = outputs - 1;
  }
};

/// A window's value.
template <class T, class Tap>
struct MaxPoolWindow {
  PoolExtents e;
  bool squares;
  T lowest;
  View<const T> x;
  View<T> y;
  View<Tap> tap;
  RANKINE_KERNEL void operator()(Index i) const {
    const Place at(i, e.out_height, e.out_width);
    const T* const from = x.at(at.plane * e.height * e.width);
    T top = lowest;
    Index where = 0;
    const Index outer = squares ? e.kernel_width : e.kernel_height,
                inner = squares ? e.kernel_height : e.kernel_width;
    for (Index a = 0; a < outer; ++a)
      for (Index b = 0; b < inner; ++b) {
        const Index k = squares ? b : a, l = squares ? a : b;
        const Index row = at.row * e.stride_height + k - e.pad_height,
                    column = at.column * e.stride_width + l - e.pad_width;
        if (row < 0 || row >= e.height || column < 0 || column >= e.width) continue;
        const T v = from[row * e.width + column];
        if (v > top || v != v) {
          top = v;
          where = k * e.kernel_width + l;
        }
      }
    y[i] = top;
    tap[i] = static_cast<Tap>(where);
  }
};

template <class T, class Tap>
struct PickTap {
  PoolExtents e;
  View<const T> x;
  View<const Tap> tap;
  View<T> y;
  RANKINE_KERNEL void operator()(Index i) const {
    const Place at(i, e.out_height, e.out_width);
    const Index t = static_cast<Index>(tap[i]);
    const Index row = at.row * e.stride_height + t / e.kernel_width - e.pad_height,
                column = at.column * e.stride_width + t % e.kernel_width - e.pad_width;
    const bool inside = row >= 0 && row < e.height && column >= 0 && column < e.width;
    y[i] = inside ? x[(at.plane * e.height + row) * e.width + column] : T(0);
  }
};

/// An input's gradient: the windows that hold it, in the order in which the host adds them.
template <class T, class Tap>
struct PlaceTap {
  PoolExtents e;
  View<const T> dy;
  View<const Tap> tap;
  View<T> dx;
  RANKINE_KERNEL void operator()(Index i) const {
    const Place at(i, e.height, e.width);
    const Windows rows(at.row, e.kernel_height, e.stride_height, e.pad_height, e.out_height);
    const Windows columns(at.column, e.kernel_width, e.stride_width, e.pad_width, e.out_width);
    T sum = 0;
    for (Index r = rows.first; r <= rows.last; ++r)
      for (Index c = columns.last; c >= columns.first; --c) {
        const Index out = (at.plane * e.out_height + r) * e.out_width + c;
        const Index k = at.row + e.pad_height - r * e.stride_height,
                    l = at.column + e.pad_width - c * e.stride_width;
        if (static_cast<Index>(tap[out]) == k * e.kernel_width + l) sum += dy[out];
      }
    dx[i] = sum;
  }
};

template <class T>
struct SumPoolWindow {
  PoolExtents e;
  bool squares;
  T factor;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(Index i) const {
    const Place at(i, e.out_height, e.out_width);
    const T* const from = x.at(at.plane * e.height * e.width);
    const Index first_row = at.row * e.stride_height - e.pad_height,
                first_column = at.column * e.stride_width - e.pad_width;
    if (squares) {
      const T* const upper = from + first_row * e.width + first_column;
      y[i] = factor * ((upper[0] + upper[e.width]) + (upper[1] + upper[e.width + 1]));
      return;
    }
    T sum = 0;
    for (Index row = first_row; row < first_row + e.kernel_height; ++row)
      for (Index column = first_column; column < first_column + e.kernel_width; ++column)
        if (row >= 0 && row < e.height && column >= 0 && column < e.width)
          sum += from[row * e.width + column];
    y[i] = factor * sum;
  }
};

template <class T>
struct SumPoolInput {
  PoolExtents e;
  T factor;
  View<const T> dy;
  View<T> dx;
  RANKINE_KERNEL void operator()(Index i) const {
    const Place at(i, e.height, e.width);
    const Windows rows(at.row, e.kernel_height, e.stride_height, e.pad_height, e.out_height);
    const Windows columns(at.column, e.kernel_width, e.stride_width, e.pad_width, e.out_width);
    T sum = 0;
    for (Index r = rows.first; r <= rows.last; ++r)
      for (Index c = columns.last; c >= columns.first; --c)
        sum = multiply_add(factor, dy[(at.plane * e.out_height + r) * e.out_width + c], sum);
    dx[i] = sum;
  }
};

template <class T>
struct RowMean {
  Index n;
  View<const T> x;
  View<T> y;
  template <class Group>
  RANKINE_KERNEL void operator()(Index row, const Group& group) const {
    const T* const from = x.at(row * n);
#if RANKINE_ON_DEVICE
    const T sum = group.template sum<T>(n, [=](Index i) { return from[i]; });
#else
    const T sum = row_sum(n, from);  // in the same order
#endif
    if (group.leader()) y[row] = sum * (1 / static_cast<T>(n));
  }
};

Index outputs_of(const PoolExtents& e) { return e.planes * e.out_height * e.out_width; }
Index inputs_of(const PoolExtents& e) { return e.planes * e.height * e.width; }

/// A flop for each place of each window, which may have a tap.
template <class T>
Cost window_cost(const PoolExtents& e, double tap_bytes = 0) {
  const auto outputs = static_cast<double>(outputs_of(e));
  return {outputs * static_cast<double>(e.kernel_height * e.kernel_width),
          in_bytes<T>(inputs_of(e) + outputs_of(e)) + tap_bytes * outputs};
}
/// What moves one element of each window.
template <class T, class Tap>
Cost tap_cost(const PoolExtents& e, Index elements) {
  return {0, in_bytes<T>(elements) + in_bytes<Tap>(outputs_of(e))};
}

}  // namespace

template <class T, class Tap>
void max_pool_forward_portable(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<T> y,
                               DevicePtr<Tap> tap) {
  units("max_pool", outputs_of(e),
        MaxPoolWindow<T, Tap>{e, tiled_by_squares(e), -std::numeric_limits<T>::infinity(), x, y, tap});
}
template <class T, class Tap>
void max_pool_forward(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<T> y, DevicePtr<Tap> tap) {
  count_work("max_pool", window_cost<T>(e, sizeof(Tap)));
  if (runs_portable(Tuned::max_pool_forward)) return max_pool_forward_portable(e, x, y, tap);
#if !RANKINE_ON_DEVICE
  const Planes planes(e);
  host_blocks("max_pool", planes.units, MaxPoolPlanes<T, Tap>{planes, x, y, tap});
#endif
}

template <class T, class Tap>
void pick_taps_portable(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<const Tap> tap,
                        DevicePtr<T> y) {
  units("pick_taps", outputs_of(e), PickTap<T, Tap>{e, x, tap, y});
}
template <class T, class Tap>
void pick_taps(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<const Tap> tap, DevicePtr<T> y) {
  count_work("pick_taps", tap_cost<T, Tap>(e, 2 * outputs_of(e)));
  if (runs_portable(Tuned::pick_taps)) return pick_taps_portable(e, x, tap, y);
#if !RANKINE_ON_DEVICE
  const Planes planes(e);
  host_blocks("pick_taps", planes.units, PickTapsPlanes<T, Tap>{planes, x, tap, y});
#endif
}

template <class T, class Tap>
void place_taps_portable(const PoolExtents& e, DevicePtr<const T> dy, DevicePtr<const Tap> tap,
                         DevicePtr<T> dx) {
  units("place_taps", inputs_of(e), PlaceTap<T, Tap>{e, dy, tap, dx});
}
template <class T, class Tap>
void place_taps(const PoolExtents& e, DevicePtr<const T> dy, DevicePtr<const Tap> tap, DevicePtr<T> dx) {
  count_work("place_taps", tap_cost<T, Tap>(e, outputs_of(e) + inputs_of(e)));
  if (runs_portable(Tuned::place_taps)) return place_taps_portable(e, dy, tap, dx);
#if !RANKINE_ON_DEVICE
  const Planes planes(e);
  host_blocks("place_taps", planes.units, PlaceTapsPlanes<T, Tap>{planes, dy, tap, dx});
#endif
}

template <class T>
void sum_pool_forward_portable(const PoolExtents& e, T factor, DevicePtr<const T> x, DevicePtr<T> y) {
  units("sum_pool", outputs_of(e), SumPoolWindow<T>{e, tiled_by_squares(e), factor, x, y});
}
template <class T>
void sum_pool_forward(const PoolExtents& e, T factor, DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("sum_pool", window_cost<T>(e));
  if (runs_portable(Tuned::sum_pool_forward)) return sum_pool_forward_portable(e, factor, x, y);
#if !RANKINE_ON_DEVICE
  const Planes planes(e);
  host_blocks("sum_pool", planes.units, SumPoolPlanes<T>{planes, factor, x, y});
#endif
}

template <class T>
void sum_pool_backward_portable(const PoolExtents& e, T factor, DevicePtr<const T> dy, DevicePtr<T> dx) {
  units("sum_pool_backward", inputs_of(e), SumPoolInput<T>{e, factor, dy, dx});
}
template <class T>
void sum_pool_backward(const PoolExtents& e, T factor, DevicePtr<const T> dy, DevicePtr<T> dx) {
  count_work("sum_pool_backward", window_cost<T>(e));
  if (runs_portable(Tuned::sum_pool_backward)) return sum_pool_backward_portable(e, factor, dy, dx);
#if !RANKINE_ON_DEVICE
  const Planes planes(e);
  host_blocks("sum_pool_backward", planes.units, SumPoolBackwardPlanes<T>{planes, factor, dy, dx});
#endif
}

template <class T>
void row_means(Index count, Index n, DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("row_means", {static_cast<double>(count * n), in_bytes<T>(count * (n + 1))});
  rows("row_means", count, n, RowMean<T>{n, x, y});
}

#define RANKINE_TAPS(T, Tap)                                                                            \
  template void max_pool_forward(const PoolExtents&, DevicePtr<const T>, DevicePtr<T>, DevicePtr<Tap>); \
  template void max_pool_forward_portable(const PoolExtents&, DevicePtr<const T>, DevicePtr<T>,         \
                                          DevicePtr<Tap>);                                              \
  template void pick_taps(const PoolExtents&, DevicePtr<const T>, DevicePtr<const Tap>, DevicePtr<T>);  \
  template void pick_taps_portable(const PoolExtents&, DevicePtr<const T>, DevicePtr<const Tap>,        \
                                   DevicePtr<T>);                                                       \
  template void place_taps(const PoolExtents&, DevicePtr<const T>, DevicePtr<const Tap>, DevicePtr<T>); \
  template void place_taps_portable(const PoolExtents&, DevicePtr<const T>, DevicePtr<const Tap>,       \
                                    DevicePtr<T>)
#define RANKINE_POOLING(T)                                                                           \
  RANKINE_TAPS(T, std::uint8_t);                                                                     \
  RANKINE_TAPS(T, std::int32_t);                                                                     \
  template void sum_pool_forward(const PoolExtents&, T, DevicePtr<const T>, DevicePtr<T>);           \
  template void sum_pool_forward_portable(const PoolExtents&, T, DevicePtr<const T>, DevicePtr<T>);  \
  template void sum_pool_backward(const PoolExtents&, T, DevicePtr<const T>, DevicePtr<T>);          \
  template void sum_pool_backward_portable(const PoolExtents&, T, DevicePtr<const T>, DevicePtr<T>); \
  template void row_means(Index, Index, DevicePtr<const T>, DevicePtr<T>)
RANKINE_POOLING(float);
RANKINE_POOLING(double);
#undef RANKINE_POOLING
#undef RANKINE_TAPS

}  // namespace rankine::kernels
