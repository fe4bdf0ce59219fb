// Pooling over the space of images [L, B, C, H, W], each op with its adjoint, so that derivatives of any
// order run through kernels.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

struct PoolGeometry {
  std::int64_t kernel[2] = {2, 2};
  std::int64_t stride[2] = {2, 2};
  std::int64_t padding[2] = {0, 0};  ///< positions above and on the left that hold nothing
};

/// The largest value of each window; x [L, B, C, H, W] to [L, B, C, height, width]. Keeps one byte an output.
Tensor max_pool(const Tensor& x, const PoolGeometry& geometry, std::int64_t height, std::int64_t width);
/// `factor` times the sum of each window.
Tensor sum_pool(const Tensor& x, double factor, const PoolGeometry& geometry, std::int64_t height,
                std::int64_t width);
/// The adjoint of sum_pool: y [L, B, C, h, w] to [L, B, C, height, width]. With stride = kernel and factor 1:
/// each value repeated, which is upsampling to the nearest.
Tensor spread_pool(const Tensor& y, double factor, const PoolGeometry& geometry, std::int64_t height,
                   std::int64_t width);
/// The mean over everything behind the channels: x [L, B, C, ...] to [L, B, C].
Tensor global_average_pool(const Tensor& x);

}  // namespace rankine
