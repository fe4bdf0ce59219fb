// Elementwise kernels over any number of strided operands. kernels/ only.
#pragma once

#include <cstring>
#include <utility>

#include "kernels/launch.hpp"
#include "kernels/strided.hpp"

namespace rankine::kernels {

// On the host rows are handed to the compiler in blocks of constant length, 64 and then 16, the last one
// padded: so that an element's bits do not depend on where it stands.
inline constexpr int kRowBlock = 64;
inline constexpr int kRowTail = 16;

#if !RANKINE_ON_DEVICE
/// Whether an element's bits are the same in whatever loop it stands: `F::kPlain` says so of functions that
/// round once, or that the compiler does not vectorise. Their rows need no blocks.
template <class F>
inline constexpr bool is_plain = requires {
  F::kPlain;
};

/// One operand of a row of such a function: kStep is 1, 0, or kAnyStep.
inline constexpr int kAnyStep = 2;
template <int kStep, class X>
class PlainOperand {
 public:
  inline __attribute__((always_inline)) PlainOperand(const X* p, std::int64_t step)
      : p_(p), step_(step), value_(*p) {}
  inline __attribute__((always_inline)) X operator[](std::int64_t i) const {
    if constexpr (kStep == 0) return value_;
    if constexpr (kStep == 1) return p_[i];
    return p_[i * step_];
  }

 private:
  const X* p_;
  std::int64_t step_;
  X value_;
};
template <int kStep, class F, class Y, class... Operand>
inline __attribute__((always_inline)) void plain_row(const F& f, std::int64_t n, Y* to, std::int64_t step,
                                                     const Operand... from) {
  // y is an operand itself or overlaps none.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
  for (std::int64_t i = 0; i < n; ++i) to[kStep == 1 ? i : i * step] = f(from[i]...);
}

/// One operand of a row. What does not lie side by side is gathered into the block's buffer.
template <class X>
class RowOperand {
 public:
  explicit RowOperand(std::int64_t step) : step_(step) {
    for (X& x : buffer_) x = X(1);
  }
  /// Goes to the row of n elements that starts at p.
  inline __attribute__((always_inline)) void place(const X* p, std::int64_t n) {
    p_ = p;
    if (step_ != 0) return;
    const X value = *p;
    for (std::int64_t j = 0; j < kRowBlock && j < n + kRowTail; ++j) buffer_[j] = value;
  }
  template <int kLength>
  inline __attribute__((always_inline)) const X* block(std::int64_t i, std::int64_t count) {
    if (step_ == 1) {
      if (count == kLength) return p_ + i;
      std::memcpy(static_cast<void*>(buffer_), p_ + i, static_cast<std::size_t>(count) * sizeof(X));
    } else if (step_ != 0) {
      for (std::int64_t j = 0; j < count; ++j) buffer_[j] = p_[(i + j) * step_];
    }
    return buffer_;
  }

 private:
  const X* p_ = nullptr;
  std::int64_t step_;
  X buffer_[kRowBlock];
};

template <int kLength, class F, class Y, class... X>
inline __attribute__((always_inline)) void map_block(const F& f, std::int64_t count, Y* to, std::int64_t step,
                                                     const X*... from) {
  Y out[kLength];
  for (int j = 0; j < kLength; ++j) out[j] = f(from[j]...);
  if (step == 1) {
    if (count == kLength)
      std::memcpy(static_cast<void*>(to), out, sizeof out);
    else
      std::memcpy(static_cast<void*>(to), out, static_cast<std::size_t>(count) * sizeof(Y));
  } else {
    for (std::int64_t j = 0; j < count; ++j) to[j * step] = out[j];
  }
}

// A function of its own: inlined into the launch GCC vectorises it worse.
template <class F, class Y, class... X>
__attribute__((noinline)) void map_flat(const F f, std::int64_t n, Y* to, const X*... from) {
  if constexpr (is_plain<F>) return plain_row<1>(f, n, to, 1, from...);
  std::int64_t i = 0;
  for (; i + kRowBlock <= n; i += kRowBlock) map_block<kRowBlock>(f, kRowBlock, to + i, 1, from + i...);
  for (; i + kRowTail <= n; i += kRowTail) map_block<kRowTail>(f, kRowTail, to + i, 1, from + i...);
  if (i == n) return;
  const auto tail = [&](auto... operand) {
    (operand.place(from, n), ...);
    map_block<kRowTail>(f, n - i, to + i, 1, operand.template block<kRowTail>(i, n - i)...);
  };
  tail(RowOperand<X>(1)...);
}

template <class F, class Y, class... X>
__attribute__((noinline)) void map_row(const F f, std::int64_t n, Y* to, std::int64_t step,
                                       RowOperand<X>&... operand) {
  std::int64_t i = 0;
  for (; i + kRowBlock <= n; i += kRowBlock)
    map_block<kRowBlock>(f, kRowBlock, to + i * step, step,
                         operand.template block<kRowBlock>(i, kRowBlock)...);
  for (; i < n; i += kRowTail) {
    const std::int64_t count = n - i < kRowTail ? n - i : kRowTail;
    map_block<kRowTail>(f, count, to + i * step, step, operand.template block<kRowTail>(i, count)...);
  }
}
#endif

template <class F, class Y, class Indices, class... X>
struct MapRows;

/// y = f(x...), elements or chunks of rows.
template <class F, class Y, std::size_t... I, class... X>
struct MapRows<F, Y, std::index_sequence<I...>, X...> {
  static constexpr int K = 1 + sizeof...(X);
  F f;
  Strided<K> s;
  std::int64_t rows, rows_per_block;
  View<Y> y;
  // Kept by position: a tuple is no aggregate of plain numbers everywhere.
  List<const void*, K> x;

  template <class T, int k>
  RANKINE_KERNEL const T* operand() const {
    return static_cast<const T*>(x[k]);
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    std::int64_t at[K] = {};
    for (int axis = s.rank - 1; axis >= 0; --axis) {
      const std::int64_t here = i % s.extent[axis];
      i /= s.extent[axis];
      for (int k = 0; k < K; ++k) at[k] += here * s.step[k][axis];
    }
    y[at[0]] = f(operand<X, static_cast<int>(I)>()[at[I + 1]]...);
  }
#else
  inline void operator()(std::int64_t block) const {
    if (s.rank == 1 && flat()) {
      const std::int64_t begin = block * kChunk;
      const std::int64_t count = s.extent[0] - begin < kChunk ? s.extent[0] - begin : kChunk;
      map_flat<F, Y, X...>(f, count, y.at(begin), operand<X, static_cast<int>(I)>() + begin...);
      return;
    }
    const std::int64_t begin = block * rows_per_block;
    const std::int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
    const int inner = s.rank - 1;
    if constexpr (is_plain<F>) {
      bool simple = s.step[0][inner] == 1;
      for (int k = 1; k < K; ++k) simple = simple && (s.step[k][inner] == 0 || s.step[k][inner] == 1);
      if (simple)
        choose(begin, end);
      else
        plain_rows<kAnyStep, (kAnyStep + 0 * static_cast<int>(I))...>(begin, end);
      return;
    }
    std::int64_t index[kMaxAxes] = {}, start[K] = {};
    for (std::int64_t axis = inner - 1, r = begin; axis >= 0; --axis) {
      index[axis] = r % s.extent[axis];
      r /= s.extent[axis];
      for (int k = 0; k < K; ++k) start[k] += index[axis] * s.step[k][axis];
    }
    const auto all_rows = [&](RowOperand<X>... from) {
      const std::int64_t n = s.extent[inner];
      for (std::int64_t r = begin; r < end; ++r) {
        (from.place(operand<X, static_cast<int>(I)>() + start[I + 1], n), ...);
        map_row<F, Y, X...>(f, n, y.at(start[0]), s.step[0][inner], from...);
        for (int axis = inner - 1; axis >= 0; --axis) {
          for (int k = 0; k < K; ++k) start[k] += s.step[k][axis];
          if (++index[axis] < s.extent[axis]) break;
          for (int k = 0; k < K; ++k) start[k] -= s.step[k][axis] * s.extent[axis];
          index[axis] = 0;
        }
      }
    };
    all_rows(RowOperand<X>(s.step[I + 1][inner])...);
  }
  /// Rows whose elements lie side by side or repeat, by their steps.
  template <int... kSteps>
  inline void choose(std::int64_t begin, std::int64_t end) const {
    if constexpr (sizeof...(kSteps) == sizeof...(X)) {
      plain_rows<1, kSteps...>(begin, end);
    } else if (s.step[sizeof...(kSteps) + 1][s.rank - 1] == 1) {
      choose<kSteps..., 1>(begin, end);
    } else {
      choose<kSteps..., 0>(begin, end);
    }
  }
  template <int kStep, int... kSteps>
  __attribute__((noinline)) void plain_rows(std::int64_t begin, std::int64_t end) const {
    const F g = f;
    const int inner = s.rank - 1;
    const std::int64_t n = s.extent[inner];
    std::int64_t index[kMaxAxes] = {}, start[K] = {};
    for (std::int64_t axis = inner - 1, r = begin; axis >= 0; --axis) {
      index[axis] = r % s.extent[axis];
      r /= s.extent[axis];
      for (int k = 0; k < K; ++k) start[k] += index[axis] * s.step[k][axis];
    }
    for (std::int64_t r = begin; r < end; ++r) {
      plain_row<kStep>(
          g, n, y.at(start[0]), s.step[0][inner],
          PlainOperand<kSteps, X>(operand<X, static_cast<int>(I)>() + start[I + 1], s.step[I + 1][inner])...);
      for (int axis = inner - 1; axis >= 0; --axis) {
        for (int k = 0; k < K; ++k) start[k] += s.step[k][axis];
        if (++index[axis] < s.extent[axis]) break;
        for (int k = 0; k < K; ++k) start[k] -= s.step[k][axis] * s.extent[axis];
        index[axis] = 0;
      }
    }
  }
  inline bool flat() const {
    for (int k = 0; k < K; ++k)
      if (s.step[k][0] != 1) return false;
    return true;
  }
#endif
};

/// Flops that `f` takes for an element: `F::kFlops`, where it says so.
template <class F>
inline constexpr double flops_of = 0;
template <class F>
requires requires { F::kFlops; }
inline constexpr double flops_of<F> = F::kFlops;

/// y = f(x0, x1, ...) over the shape `s`, whose operand 0 is y. y may be one of the x, element by element;
/// otherwise it overlaps none. `f` holds numbers only; types may differ between operands.
template <class F, class Y, class... X>
void map(const char* name, F f, Strided<1 + sizeof...(X)> s, DevicePtr<Y> y, DevicePtr<const X>... x) {
  const std::int64_t count = s.count();
  if (count == 0) return;
  if (s.rank == 0) s = Strided<1 + sizeof...(X)>::flat(1);
  using Body = MapRows<F, Y, std::index_sequence_for<X...>, X...>;
  const std::int64_t n = s.extent[s.rank - 1];
  bool flat = s.rank == 1;
  for (const auto& operand : s.step) flat = flat && operand[0] == 1;
  const std::int64_t rows = count / n, per = kChunk / n + 1;
  const Body body{f, s, rows, per, y, {static_cast<const void*>(x.unwrap())...}};
  if (launch_state.timed) {
    int k = 1;
    double bytes = in_bytes<Y>(s.distinct(0));
    ((bytes += in_bytes<X>(s.distinct(k++))), ...);
    add_work(name, {flops_of<F> * static_cast<double>(count), bytes});
  }
#if RANKINE_ON_DEVICE
  device_range(name, count, body);
#else
  host_blocks(name, flat ? (count + kChunk - 1) / kChunk : (rows + per - 1) / per, body);
#endif
}

/// The same with all operands side by side.
template <class F, class Y, class... X>
void map(const char* name, F f, std::int64_t n, DevicePtr<Y> y, DevicePtr<const X>... x) {
  map(name, f, Strided<1 + sizeof...(X)>::flat(n), y, x...);
}

template <class F, class Y>
struct MapIndex {
  F f;
  std::int64_t n;
  View<Y> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const { y[i] = f(i); }
#else
  inline void operator()(std::int64_t block) const {
    const F g = f;
    const std::int64_t begin = block * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
    Y* const to = y.at(0);
    for (std::int64_t i = begin; i < end; ++i) to[i] = g(i);
  }
#endif
};

/// y[i] = f(i) for i < n: fills, masks, tables. `f` may hold Views.
template <class F, class Y>
void map_index(const char* name, F f, std::int64_t n, DevicePtr<Y> y) {
  const MapIndex<F, Y> body{f, n, y};
  count_work(name, {flops_of<F> * static_cast<double>(n), in_bytes<Y>(n)});
#if RANKINE_ON_DEVICE
  device_range(name, n, body);
#else
  host_blocks(name, (n + kChunk - 1) / kChunk, body);
#endif
}

}  // namespace rankine::kernels
