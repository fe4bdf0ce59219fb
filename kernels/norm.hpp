// Normalisation of channels over a batch and of rows: forward, backward, and the sums that cross shards.
#pragma once

#include <cstdint>

namespace rankine::kernels {

/// Mean and sum of squared deviations from it of each channel of x [batch, channels, space]. The order of the
/// sums depends on the extents alone; planes are summed in T, their sums in double. T: float, double.
template <class T>
void channel_moments(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x, double* mean,
                     double* deviation);

/// y = factor[c] x + term[c].
template <class T>
void channel_affine(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x,
                    const T* factor, const T* term, T* y);

/// What the backward pass of y = gamma (x - mean) / sigma + beta sums over a shard: plain[c] = sum dy,
/// centred[c] = sum dy (x - mean[c]).
template <class T>
void channel_norm_sums(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x, const T* dy,
                       const double* mean, double* plain, double* centred);

/// dx = a[c] dy + b[c] x + d[c].
template <class T>
void channel_norm_backward(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x,
                           const T* dy, const T* a, const T* b, const T* d, T* dx);

/// Rows of `channels * space` values, normalised each by itself: y = gamma[c] (x - mean) / sqrt(variance +
/// epsilon) + beta[c], with mean = 0 and variance = mean x^2 if not `centred`. Row r has the channels
/// (r % groups) * channels and on of gamma and beta [groups * channels], which may be null. mean [rows] (null
/// if not centred) and inverse [rows], of the root, are for the backward pass.
template <class T>
void row_norm_forward(std::int64_t rows, std::int64_t groups, std::int64_t channels, std::int64_t space,
                      bool centred, T epsilon, const T* x, const T* gamma, const T* beta, T* y, T* mean,
                      T* inverse);
/// With u = gamma dy and z = (x - mean) inverse: dx = inverse (u - mean u - z mean(u z)), the middle term
/// only if centred. dgamma = sum dy z and dbeta = sum dy [groups * channels] are added to what they hold;
/// null: not wanted.
template <class T>
void row_norm_backward(std::int64_t rows, std::int64_t groups, std::int64_t channels, std::int64_t space,
                       bool centred, const T* x, const T* dy, const T* gamma, const T* mean, const T* inverse,
                       T* dx, T* dgamma, T* dbeta);

}  // namespace rankine::kernels
