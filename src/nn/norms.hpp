// Normalisations.
#pragma once

#include "src/tensor/tile_ops.hpp"

namespace rankine {

/// What batch_norm found, off the tape: mean and variance (divided by the count) of each channel, f64 [C],
/// over all shards or, as the mean of theirs, of the shards' own.
struct BatchStatistics {
  Tensor mean, variance;
  Tensor count;  ///< values that one mean is taken over, f64 [1]
  /// Set before: the shares, f64 [L], of which the sum over all shards is 1, that the shards' own moments
  /// have in the mean. Then a multiple of the local tiles may be normalised as shards.
  Tensor shares;
};

/// y = gamma (x - mean) / sqrt(variance + epsilon) + beta with the moments of each channel over samples and
/// space. x [L, B, C, ...]; gamma, beta [L, C] or undefined (1 and 0). `shards`: the moments are those of all
/// shards of the run, the same bits on any number of ranks; null: each shard has its own. Keeps x and the
/// moments for the backward pass. `statistics`, if not null, is filled; with `shards` null it needs `all` to
/// average over.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const SharedTileSum& shards,
                  double epsilon, BatchStatistics* statistics = nullptr, const SharedTileSum& all = nullptr);

/// factor[c] x + term[c]: x [L, B, C, ...], factor and term [L, C].
Tensor channel_affine(const Tensor& x, const Tensor& factor, const Tensor& term);

/// How normalise_rows() takes the rows of a sample [C, ...].
struct RowNorm {
  int axes = 1;             ///< trailing axes that make a row, where groups = 0
  std::int64_t groups = 0;  ///< rows are groups of neighbouring channels, space included
  bool centred = true;      ///< false: the mean is not taken off (root mean square norm)
  double epsilon = 1e-5;
};

/// y = gamma (x - mean) / sqrt(variance + epsilon) + beta with the moments of each row. With groups = 0,
/// gamma and beta [L, shape of a row]; else [L, C]; undefined: 1 and 0. x [L, B, ...]. Keeps x and one or two
/// numbers a row.
Tensor normalise_rows(const Tensor& x, const Tensor& gamma, const Tensor& beta, const RowNorm& how);

}  // namespace rankine
