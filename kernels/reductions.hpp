// Sums, extremes and recurrences along an axis. x is [outer, n, inner], side by side. No Kokkos here.
//
// T is float or double, and a complex type of them where that is said. Each sum has one order, which depends
// on the number of its terms only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// y[row] = sum of x[row, n], in a tree: 16 lanes over leaves of 256. Complex too. `work` has the elements
/// that sum_rows_workspace() says.
std::int64_t sum_rows_workspace(std::int64_t rows, std::int64_t n);
template <class T>
void sum_rows(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y, DevicePtr<T> work);

/// y[outer, inner] = sum over n, in a tree: 4 in order, then pairs. Complex too.
template <class T>
void sum_columns(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const T> x,
                 DevicePtr<T> y);

/// Values [count][width].
template <class T>
struct Part {
  DevicePtr<const T> values;
  std::int64_t width;
};
/// For each part its sum over [begin, end) of the count, by pairs, and the sums side by side in `total`.
template <class T>
void sum_parts(const std::vector<Part<T>>& parts, std::int64_t begin, std::int64_t end, DevicePtr<T> total);

/// Where along n the largest (else smallest) element is, the first of equal ones; n > 0. A NaN is larger
/// than nothing.
template <class T>
void first_extreme(std::int64_t outer, std::int64_t n, std::int64_t inner, bool largest, DevicePtr<const T> x,
                   DevicePtr<std::int64_t> index);
/// y[outer, inner] = x at the index along n.
template <class T>
void at_index(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const std::int64_t> index,
              DevicePtr<const T> x, DevicePtr<T> y);
/// y[outer, n, inner] = 1 at the index along n, else 0.
template <class T>
void mark_index(std::int64_t outer, std::int64_t n, std::int64_t inner, DevicePtr<const std::int64_t> index,
                DevicePtr<T> y);

/// How many elements are NaN or infinite, and the first of them (INT64_MAX where none is).
struct NotFiniteFlag {
  std::int64_t count, first;
};
/// Of n elements of `parts` numbers each. `work` has the elements that count_not_finite_workspace() says.
std::int64_t count_not_finite_workspace(std::int64_t n);
template <class T>
void count_not_finite(std::int64_t n, int parts, DevicePtr<const T> x, DevicePtr<NotFiniteFlag> flag,
                      DevicePtr<NotFiniteFlag> work);

/// y[o, k, i] = x[o, k, i] + y[o, k - 1, i], or from the end, + y[o, k + 1, i]. y may be x. Complex too.
template <class T>
void cumulative_sum(std::int64_t outer, std::int64_t n, std::int64_t inner, bool reverse,
                    DevicePtr<const T> x, DevicePtr<T> y);
/// h[o, k, i] = a[o, k, i] h[o, k - 1, i] + b[o, k, i], h = b at the start; or from the end. h may be b.
/// Complex too.
template <class T>
void diagonal_scan(std::int64_t outer, std::int64_t n, std::int64_t inner, bool reverse, DevicePtr<const T> a,
                   DevicePtr<const T> b, DevicePtr<T> h);

// Segments of n: segment s has offsets[s] .. offsets[s + 1] - 1. y is [outer, segments, inner].
/// In order. Complex too.
template <class T>
void segment_sum(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                 DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y);
/// The largest of each segment (-infinity where it is empty); first [outer, n, inner] is 1 at the first of
/// the largest, else 0.
template <class T>
void segment_max(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                 DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y,
                 DevicePtr<T> first);
/// y [outer, n, inner].
template <class T>
void segment_softmax(std::int64_t outer, std::int64_t n, std::int64_t inner, std::int64_t segments,
                     DevicePtr<const std::int64_t> offsets, DevicePtr<const T> x, DevicePtr<T> y);
/// y[o, k, i] = x[o, s, i] for all k of segment s; elements of `bytes` bytes.
void repeat_segments(std::size_t bytes, std::int64_t outer, std::int64_t n, std::int64_t inner,
                     std::int64_t segments, DevicePtr<const std::int64_t> offsets,
                     DevicePtr<const std::byte> x, DevicePtr<std::byte> y);

}  // namespace rankine::kernels
