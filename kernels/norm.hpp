// Normalisation of channels over a batch and of rows: forward, backward, and the sums that cross shards. No
// Kokkos here: src/ includes this. T: float, double.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// x [shards, batch, channels, space].
struct ChannelExtents {
  std::int64_t shards = 1, batch = 1, channels = 1, space = 1;
  std::int64_t numbers() const { return shards * channels; }
  /// Elements of workspace that the sums over the batch need.
  std::int64_t workspace() const { return space == 1 ? 0 : 2 * shards * batch * channels; }
};

/// Numbers of the channels of each shard, `step` elements apart: 0 where all shards have the same. Null: all
/// are what the function says.
template <class T>
struct ChannelNumbers {
  DevicePtr<const T> data;
  std::int64_t step = 0;
};

/// For each shard a row of 2 channels + 1 numbers: of each channel count * mean and the sum of squares, if
/// they are to be added over shards, else mean and variance; then count = batch * space. The order of the
/// sums depends on the extents alone; planes are summed in T, their sums in double.
template <class T>
void channel_moments(const ChannelExtents& e, bool to_be_added, DevicePtr<const T> x,
                     DevicePtr<double> moments, DevicePtr<T> work);
/// Mean and variance of each channel over all shards and how many values a mean is taken over, of the sum of
/// the rows above. `added`: the rows were to be added; else the means of the shards' means and variances.
void channel_statistics(const ChannelExtents& e, bool added, DevicePtr<const double> total,
                        DevicePtr<double> mean, DevicePtr<double> variance, DevicePtr<double> count);
/// mean and inverse = 1 / sqrt(variance + epsilon) [shards, channels], and factor = gamma inverse, term =
/// beta
/// - factor mean, of the sum of the rows if they were to be added, else of the rows themselves. Null gamma:
/// 1, null beta: 0.
template <class T>
void channel_norm_coefficients(const ChannelExtents& e, bool added, double epsilon,
                               DevicePtr<const double> moments, ChannelNumbers<T> gamma,
                               ChannelNumbers<T> beta, DevicePtr<double> mean, DevicePtr<double> inverse,
                               DevicePtr<T> factor, DevicePtr<T> term);

/// y = factor[c] x + term[c].
template <class T>
void channel_affine(const ChannelExtents& e, DevicePtr<const T> x, ChannelNumbers<T> factor,
                    ChannelNumbers<T> term, DevicePtr<T> y);

/// The backward pass of y = gamma (x - mean) inverse + beta by shard: dgamma = sum dy (x - mean) inverse,
/// dbeta = sum dy [shards, channels], and `sums` [shards, 2 channels]: sum u and sum u (x - mean) for u =
/// gamma dy.
template <class T>
void channel_norm_sums(const ChannelExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                       DevicePtr<const double> mean, DevicePtr<const double> inverse, ChannelNumbers<T> gamma,
                       DevicePtr<T> dgamma, DevicePtr<T> dbeta, DevicePtr<double> sums, DevicePtr<T> work);
/// dx = a[c] dy + b[c] x + d[c] with the coefficients that the sums give: those over all shards, of `count`
/// values, if it is given; else those of each shard. `work`: 3 shards * channels elements.
template <class T>
void channel_norm_backward(const ChannelExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                           DevicePtr<const double> mean, DevicePtr<const double> inverse,
                           ChannelNumbers<T> gamma, DevicePtr<const double> sums,
                           DevicePtr<const double> count, DevicePtr<T> dx, DevicePtr<T> work);

/// running += momentum (bend fresh - running) for `copies` copies, `step` elements apart. bend = 1, or count
/// / (count - 1) where `count` is given and above 1: the variance of the population.
template <class T>
void follow_statistics(std::int64_t copies, std::int64_t channels, std::int64_t step, double momentum,
                       DevicePtr<const double> fresh, DevicePtr<const double> count, DevicePtr<T> running);

/// Of each shard `rows` rows of `channels * space` values, normalised each by itself: y = gamma[c] (x - mean)
/// / sqrt(variance + epsilon) + beta[c], with mean = 0 and variance = mean x^2 if not `centred`. Row r has
/// the channels (r % groups) * channels and on of gamma and beta [groups * channels].
struct RowNormExtents {
  std::int64_t shards = 1, rows = 1, groups = 1, channels = 1, space = 1;
  bool centred = true;
};
/// Null gamma: 1, null beta: 0. mean [shards, rows] (null if not centred) and inverse [shards, rows], of the
/// root, are for the backward pass.
template <class T>
void row_norm_forward(const RowNormExtents& e, T epsilon, DevicePtr<const T> x, ChannelNumbers<T> gamma,
                      ChannelNumbers<T> beta, DevicePtr<T> y, DevicePtr<T> mean, DevicePtr<T> inverse);
/// With u = gamma dy and z = (x - mean) inverse: dx = inverse (u - mean u - z mean(u z)), the middle term
/// only if centred. dgamma = sum dy z and dbeta = sum dy [shards, groups * channels], over parts of the rows,
/// which the extents fix, and then over the parts in pairs; null: not wanted. `work`: row_norm_workspace()
/// elements.
template <class T>
void row_norm_backward(const RowNormExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                       ChannelNumbers<T> gamma, DevicePtr<const T> mean, DevicePtr<const T> inverse,
                       DevicePtr<T> dx, DevicePtr<T> dgamma, DevicePtr<T> dbeta, DevicePtr<T> work);
std::int64_t row_norm_workspace(const RowNormExtents& e);

}  // namespace rankine::kernels
