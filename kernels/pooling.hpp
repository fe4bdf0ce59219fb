// Pooling of planes: windows of a plane [height, width], outside of which nothing counts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/simd.hpp"

namespace rankine::kernels {

/// Output (i, j) has the window stride i - pad + 0 .. kernel - 1 of the input, along both axes.
struct PoolExtents {
  std::int64_t planes = 1, height = 1, width = 1, out_height = 1, out_width = 1;
  std::int64_t kernel_height = 1, kernel_width = 1, stride_height = 1, stride_width = 1;
  std::int64_t pad_height = 0, pad_width = 0;
};

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

/// Whether the windows are the 2x2 squares that tile the planes. These go in two steps, rows and then pairs
/// of columns of a whole plane, both of which vectorise.
inline bool tiled_by_squares(const PoolExtents& e) {
  return e.kernel_height == 2 && e.kernel_width == 2 && e.stride_height == 2 && e.stride_width == 2 &&
         e.pad_height == 0 && e.pad_width == 0 && e.height == 2 * e.out_height && e.width == 2 * e.out_width;
}

/// y = the largest value of each window (NaN if there is one), tap = where it stands in the window; a window
/// that meets no input gives -inf. Index: the smallest type that holds kernel_height * kernel_width - 1.
template <class T, class Index>
void max_pool_forward(const PoolExtents& e, const T* x, T* y, Index* tap) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  if (tiled_by_squares(e)) {
    // Of equal values the upper and then the left one counts; NaN counts as larger than all.
    const auto larger = [](T b, T a) { return static_cast<bool>((b > a) | (b != b)); };
    std::vector<T> tops(static_cast<std::size_t>(2 * out));
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(3 * out));
    T* const top = tops.data();
    std::int32_t* const row = numbers.data();
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
      for (std::int64_t i = 0; i < out; ++i) tap[i] = static_cast<Index>(which[i]);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, x += e.height * e.width, y += out, tap += out) {
    std::fill(y, y + out, -std::numeric_limits<T>::infinity());
    std::fill(tap, tap + out, Index(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j) {
            const T v = x[from + j * s];
            const bool larger = v > y[to + j] || v != v;
            y[to + j] = larger ? v : y[to + j];
            tap[to + j] = larger ? static_cast<Index>(t) : tap[to + j];
          }
        });
  }
}

/// y[window] = x[its tap]: the linear map that max_pool_forward is near x. A window without input gives 0.
template <class T, class Index>
void pick_taps(const PoolExtents& e, const T* x, const Index* tap, T* y) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  for (std::int64_t p = 0; p < e.planes; ++p, x += e.height * e.width, y += out, tap += out) {
    std::fill(y, y + out, T(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j)
            y[to + j] = tap[to + j] == static_cast<Index>(t) ? x[from + j * s] : y[to + j];
        });
  }
}

/// Its adjoint: dx = sum over the windows whose tap stands there.
template <class T, class Index>
void place_taps(const PoolExtents& e, const T* dy, const Index* tap, T* dx) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width, plane = e.height * e.width;
  if (tiled_by_squares(e)) {
    std::vector<T> rows[2] = {std::vector<T>(static_cast<std::size_t>(2 * out)),
                              std::vector<T>(static_cast<std::size_t>(2 * out))};
    std::vector<std::int32_t> which(static_cast<std::size_t>(out));
    for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out, tap += out) {
      for (std::int64_t i = 0; i < out; ++i) which[static_cast<std::size_t>(i)] = tap[i];
      for (std::int32_t below = 0; below < 2; ++below) {
        T* to = rows[below].data();
        for (std::int64_t i = 0; i < out; ++i) {
          const std::int32_t t = which[static_cast<std::size_t>(i)];
          to[2 * i] = t == 2 * below ? dy[i] : T(0);
          to[2 * i + 1] = t == 2 * below + 1 ? dy[i] : T(0);
        }
      }
      for (std::int64_t i = 0; i < e.out_height; ++i)
        for (std::int64_t below = 0; below < 2; ++below)
          copy_row(e.width, rows[below].data() + i * e.width, dx + (2 * i + below) * e.width);
    }
    return;
  }
  for (std::int64_t p = 0; p < e.planes; ++p, dx += plane, dy += out, tap += out) {
    std::fill(dx, dx + plane, T(0));
    for_each_tap(
        e, [&](std::int64_t t, std::int64_t to, std::int64_t from, std::int64_t first, std::int64_t last) {
          for (std::int64_t j = first; j < last; ++j)
            dx[from + j * s] += tap[to + j] == static_cast<Index>(t) ? dy[to + j] : T(0);
        });
  }
}

/// y = factor * the sum of each window.
template <class T>
void sum_pool_forward(const PoolExtents& e, T factor, const T* x, T* y) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width;
  if (tiled_by_squares(e)) {
    std::vector<T> rows(static_cast<std::size_t>(2 * out));
    T* const to = rows.data();
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

/// Its adjoint.
template <class T>
void sum_pool_backward(const PoolExtents& e, T factor, const T* dy, T* dx) {
  const std::int64_t out = e.out_height * e.out_width, s = e.stride_width, plane = e.height * e.width;
  if (tiled_by_squares(e)) {
    std::vector<T> rows(static_cast<std::size_t>(2 * out));
    T* const wide = rows.data();
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

/// y[r] = mean of x[r, :], rows of n values.
template <class T>
void row_means(std::int64_t rows, std::int64_t n, const T* x, T* y) {
  const T share = 1 / static_cast<T>(n);
  for (std::int64_t r = 0; r < rows; ++r) y[r] = row_sum(n, x + r * n) * share;
}

}  // namespace rankine::kernels
