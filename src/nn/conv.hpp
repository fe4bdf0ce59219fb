// Convolutions of images: three ops, each of which is linear in both of its operands and has the other two as
// derivatives, so that derivatives of any order run through the same kernels (kernels/conv.hpp).
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// Along the height and the width.
struct ConvGeometry {
  std::int64_t stride[2] = {1, 1};
  std::int64_t padding[2] = {0, 0};  ///< zeros above and on the left
  std::int64_t dilation[2] = {1, 1};
  std::int64_t groups = 1;
};

/// y[o, i, j] = bias[o] + sum_{c,k,l} w[o, c, k, l] x[c, s i + d k - p, s j + d l - p], for each shard and
/// sample. x [L, B, C, H, W], w [L, O, C / groups, kh, kw], bias [L, O] or undefined; y [L, B, O, height,
/// width]: the extents of the output say how far the zeros reach below and on the right.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& geometry,
              std::int64_t height, std::int64_t width);
/// The adjoint of conv2d in x, plus a bias: y [L, B, O, h, w] and w as above to [L, B, C, height, width];
/// bias [L, C] or undefined.
Tensor conv2d_transpose(const Tensor& y, const Tensor& w, const Tensor& bias, const ConvGeometry& geometry,
                        std::int64_t height, std::int64_t width);
/// The adjoint of conv2d in w: x and y as above to [L, O, C / groups, kernel_height, kernel_width], one
/// gradient for each shard.
Tensor conv2d_weights(const Tensor& x, const Tensor& y, const ConvGeometry& geometry,
                      std::int64_t kernel_height, std::int64_t kernel_width);

/// Sum over the samples and the space: x [L, B, C, ...] to [L, C].
Tensor sum_by_channel(const Tensor& x);

}  // namespace rankine
