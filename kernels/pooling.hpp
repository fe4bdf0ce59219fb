// Pooling of planes: windows of a plane [height, width], outside of which nothing counts. No Kokkos here:
// src/ includes this. T: float, double. Tap, which numbers the places of a window: the unsigned byte where
// kernel_height * kernel_width <= 256, else a 32-bit integer.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// Output (i, j) has the window stride i - pad + 0 .. kernel - 1 of the input, along both axes.
struct PoolExtents {
  std::int64_t planes = 1, height = 1, width = 1, out_height = 1, out_width = 1;
  std::int64_t kernel_height = 1, kernel_width = 1, stride_height = 1, stride_width = 1;
  std::int64_t pad_height = 0, pad_width = 0;
};

/// y = the largest value of each window (NaN if there is one), tap = where it stands in the window; a window
/// that meets no input gives -inf.
template <class T, class Tap>
void max_pool_forward(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<T> y, DevicePtr<Tap> tap);
/// y[window] = x[its tap]: the linear map that max_pool_forward is near x. A window without input gives 0.
template <class T, class Tap>
void pick_taps(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<const Tap> tap, DevicePtr<T> y);
/// Its adjoint: dx = sum over the windows whose tap stands there.
template <class T, class Tap>
void place_taps(const PoolExtents& e, DevicePtr<const T> dy, DevicePtr<const Tap> tap, DevicePtr<T> dx);
/// y = factor * the sum of each window.
template <class T>
void sum_pool_forward(const PoolExtents& e, T factor, DevicePtr<const T> x, DevicePtr<T> y);
/// Its adjoint.
template <class T>
void sum_pool_backward(const PoolExtents& e, T factor, DevicePtr<const T> dy, DevicePtr<T> dx);
/// y[r] = mean of x[r, :], rows of n values.
template <class T>
void row_means(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y);

/// The same bits by the bodies that a device runs, which gather: what tests hold the host's own loops
/// against.
template <class T, class Tap>
void max_pool_forward_portable(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<T> y,
                               DevicePtr<Tap> tap);
template <class T, class Tap>
void pick_taps_portable(const PoolExtents& e, DevicePtr<const T> x, DevicePtr<const Tap> tap, DevicePtr<T> y);
template <class T, class Tap>
void place_taps_portable(const PoolExtents& e, DevicePtr<const T> dy, DevicePtr<const Tap> tap,
                         DevicePtr<T> dx);
template <class T>
void sum_pool_forward_portable(const PoolExtents& e, T factor, DevicePtr<const T> x, DevicePtr<T> y);
template <class T>
void sum_pool_backward_portable(const PoolExtents& e, T factor, DevicePtr<const T> dy, DevicePtr<T> dx);

}  // namespace rankine::kernels
