// Convolution of images, the transposed convolution, and the gradient of the weights: the three partial
// derivatives of one trilinear form,
//   F(x, w, y) = sum_{n,o,i,j} y[n,o,i,j] sum_{c,k,l} w[o,c,k,l] x[n, c, s_h i + d_h k - p_h, s_w j + d_w l -
//   p_w]
// with x = 0 outside the image, s the stride, d the dilation, p the padding, and c running over the channels
// of o's group. conv_forward is dF/dy, conv_backward_data dF/dx, conv_backward_weights dF/dw; each is the
// derivative of the other two, so derivatives of any order need nothing else.
//
// On the host all three go through one scheme: an image is copied once into planes with zero borders, one
// plane for each remainder of the position by the stride, so that what a tap reads for consecutive outputs is
// consecutive memory; no matrix of patches is written. Outputs of one row of planes are computed together
// with the few columns that lie between rows, and those are dropped. On a device a thread gathers what a few
// outputs need. No Kokkos here: src/ includes this.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

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

/// y = w * x + bias for each of `shards` shards, side by side in x and y; those of w and of `bias` [outputs],
/// which may be null, lie `w_step` and `bias_step` elements apart: 0 where all have the same. One launch.
/// T: float, double.
template <class T>
void conv_forward(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> x, DevicePtr<const T> w,
                  std::int64_t w_step, DevicePtr<const T> bias, std::int64_t bias_step, DevicePtr<T> y);
/// dx = the adjoint of x -> w * x, applied to dy. One launch.
template <class T>
void conv_backward_data(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> dy,
                        DevicePtr<const T> w, std::int64_t w_step, DevicePtr<T> dx);
/// dw = the adjoint of w -> w * x, applied to dy: sums over parts of a shard's batch, which its extents fix,
/// and then over the parts in pairs. `work`: conv_weights_workspace() elements.
template <class T>
void conv_backward_weights(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> x,
                           DevicePtr<const T> dy, DevicePtr<T> dw, DevicePtr<T> work);
std::int64_t conv_weights_workspace(const ConvExtents& e, std::int64_t shards);

/// The same by the bodies that a device runs: what tests hold the host's own loops against. The first two
/// give the same bits.
template <class T>
void conv_forward_portable(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> x,
                           DevicePtr<const T> w, std::int64_t w_step, DevicePtr<const T> bias,
                           std::int64_t bias_step, DevicePtr<T> y);
template <class T>
void conv_backward_data_portable(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> dy,
                                 DevicePtr<const T> w, std::int64_t w_step, DevicePtr<T> dx);
template <class T>
void conv_backward_weights_portable(const ConvExtents& e, std::int64_t shards, DevicePtr<const T> x,
                                    DevicePtr<const T> dy, DevicePtr<T> dw, DevicePtr<T> work);

/// sums[c] = sum over batch and space of x [batch, channels, space] for each shard, in an order that the
/// extents fix. `work`: shards * batch * channels elements.
template <class T>
void channel_sums(std::int64_t shards, std::int64_t batch, std::int64_t channels, std::int64_t space,
                  DevicePtr<const T> x, DevicePtr<T> sums, DevicePtr<T> work);

}  // namespace rankine::kernels
