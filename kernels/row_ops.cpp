#include "kernels/row_ops.hpp"

#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/reduce.hpp"
#include "kernels/rows.hpp"
#include "kernels/simd.hpp"
#include "kernels/softmax.hpp"

namespace rankine::kernels {
namespace {

// y = exp(x - top), whose sum it returns.
template <class T, class Group>
RANKINE_KERNEL T shifted_exp(const Group& group, std::int64_t n, T top, const T* x, T* y) {
  group.each(n, [=](std::int64_t i) { y[i] = Exp{}(x[i] - top); });
  return group.template sum<T>(n, [=](std::int64_t i) { return y[i]; });
}
template <class T, class Group>
RANKINE_KERNEL T largest(const Group& group, std::int64_t n, const T* x) {
  return group.template max<T>(n, [=](std::int64_t i) { return x[i]; });
}

// On the host the bodies below hand whole blocks of rows to kernels/softmax.hpp.
template <class T>
struct Softmax {
  static constexpr int kFlops = 22, kArrays = 2;
  std::int64_t n;
  View<const T> x;
  View<T> y;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T* from = x.at(r * n);
    T* to = y.at(r * n);
    const T factor = 1 / shifted_exp(group, n, largest(group, n, from), from, to);
    group.each(n, [=](std::int64_t i) { to[i] *= factor; });
  }
#if !RANKINE_ON_DEVICE
  void operator()(std::int64_t first, std::int64_t count) const {
    softmax_forward(count, n, x.at(first * n), y.at(first * n));
  }
#endif
};

template <class T>
struct SoftmaxBackward {
  static constexpr int kFlops = 4, kArrays = 3;
  std::int64_t n;
  View<const T> y, dy;
  View<T> dx;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T *p = y.at(r * n), *d = dy.at(r * n);
    T* to = dx.at(r * n);
    const T inner =
        group.template fold<T>(n, [=](std::int64_t i, T sum) { return multiply_add(p[i], d[i], sum); });
    group.each(n, [=](std::int64_t i) { to[i] = p[i] * (d[i] - inner); });
  }
#if !RANKINE_ON_DEVICE
  void operator()(std::int64_t first, std::int64_t count) const {
    softmax_backward(count, n, y.at(first * n), dy.at(first * n), dx.at(first * n));
  }
#endif
};

template <class T>
struct LogSoftmax {
  static constexpr int kFlops = 22, kArrays = 2;
  std::int64_t n;
  View<const T> x;
  View<T> y;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T* from = x.at(r * n);
    T* to = y.at(r * n);
    const T top = largest(group, n, from);
    const T log_sum = std::log(shifted_exp(group, n, top, from, to)) + top;
    group.each(n, [=](std::int64_t i) { to[i] = from[i] - log_sum; });
  }
#if !RANKINE_ON_DEVICE
  void operator()(std::int64_t first, std::int64_t count) const {
    log_softmax_forward(count, n, x.at(first * n), y.at(first * n));
  }
#endif
};

template <class T>
struct CrossEntropy {
  static constexpr int kFlops = 22, kArrays = 2;
  std::int64_t n;
  T s;
  View<const T> x;
  View<const std::int32_t> label;
  View<T> loss, probabilities;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T* from = x.at(r * n);
    T* to = probabilities.at(r * n);
    const T top = largest(group, n, from), sum = shifted_exp(group, n, top, from, to);
    const T factor = 1 / sum, log_sum = std::log(sum) + top;
    const T total = group.template sum<T>(n, [=](std::int64_t i) { return from[i]; });
    group.each(n, [=](std::int64_t i) { to[i] *= factor; });
    if (!group.leader()) return;
    T value = log_sum - (1 - s) * from[label[r]];
    if (s != 0) value -= s * total / static_cast<T>(n);
    loss[r] = value;
  }
#if !RANKINE_ON_DEVICE
  void operator()(std::int64_t first, std::int64_t count) const {
    cross_entropy_forward(count, n, x.at(first * n), label.at(first), s, loss.at(first),
                          probabilities.at(first * n));
  }
#endif
};

template <class T>
struct CrossEntropyBackward {
  static constexpr int kFlops = 2, kArrays = 2;
  std::int64_t n;
  T s;
  View<const T> probabilities;
  View<const std::int32_t> label;
  View<const T> dloss;
  View<T> dx;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T* p = probabilities.at(r * n);
    T* to = dx.at(r * n);
    const T d = dloss[r], even = s / static_cast<T>(n), taken = 1 - s;
    const std::int64_t here = label[r];
    group.each(n, [=](std::int64_t i) {
      const T v = d * (p[i] - even);
      to[i] = i == here ? multiply_add(-d, taken, v) : v;  // rounded once, as on the host
    });
  }
#if !RANKINE_ON_DEVICE
  void operator()(std::int64_t first, std::int64_t count) const {
    cross_entropy_backward(count, n, probabilities.at(first * n), label.at(first), s, dloss.at(first),
                           dx.at(first * n));
  }
#endif
};

#if !RANKINE_ON_DEVICE
template <class Body>
struct RowBlock {
  Body body;
  std::int64_t rows, per_block;
  void operator()(std::int64_t block) const {
    const std::int64_t first = block * per_block;
    body(first, rows - first < per_block ? rows - first : per_block);
  }
};
#endif

/// A body reads or writes `Body::kArrays` arrays of the rows' size, with `Body::kFlops` an element.
template <class T, template <class> class Body>
void tuned_rows(Tuned operation, const char* name, std::int64_t count, std::int64_t n, const Body<T>& body) {
  count_work(name,
             {Body<T>::kFlops * static_cast<double>(count * n), in_bytes<T>(Body<T>::kArrays * count * n)});
  if (runs_portable(operation)) return rows(name, count, n, body);
#if !RANKINE_ON_DEVICE
  const std::int64_t per = kChunk / (n + 1) + 1;
  host_blocks(name, (count + per - 1) / per, RowBlock<Body<T>>{body, count, per});
#endif
}

template <class T>
struct AddAtLabels {
  std::int64_t n;
  T value;
  View<const std::int32_t> label;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t /*unit*/, const Columns& columns) const {
    columns.each([this](std::int64_t r) { y[r * n + label[r]] += value; });
  }
};

template <class T>
struct RightClass {
  std::int64_t n;
  View<const T> x;
  View<const std::int32_t> label;
  View<double> right;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const T* from = x.at(r * n);
    const T top = group.template max<T>(n, [=](std::int64_t i) { return from[i]; });
    const std::int64_t none = n;
    const std::int64_t first =
        -group.template max<std::int64_t>(n, [=](std::int64_t i) { return from[i] == top ? -i : -none; });
    if (group.leader()) right[r] = first == label[r] ? 1.0 : 0.0;
  }
};

struct SafeIndex {
  std::int64_t n;
  RANKINE_FORCEINLINE std::int32_t operator()(std::int32_t index) const {
    return index >= 0 && index < n ? index : 0;
  }
};
struct BadPlace {
  std::int64_t n;
  View<const std::int32_t> index;
  RANKINE_ELEMENT std::int64_t operator()(std::int64_t i) const {
    const std::int32_t at = index[i];
    return at >= 0 && at < n ? 0 : i + 1;
  }
};

template <class T>
struct RowsByToken {
  TableShape s;
  std::int64_t count;
  View<const T> table;
  View<const std::int32_t> token;
  View<T> y;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t i, const Group& group) const {
    const T* from = table.at(i / count * s.shard_step + token[i] * s.row_step);
    T* to = y.at(i * s.width);
    group.each(s.width, [=](std::int64_t d) { to[d] = from[d]; });
  }
};

#if RANKINE_ON_DEVICE
// A row of the table looks through all tokens for its own. That is vocabulary x count comparisons by warps,
// which cost less than sorting the tokens would, and no order of additions is left to chance.
template <class T>
struct SumRowsByToken {
  TableShape s;
  std::int64_t count;
  View<const T> rows;
  View<const std::int32_t> token;
  View<T> y;
  template <class Group>
  RANKINE_KERNEL void operator()(std::int64_t r, const Group& group) const {
    const std::int64_t shard = r / s.vocabulary, width = s.width;
    const std::int32_t mine = static_cast<std::int32_t>(r % s.vocabulary);
    const std::int32_t* which = token.at(shard * count);
    T* to = y.at(r * width);
    group.each(width, [=](std::int64_t d) { to[d] = T(0); });
    for (std::int64_t i0 = 0; i0 < count; i0 += kRowLanes) {
      const std::int64_t here = count - i0 < kRowLanes ? count - i0 : kRowLanes;
      if (group.template max<int>(here, [=](std::int64_t i) { return which[i0 + i] == mine ? 1 : 0; }) == 0)
        continue;
      for (std::int64_t i = i0; i < i0 + here; ++i) {
        if (which[i] != mine) continue;
        const T* from = rows.at((shard * count + i) * width);
        group.each(width, [=](std::int64_t d) { to[d] += from[d]; });
      }
    }
  }
};
#else
template <class T>
struct SumRowsByToken {
  TableShape s;
  std::int64_t count;
  View<const T> rows;
  View<const std::int32_t> token;
  View<T> y;
  void operator()(std::int64_t shard, const Columns& columns) const {
    T* const all = y.at(shard * s.vocabulary * s.width);
    for (std::int64_t v = 0; v < s.vocabulary; ++v) {
      T* to = all + v * s.width;
      columns.each([to](std::int64_t d) { to[d] = T(0); });
    }
    for (std::int64_t i = shard * count; i < (shard + 1) * count; ++i) {
      T* to = all + token[i] * s.width;
      const T* from = rows.at(i * s.width);
      columns.each([to, from](std::int64_t d) { to[d] += from[d]; });
    }
  }
};
#endif

}  // namespace

template <class T>
void softmax(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y) {
  tuned_rows(Tuned::softmax, "softmax", rows, n, Softmax<T>{n, x, y});
}

template <class T>
void softmax_backward(std::int64_t rows, std::int64_t n, DevicePtr<const T> y, DevicePtr<const T> dy,
                      DevicePtr<T> dx) {
  tuned_rows(Tuned::softmax_backward, "softmax_backward", rows, n, SoftmaxBackward<T>{n, y, dy, dx});
}

template <class T>
void log_softmax(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y) {
  tuned_rows(Tuned::log_softmax, "log_softmax", rows, n, LogSoftmax<T>{n, x, y});
}

template <class T>
void cross_entropy(std::int64_t rows, std::int64_t n, DevicePtr<const T> x,
                   DevicePtr<const std::int32_t> label, double s, DevicePtr<T> loss,
                   DevicePtr<T> probabilities) {
  tuned_rows(Tuned::cross_entropy, "cross_entropy", rows, n,
             CrossEntropy<T>{n, static_cast<T>(s), x, label, loss, probabilities});
}

template <class T>
void cross_entropy_backward(std::int64_t rows, std::int64_t n, DevicePtr<const T> probabilities,
                            DevicePtr<const std::int32_t> label, double s, DevicePtr<const T> dloss,
                            DevicePtr<T> dx) {
  tuned_rows(Tuned::cross_entropy_backward, "cross_entropy_backward", rows, n,
             CrossEntropyBackward<T>{n, static_cast<T>(s), probabilities, label, dloss, dx});
}

template <class T>
void add_at_labels(std::int64_t rows, std::int64_t n, DevicePtr<const std::int32_t> label, double value,
                   DevicePtr<T> y) {
  count_work("add_at_labels",
             {static_cast<double>(rows), in_bytes<T>(2 * rows) + in_bytes<std::int32_t>(rows)});
  columns("add_at_labels", 1, rows, AddAtLabels<T>{n, static_cast<T>(value), label, y});
}

template <class T>
void right_classes(std::int64_t count, std::int64_t n, DevicePtr<const T> x,
                   DevicePtr<const std::int32_t> label, DevicePtr<double> right) {
  count_work("right_classes",
             {static_cast<double>(count * n), in_bytes<T>(count * n) + in_bytes<double>(count)});
  rows("right_classes", count, n, RightClass<T>{n, x, label, right});
}

std::int64_t index_check_work(std::int64_t count) { return reduce_workspace(1, count); }

void check_indices(std::int64_t count, std::int64_t n, DevicePtr<const std::int32_t> index,
                   DevicePtr<std::int32_t> safe, DevicePtr<std::int64_t> flag, DevicePtr<std::int64_t> work) {
  map("safe_indices", SafeIndex{n}, count, safe, index);
  count_work("check_indices", {0, in_bytes<std::int32_t>(count)});
  reduce<FirstFlag>("check_indices", BadPlace{n, index}, 1, count, flag, work);
}

template <class T>
void rows_by_token(const TableShape& shape, std::int64_t count, DevicePtr<const T> table,
                   DevicePtr<const std::int32_t> token, DevicePtr<T> y) {
  count_work("embedding", {0, in_bytes<T>(2 * shape.shards * count * shape.width)});
  rows("embedding", shape.shards * count, shape.width, RowsByToken<T>{shape, count, table, token, y});
}

template <class T>
void sum_rows_by_token(const TableShape& shape, std::int64_t count, DevicePtr<const T> from,
                       DevicePtr<const std::int32_t> token, DevicePtr<T> y) {
  const SumRowsByToken<T> body{shape, count, from, token, y};
  count_work("sum_by_token", {static_cast<double>(shape.shards * count * shape.width),
                              in_bytes<T>(shape.shards * (count + shape.vocabulary) * shape.width)});
#if RANKINE_ON_DEVICE
  // Always a warp a row: it is tokens that lanes share out.
  rows("sum_by_token", shape.shards * shape.vocabulary, kRowLanes, body);
#else
  columns("sum_by_token", shape.shards, shape.width, body);
#endif
}

#define RANKINE_INSTANTIATE(T)                                                                               \
  template void softmax(std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<T>);                       \
  template void softmax_backward(std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<const T>,         \
                                 DevicePtr<T>);                                                              \
  template void log_softmax(std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<T>);                   \
  template void cross_entropy(std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<const std::int32_t>, \
                              double, DevicePtr<T>, DevicePtr<T>);                                           \
  template void cross_entropy_backward(std::int64_t, std::int64_t, DevicePtr<const T>,                       \
                                       DevicePtr<const std::int32_t>, double, DevicePtr<const T>,            \
                                       DevicePtr<T>);                                                        \
  template void add_at_labels(std::int64_t, std::int64_t, DevicePtr<const std::int32_t>, double,             \
                              DevicePtr<T>);                                                                 \
  template void right_classes(std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<const std::int32_t>, \
                              DevicePtr<double>);                                                            \
  template void rows_by_token(const TableShape&, std::int64_t, DevicePtr<const T>,                           \
                              DevicePtr<const std::int32_t>, DevicePtr<T>);                                  \
  template void sum_rows_by_token(const TableShape&, std::int64_t, DevicePtr<const T>,                       \
                                  DevicePtr<const std::int32_t>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
