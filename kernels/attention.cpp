#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/blas.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

using blas::gemm;
using blas::Op;

// Rows that are worked on together: their weights should stay in the second-level cache.
std::int64_t block_rows(std::int64_t keys) { return keys <= 512 ? 48 : 24; }
// Sums and maxima run in lanes, over rows padded to a multiple of this.
constexpr std::int64_t kLanes = 16;

std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Distance of rows of weights: not a power of two.
std::int64_t weight_stride(std::int64_t keys) { return padded(keys) + kLanes; }

// Rows past then fresh, as columns: [dim][past + fresh].
template <class T>
void transpose_keys(const AttentionHead& head, const T* past, const T* fresh, T* out) {
  const std::int64_t n = head.keys();
  const auto copy = [&](const T* rows, std::int64_t count, T* to) {
    constexpr std::int64_t strip = 16;
    for (std::int64_t j0 = 0; j0 < count; j0 += strip)
      for (std::int64_t d = 0; d < head.dim; ++d)
        for (std::int64_t j = j0; j < std::min(count, j0 + strip); ++j)
          to[d * n + j] = rows[j * head.dim + d];
  };
  copy(past, head.past, out);
  copy(fresh, head.fresh, out + head.past);
}

template <class T>
const T* joined(const AttentionHead& head, const T* past, const T* fresh, T* buffer) {
  if (head.past == 0) return fresh;
  std::copy_n(past, head.past * head.dim, buffer);
  std::copy_n(fresh, head.fresh * head.dim, buffer + head.past * head.dim);
  return buffer;
}

// Keys that the last of rows [.., end) sees.
std::int64_t seen(const AttentionHead& head, std::int64_t end) {
  return head.causal ? head.keys() - head.queries + end : head.keys();
}

template <class T>
T lane_max(std::int64_t n, const T* x) {
  T lanes[kLanes];
  for (int j = 0; j < kLanes; ++j) lanes[j] = x[j];
  for (std::int64_t i = kLanes; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = lanes[j] < x[i + j] ? x[i + j] : lanes[j];
  return *std::max_element(lanes, lanes + kLanes);
}

template <class T>
T fold(T* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lanes[j] = lanes[j] + lanes[j + width];
  return lanes[0];
}

// x = exp(x - shift) on a padded row; returns the sum.
template <class T>
T shifted_exp_row(std::int64_t n, T shift, T* x) {
  T lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      const T e = Exp{}(x[i + j] - shift);
      x[i + j] = e;
      lanes[j] = lanes[j] + e;
    }
  return fold(lanes);
}

}  // namespace

std::int64_t AttentionHead::forward_work() const {
  return 2 * keys() * dim + block_rows(keys()) * weight_stride(keys());
}

std::int64_t AttentionHead::backward_work() const {
  return 5 * keys() * dim + 2 * block_rows(keys()) * weight_stride(keys());
}

double AttentionHead::flops() const {
  const double pairs = causal ? static_cast<double>(queries) *
                                    (static_cast<double>(keys()) - 0.5 * static_cast<double>(queries - 1))
                              : static_cast<double>(queries) * static_cast<double>(keys());
  return 4 * pairs * static_cast<double>(dim);
}

template <class T>
void attention_forward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                       const T* k, const T* v, T* o, std::int64_t stride, T* log_sum, T* work) {
  const std::int64_t n = head.keys(), dim = head.dim, rows = block_rows(n), ld = weight_stride(n);
  T* keys = work;
  T* p = work + 2 * n * dim;
  transpose_keys(head, past_k, k, keys);
  const T* values = joined(head, past_v, v, work + n * dim);
  for (std::int64_t begin = 0; begin < head.queries; begin += rows) {
    const std::int64_t count = std::min(rows, head.queries - begin), visible = seen(head, begin + count);
    gemm(Op::none, Op::none, count, visible, dim, scale, q + begin * dim, dim, keys, n, T(0), p, ld);
    T sums[64];
    for (std::int64_t i = 0; i < count; ++i) {
      T* row = p + i * ld;
      const std::int64_t limit = seen(head, begin + i + 1), width = padded(limit);
      std::fill(row + limit, row + width, std::numeric_limits<T>::lowest());
      const T top = lane_max(width, row);
      const T sum = shifted_exp_row(width, top, row);
      std::fill(row + limit, row + visible, T(0));
      log_sum[begin + i] = std::log(sum) + top;
      sums[i] = 1 / sum;
    }
    gemm(Op::none, Op::none, count, dim, visible, T(1), p, ld, values, dim, T(0), o + begin * stride, stride);
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t d = 0; d < dim; ++d) o[(begin + i) * stride + d] *= sums[i];
  }
}

template <class T>
void attention_backward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                        const T* k, const T* v, const T* log_sum, const T* d_o, std::int64_t stride, T* dq,
                        T* d_past_k, T* d_past_v, T* dk, T* dv, T* work) {
  const std::int64_t n = head.keys(), dim = head.dim, rows = block_rows(n), ld = weight_stride(n);
  T* keys = work;
  T* values = keys + n * dim;
  T* buffer = values + n * dim;
  T* d_keys = head.past == 0 ? dk : buffer + n * dim;
  T* d_values = head.past == 0 ? dv : buffer + 2 * n * dim;
  T* p = work + 5 * n * dim;
  T* dp = p + rows * ld;
  transpose_keys(head, past_k, k, keys);
  transpose_keys(head, past_v, v, values);
  const T* key_rows = joined(head, past_k, k, buffer);
  std::fill_n(d_keys, n * dim, T(0));
  std::fill_n(d_values, n * dim, T(0));
  for (std::int64_t begin = 0; begin < head.queries; begin += rows) {
    const std::int64_t count = std::min(rows, head.queries - begin), visible = seen(head, begin + count);
    gemm(Op::none, Op::none, count, visible, dim, scale, q + begin * dim, dim, keys, n, T(0), p, ld);
    gemm(Op::none, Op::none, count, visible, dim, T(1), d_o + begin * stride, stride, values, n, T(0), dp,
         ld);
    for (std::int64_t i = 0; i < count; ++i) {
      T* row = p + i * ld;
      T* d_row = dp + i * ld;
      const std::int64_t limit = seen(head, begin + i + 1), width = padded(limit);
      std::fill(row + limit, row + width, std::numeric_limits<T>::lowest());
      std::fill(d_row + limit, d_row + width, T(0));
      const T shift = log_sum[begin + i];
      T lanes[kLanes] = {};
      for (std::int64_t j = 0; j < width; j += kLanes)
        for (int s = 0; s < kLanes; ++s) {
          const T e = Exp{}(row[j + s] - shift);
          row[j + s] = e;
          lanes[s] = lanes[s] + e * d_row[j + s];
        }
      const T inner = fold(lanes);
      for (std::int64_t j = 0; j < width; ++j) d_row[j] = scale * row[j] * (d_row[j] - inner);
      std::fill(row + limit, row + std::max(width, visible), T(0));
      std::fill(d_row + limit, d_row + std::max(width, visible), T(0));
    }
    gemm(Op::none, Op::none, count, dim, visible, T(1), dp, ld, key_rows, dim, T(0), dq + begin * dim, dim);
    gemm(Op::transpose, Op::none, visible, dim, count, T(1), dp, ld, q + begin * dim, dim, T(1), d_keys, dim);
    gemm(Op::transpose, Op::none, visible, dim, count, T(1), p, ld, d_o + begin * stride, stride, T(1),
         d_values, dim);
  }
  if (head.past == 0) return;
  std::copy_n(d_keys, head.past * dim, d_past_k);
  std::copy_n(d_keys + head.past * dim, head.fresh * dim, dk);
  std::copy_n(d_values, head.past * dim, d_past_v);
  std::copy_n(d_values + head.past * dim, head.fresh * dim, dv);
}

namespace {

// y = x, turned by the angles if there are any (backwards if sign = -1).
template <class T>
void turn(std::int64_t dim, const T* angles, T sign, const T* x, T* y) {
  if (angles == nullptr) {
    std::copy_n(x, dim, y);
    return;
  }
  const std::int64_t half = dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const T c = angles[2 * i], s = sign * angles[2 * i + 1], a = x[i], b = x[i + half];
    y[i] = c * a - s * b;
    y[i + half] = s * a + c * b;
  }
}

}  // namespace

template <class T>
void split_heads(std::int64_t tokens, std::int64_t heads, std::int64_t dim, const T* angles, const T* qkv,
                 T* q, T* k, T* v) {
  const T* no_angles = nullptr;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const T* turns = angles == nullptr ? nullptr : angles + t * dim;
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* from = qkv + (3 * t * heads + h) * dim;
      const std::int64_t to = (h * tokens + t) * dim;
      turn(dim, turns, T(1), from, q + to);
      turn(dim, turns, T(1), from + heads * dim, k + to);
      turn(dim, no_angles, T(1), from + 2 * heads * dim, v + to);
    }
  }
}

template <class T>
void merge_heads(std::int64_t tokens, std::int64_t heads, std::int64_t dim, const T* angles, const T* q,
                 const T* k, const T* v, T* qkv) {
  const auto put = [dim](const T* from, std::int64_t offset, const T* turns, T* to) {
    if (from == nullptr) {
      std::fill_n(to, dim, T(0));
    } else {
      turn(dim, turns, T(-1), from + offset, to);
    }
  };
  const T* no_angles = nullptr;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const T* turns = angles == nullptr ? nullptr : angles + t * dim;
    for (std::int64_t h = 0; h < heads; ++h) {
      T* to = qkv + (3 * t * heads + h) * dim;
      const std::int64_t from = (h * tokens + t) * dim;
      put(q, from, turns, to);
      put(k, from, turns, to + heads * dim);
      put(v, from, no_angles, to + 2 * heads * dim);
    }
  }
}

template void attention_forward(const AttentionHead&, float, const float*, const float*, const float*,
                                const float*, const float*, float*, std::int64_t, float*, float*);
template void attention_forward(const AttentionHead&, double, const double*, const double*, const double*,
                                const double*, const double*, double*, std::int64_t, double*, double*);
template void attention_backward(const AttentionHead&, float, const float*, const float*, const float*,
                                 const float*, const float*, const float*, const float*, std::int64_t, float*,
                                 float*, float*, float*, float*, float*);
template void attention_backward(const AttentionHead&, double, const double*, const double*, const double*,
                                 const double*, const double*, const double*, const double*, std::int64_t,
                                 double*, double*, double*, double*, double*, double*);
template void split_heads(std::int64_t, std::int64_t, std::int64_t, const float*, const float*, float*,
                          float*, float*);
template void split_heads(std::int64_t, std::int64_t, std::int64_t, const double*, const double*, double*,
                          double*, double*);
template void merge_heads(std::int64_t, std::int64_t, std::int64_t, const float*, const float*, const float*,
                          const float*, float*);
template void merge_heads(std::int64_t, std::int64_t, std::int64_t, const double*, const double*,
                          const double*, const double*, double*);

}  // namespace rankine::kernels
