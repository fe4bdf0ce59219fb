// Softmax of rows, forward and backward, and the cross entropy whose backward it is part of. Sums over a row
// have the order of row_sums().
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

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

/// y[i] = f(chunk) or g(i) for all of a row: by elements where the row is so short that single elements of it
/// are read soon after, for which a processor waits when they were written by part of a vector.
template <class T, class F, class G>
void fill_row(std::int64_t n, T* y, F f, G g) {
  if (n < kSumLanes && n % Simd<T>::width != 0) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = g(i);
  } else {
    for_chunks<T>(n, [&](const auto& at) { at.to(y, f(at)); });
  }
}

/// y *= factor.
template <class T>
void scale_row(std::int64_t n, T factor, T* y) {
  const SimdOf<T> factors = broadcast(factor);
  fill_row(
      n, y, [&](const auto& at) { return at.of(y) * factors; },
      [&](std::int64_t i) { return y[i] * factor; });
}

/// y[r,:] = exp(x[r,:]) / sum exp(x[r,:]), in place allowed.
template <class T>
void softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, y += n) {
    exp_row(n, x, largest(n, x), y);
    scale_row(n, 1 / row_sum(n, y), y);
  }
}

/// dx = y (dy - y . dy).
template <class T>
void softmax_backward(std::int64_t rows, std::int64_t n, const T* y, const T* dy, T* dx) {
  // Short rows are sums in order: those of four rows at a time, so that none waits for itself, and each in a
  // register of its own, because GCC would gather the four rows' numbers into vectors, at twice the time.
  constexpr int four = 4;
  for (int together = 0; rows > 0;
       rows -= together, y += together * n, dy += together * n, dx += together * n) {
    T inner[four] = {};
    together = n < kSumLanes && rows >= four ? four : 1;
    if (together == four) {
      for (std::int64_t i = 0; i < n; ++i)
        for (int j = 0; j < four; ++j)
          inner[j] = in_register(multiply_add(y[i + j * n], dy[i + j * n], inner[j]));
    } else {
      row_sums<T, 1>(
          n,
          [&](const auto& at, SimdOf<T>* acc) {
            acc[0] = multiply_add_lanes<T>(at.of(y), at.of(dy), acc[0]);
          },
          [&](std::int64_t i, T* acc) { acc[0] = multiply_add(y[i], dy[i], acc[0]); }, inner);
    }
    for (int j = 0; j < together; ++j) {
      const SimdOf<T> inners = broadcast(inner[j]);
      for_chunks<T>(
          n, [&](const auto& at) { at.to(dx + j * n, at.of(y + j * n) * (at.of(dy + j * n) - inners)); });
    }
  }
}

/// y = x - log sum exp(x) for each row.
template <class T>
void log_softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const T top = largest(n, x);
    exp_row(n, x, top, y);
    const T log_sum = std::log(row_sum(n, y)) + top;
    const SimdOf<T> log_sums = broadcast(log_sum);
    fill_row(
        n, y, [&](const auto& at) { return at.of(x) - log_sums; },
        [&](std::int64_t i) { return x[i] - log_sum; });
  }
}

/// loss[r] = (1 - s) (log sum exp(x[r,:]) - x[r, label]) + s (log sum exp(x[r,:]) - mean x[r,:]);
/// probabilities[r,:] = softmax(x[r,:]).
template <class T>
void cross_entropy_forward(std::int64_t rows, std::int64_t n, const T* x, const std::int32_t* label, T s,
                           T* loss, T* probabilities) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, probabilities += n) {
    const T top = largest(n, x);
    exp_row(n, x, top, probabilities);
    const T sum = row_sum(n, probabilities), log_sum = std::log(sum) + top;
    scale_row(n, 1 / sum, probabilities);
    loss[r] = log_sum - (1 - s) * x[label[r]];
    if (s != 0) loss[r] -= s * row_sum(n, x) / static_cast<T>(n);
  }
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
