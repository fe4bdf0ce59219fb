// Softmax of rows, forward and backward, and the cross entropy whose backward it is part of.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/pointwise.hpp"

namespace rankine::kernels {

/// The largest of n values; at least one.
template <class T>
T largest(std::int64_t n, const T* x) {
  T top = x[0];
  for (std::int64_t i = 1; i < n; ++i) top = std::max(top, x[i]);
  return top;
}

/// y = exp(x - max x); returns its sum.
template <class T>
T shifted_exp(std::int64_t n, const T* x, T* y) {
  const T top = largest(n, x);
  const Exp exponential{};
  for (std::int64_t i = 0; i < n; ++i) y[i] = exponential(x[i] - top);
  T sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += y[i];
  return sum;
}

/// y[r,:] = exp(x[r,:]) / sum exp(x[r,:]), in place allowed.
template <class T>
void softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T factor = 1 / shifted_exp(n, x + r * n, y + r * n);
    for (std::int64_t i = 0; i < n; ++i) y[r * n + i] *= factor;
  }
}

/// dx = y (dy - y . dy).
template <class T>
void softmax_backward(std::int64_t rows, std::int64_t n, const T* y, const T* dy, T* dx) {
  for (std::int64_t r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
    T inner = 0;
    for (std::int64_t i = 0; i < n; ++i) inner += y[i] * dy[i];
    for (std::int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - inner);
  }
}

/// y = x - log sum exp(x) for each row.
template <class T>
void log_softmax_forward(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const T log_sum = std::log(shifted_exp(n, x, y)) + largest(n, x);
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] - log_sum;
  }
}

/// loss[r] = (1 - s) (log sum exp(x[r,:]) - x[r, label]) + s (log sum exp(x[r,:]) - mean x[r,:]);
/// probabilities[r,:] = softmax(x[r,:]).
template <class T>
void cross_entropy_forward(std::int64_t rows, std::int64_t n, const T* x, const std::int32_t* label, T s,
                           T* loss, T* probabilities) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, probabilities += n) {
    const T sum = shifted_exp(n, x, probabilities);
    const T factor = 1 / sum, log_sum = std::log(sum) + largest(n, x);
    T total = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      probabilities[i] *= factor;
      total += x[i];
    }
    loss[r] = log_sum - (1 - s) * x[label[r]];
    if (s != 0) loss[r] -= s * total / static_cast<T>(n);
  }
}

/// dx[r,:] = dloss[r] (probabilities[r,:] - (1 - s) onehot(label[r]) - s / n).
template <class T>
void cross_entropy_backward(std::int64_t rows, std::int64_t n, const T* probabilities,
                            const std::int32_t* label, T s, const T* dloss, T* dx) {
  const T even = s / static_cast<T>(n);
  for (std::int64_t r = 0; r < rows; ++r, probabilities += n, dx += n) {
    for (std::int64_t i = 0; i < n; ++i) dx[i] = dloss[r] * (probabilities[i] - even);
    dx[label[r]] -= dloss[r] * (1 - s);
  }
}

}  // namespace rankine::kernels
