// Convolution of images, the transposed convolution, and the gradient of the weights: the three partial
// derivatives of one trilinear form,
//   F(x, w, y) = sum_{n,o,i,j} y[n,o,i,j] sum_{c,k,l} w[o,c,k,l] x[n, c, s_h i + d_h k - p_h, s_w j + d_w l -
//   p_w]
// with x = 0 outside the image, s the stride, d the dilation, p the padding, and c running over the channels
// of o's group. conv_forward is dF/dy, conv_backward_data dF/dx, conv_backward_weights dF/dw; each is the
// derivative of the other two, so derivatives of any order need nothing else.
//
// All three go through one scheme: an image is copied once into planes with zero borders, one plane for each
// remainder of the position by the stride, so that what a tap reads for consecutive outputs is consecutive
// memory; no matrix of patches is written. Outputs of one row of planes are computed together with the few
// columns that lie between rows, and those are dropped.
#pragma once

#include <cstdint>

namespace rankine::kernels {

/// Extents of one shard: x [batch, channels, height, width], w [outputs, channels / groups, kernel_height,
/// kernel_width], y [batch, outputs, out_height, out_width].
struct ConvExtents {
  std::int64_t batch = 1, channels = 1, height = 1, width = 1;
  std::int64_t outputs = 1, out_height = 1, out_width = 1;
  std::int64_t kernel_height = 1, kernel_width = 1;
  std::int64_t stride_height = 1, stride_width = 1;
  std::int64_t pad_height = 0, pad_width = 0;  ///< above and on the left
  std::int64_t dilation_height = 1, dilation_width = 1;
  std::int64_t groups = 1;

  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t group_outputs() const { return outputs / groups; }
  std::int64_t taps() const { return group_channels() * kernel_height * kernel_width; }
  /// Multiply-adds of any of the three, those that meet the border included.
  double multiply_adds() const {
    return static_cast<double>(batch * outputs * out_height * out_width) * static_cast<double>(taps());
  }
};

/// Elements of workspace that each function needs.
std::int64_t conv_forward_workspace(const ConvExtents& e);
std::int64_t conv_backward_data_workspace(const ConvExtents& e);
std::int64_t conv_backward_weights_workspace(const ConvExtents& e);

/// y = w * x + bias; `bias` [outputs] may be null. T: float, double.
template <class T>
void conv_forward(const ConvExtents& e, const T* x, const T* w, const T* bias, T* y, T* workspace);
/// dx = the adjoint of x -> w * x, applied to dy.
template <class T>
void conv_backward_data(const ConvExtents& e, const T* dy, const T* w, T* dx, T* workspace);
/// dw = the adjoint of w -> w * x, applied to dy: sums over the batch in a fixed order.
template <class T>
void conv_backward_weights(const ConvExtents& e, const T* x, const T* dy, T* dw, T* workspace);

/// sums[c] = sum over batch and space of x [batch, channels, space], in an order that the extents fix.
template <class T>
void channel_sums(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x, T* sums);

}  // namespace rankine::kernels
