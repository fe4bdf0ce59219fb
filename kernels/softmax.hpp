// Softmax of rows, forward and backward, and the cross entropy whose backward it is part of. Sums over a row
// have the order of row_sums().
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/pointwise.hpp"
#include "kernels/simd.hpp"

namespace rankine::kernels {

/// The largest of n values; at least one.
template <class T>
T largest(std::int64_t n, const T* x) {
  constexpr int W = Simd<T>::width;
  if (n < kSumLanes) {
    T top = x[0];
    for (std::int64_t i = 1; i < n; ++i) top = std::max(top, x[i]);
    return top;
  }
  // Two vectors at a time, the last of which may be read twice.
  const auto larger = [](SimdOf<T> a, SimdOf<T> b) { return a < b ? b : a; };
  SimdOf<T> top[2] = {load(x), load(x + W)};
  std::int64_t i = 2 * W;
  for (; i + 2 * W <= n; i += 2 * W)
    for (int j = 0; j < 2; ++j) top[j] = larger(top[j], load(x + i + j * W));
  if (i + W <= n) top[0] = larger(top[0], load(x + i));
  top[0] = larger(larger(top[0], load(x + n - W)), top[1]);
  T lanes[W];
  store(lanes, top[0]);
  return *std::max_element(lanes, lanes + W);
}

/// y = exp(x - shift), in place allowed. A function of its own, in blocks of one length: so the compiler
/// makes vectors of it.
template <class T>
[[gnu::noinline]] void exp_row(std::int64_t n, const T* x, T shift, T* y) {
  if (n < kSumLanes) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = Exp{}(x[i] - shift);
    return;
  }
  constexpr int block = 16;
  T out[block], last[block];  // the last block overlaps the one before
  for (int j = 0; j < block; ++j) last[j] = Exp{}(x[n - block + j] - shift);
  for (std::int64_t i = 0; i + block <= n; i += block) {
    for (int j = 0; j < block; ++j) out[j] = Exp{}(x[i + j] - shift);
    std::memcpy(y + i, out, sizeof out);
  }
  std::memcpy(y + n - block, last, sizeof last);
}

/// y *= factor.
template <class T>
void scale_row(std::int64_t n, T factor, T* y) {
  const SimdOf<T> factors = broadcast(factor);
  for_chunks<T>(n, [&](const auto& at) { at.to(y, at.of(y) * factors); });
}

/// sum + a b, rounded once, of numbers or of lanes.
template <class T>
struct AddProduct {
  T operator()(T sum, T a, T b) const { return multiply_add(a, b, sum); }
  SimdOf<T> operator()(SimdOf<T> sum, SimdOf<T> a, SimdOf<T> b) const {
    return multiply_add_lanes<T>(a, b, sum);
  }
};

/// As many rows of n < kSumLanes elements as a vector has lanes. What goes through a row in order does so in
/// all of them at once, a row a lane. Where each element stands for itself, the rows are n vectors as they
/// lie in memory.
template <class T>
class RowsInLanes {
 public:
  static constexpr int W = Simd<T>::width;

  explicit RowsInLanes(std::int64_t n) : n_(n) {
    for (int r = 0; r < W; ++r)
      for (std::int64_t i = 0; i < n; i += W) store(row_of_ + r * n + i, broadcast(static_cast<Place>(r)));
  }

  /// f(... f(f(start, x[r,0] ...), x[r,1] ...), x[r,n-1] ...) for each row r; f takes vectors and numbers.
  template <class F, class... X>
  SimdOf<T> fold(SimdOf<T> start, F f, const X*... x) const {
    std::int64_t i = 0;
    for (; i + W <= n_; i += W) start = fold_columns<true>(W, start, f, Columns<true>(n_, W, x + i)...);
    const std::int64_t left = n_ - i;
    if (left > W / 4) return fold_columns<false>(left, start, f, Columns<false>(n_, left, x + i)...);
    T values[W];  // a few columns by elements
    store(values, start);
    for (; i < n_; ++i)
      for (int r = 0; r < W; ++r) values[r] = in_register(f(values[r], x[r * n_ + i]...));
    return load(values);
  }
  SimdOf<T> largest(const T* x) const {
    const SimdOf<T> none = broadcast(-std::numeric_limits<T>::infinity());
    return fold(
        none, [](auto top, auto v) { return top < v ? v : top; }, x);
  }
  SimdOf<T> sum(const T* x) const {
    return fold(
        SimdOf<T>{}, [](auto total, auto v) { return total + v; }, x);
  }

  /// y = f(chunk, values of the chunk's rows).
  template <class F>
  void fill(T* y, SimdOf<T> values, F f) const {
    for (std::int64_t i = 0; i < n_; ++i) {
      const Chunk<T, true> at{i * W, W};
      at.to(y, f(at, lanes_of<T>(values, load(row_of_ + i * W))));
    }
  }
  /// y = exp(x - shift), in place allowed.
  void exp(const T* x, SimdOf<T> shift, T* y) const {
    fill(y, shift, [x](const auto& at, SimdOf<T> shifts) {
      T out[W];
      store(out, at.of(x) - shifts);
      for (int j = 0; j < W; ++j) out[j] = Exp{}(out[j]);
      return load(out);
    });
  }

 private:
  template <bool kAll>
  struct Columns {
    SimdOf<T> of[W];
    Columns(std::int64_t n, std::int64_t count, const T* x) {
      for_lanes([&](auto r) { of[r] = Chunk<T, kAll>{r * n, count}.of(x); });
      transpose<T>(of);
    }
  };
  // A loop that the first pass of a compiler undoes, so that columns stay in registers.
  template <class F>
  static void for_lanes(F f) {
    [f]<int... k>(std::integer_sequence<int, k...>) { (f(std::integral_constant<int, k>()), ...); }
    (std::make_integer_sequence<int, W>());
  }
  template <bool kAll, class F, class... C>
  static SimdOf<T> fold_columns(std::int64_t count, SimdOf<T> value, F f, const C&... columns) {
    for_lanes([&](auto i) { value = kAll || i < count ? f(value, columns.of[i]...) : value; });
    return value;
  }

  using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  std::int64_t n_;
  Place row_of_[(kSumLanes + 1) * W];
};

/// Rows 0, 1, ... of n elements: many(lanes, r) does the rows from r on that go into lanes, one(r) a row.
template <class T, class Many, class One>
void for_rows(std::int64_t rows, std::int64_t n, Many many, One one) {
  constexpr int W = Simd<T>::width;
  std::int64_t r = 0;
  if (n < kSumLanes && rows >= W) {
    const RowsInLanes<T> lanes(n);
    for (; r + W <= rows; r += W) many(lanes, r);
  }
  for (; r < rows; ++r) one(r);
}

/// y[r,:] = exp(x[r,:]) / sum exp(x[r,:]), in place allowed.
template <class T>
void softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for_rows<T>(
      rows, n,
      [=](const auto& lanes, std::int64_t r) {
        T* to = y + r * n;
        lanes.exp(x + r * n, lanes.largest(x + r * n), to);
        lanes.fill(to, T(1) / lanes.sum(to),
                   [to](const auto& at, auto factors) { return at.of(to) * factors; });
      },
      [=](std::int64_t r) {
        T* to = y + r * n;
        exp_row(n, x + r * n, largest(n, x + r * n), to);
        scale_row(n, 1 / row_sum(n, to), to);
      });
}

/// dx = y (dy - y . dy).
template <class T>
void softmax_backward(std::int64_t rows, std::int64_t n, const T* y, const T* dy, T* dx) {
  const auto slope = [](const T* of, const T* by) {
    return [of, by](const auto& at, SimdOf<T> inners) { return at.of(of) * (at.of(by) - inners); };
  };
  for_rows<T>(
      rows, n,
      [=](const auto& lanes, std::int64_t r) {
        const T *of = y + r * n, *by = dy + r * n;
        lanes.fill(dx + r * n, lanes.fold(SimdOf<T>{}, AddProduct<T>{}, of, by), slope(of, by));
      },
      [=](std::int64_t r) {
        const T *of = y + r * n, *by = dy + r * n;
        T inner;
        row_sums<T, 1>(
            n,
            [=](const auto& at, SimdOf<T>* acc) {
              acc[0] = multiply_add_lanes<T>(at.of(of), at.of(by), acc[0]);
            },
            [=](std::int64_t i, T* acc) { acc[0] = multiply_add(of[i], by[i], acc[0]); }, &inner);
        const auto element = slope(of, by);
        for_chunks<T>(n, [=](const auto& at) { at.to(dx + r * n, element(at, broadcast(inner))); });
      });
}

/// y = x - log sum exp(x) for each row.
template <class T>
void log_softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for_rows<T>(
      rows, n,
      [=](const auto& lanes, std::int64_t r) {
        const T* from = x + r * n;
        T *to = y + r * n, log_sums[RowsInLanes<T>::W];
        const SimdOf<T> top = lanes.largest(from);
        lanes.exp(from, top, to);
        store(log_sums, lanes.sum(to));
        for (T& s : log_sums) s = std::log(s);
        lanes.fill(to, load(log_sums) + top,
                   [from](const auto& at, auto sums) { return at.of(from) - sums; });
      },
      [=](std::int64_t r) {
        const T* from = x + r * n;
        T* to = y + r * n;
        const T top = largest(n, from);
        exp_row(n, from, top, to);
        const SimdOf<T> log_sum = broadcast(std::log(row_sum(n, to)) + top);
        for_chunks<T>(n, [=](const auto& at) { at.to(to, at.of(from) - log_sum); });
      });
}

/// loss[r] = (1 - s) (log sum exp(x[r,:]) - x[r, label]) + s (log sum exp(x[r,:]) - mean x[r,:]);
/// probabilities[r,:] = softmax(x[r,:]).
template <class T>
void cross_entropy_forward(std::int64_t rows, std::int64_t n, const T* x, const std::int32_t* label, T s,
                           T* loss, T* probabilities) {
  const auto set_loss = [=](std::int64_t r, T top, T sum, T total) {
    const T log_sum = std::log(sum) + top;
    loss[r] = log_sum - (1 - s) * x[r * n + label[r]];
    if (s != 0) loss[r] -= s * total / static_cast<T>(n);
  };
  for_rows<T>(
      rows, n,
      [=](const auto& lanes, std::int64_t r) {
        const T* from = x + r * n;
        T* to = probabilities + r * n;
        const SimdOf<T> top = lanes.largest(from);
        lanes.exp(from, top, to);
        const SimdOf<T> sum = lanes.sum(to), total = s == 0 ? sum : lanes.sum(from);
        lanes.fill(to, T(1) / sum, [to](const auto& at, auto factors) { return at.of(to) * factors; });
        for (int j = 0; j < RowsInLanes<T>::W; ++j) set_loss(r + j, top[j], sum[j], total[j]);
      },
      [=](std::int64_t r) {
        const T* from = x + r * n;
        T* to = probabilities + r * n;
        const T top = largest(n, from);
        exp_row(n, from, top, to);
        const T sum = row_sum(n, to);
        scale_row(n, 1 / sum, to);
        set_loss(r, top, sum, s == 0 ? sum : row_sum(n, from));
      });
}

/// dx[r,:] = dloss[r] (probabilities[r,:] - (1 - s) onehot(label[r]) - s / n).
template <class T>
void cross_entropy_backward(std::int64_t rows, std::int64_t n, const T* probabilities,
                            const std::int32_t* label, T s, const T* dloss, T* dx) {
  const SimdOf<T> evens = broadcast(s / static_cast<T>(n));
  // An element of a row is read some rows after it was written: at once a processor would wait for it.
  constexpr std::int64_t block = 16;
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t end = std::min(first + block, rows);
    for (std::int64_t r = first; r < end; ++r) {
      const SimdOf<T> slope = broadcast(dloss[r]);
      for_chunks<T>(
          n, [&](const auto& at) { at.to(dx + r * n, slope * (at.of(probabilities + r * n) - evens)); });
    }
    for (std::int64_t r = first; r < end; ++r) dx[r * n + label[r]] -= dloss[r] * (1 - s);
  }
}

}  // namespace rankine::kernels
