// Experts' fits of one shared target in the network's basis fields, from tiles that stay where they are.
#pragma once

#include <vector>

#include "src/comm/tiles.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {

/// Expert by expert and unknown by unknown, over all tiles of an expert,
///   w = argmin |B w - y|^2 + ridge sum_c |b_c|^2 w_c^2,   u = B w.
/// Normal equations are summed over tiles in tree order, so that an expert may span ranks.
class TileFit {
 public:
  /// `experts`: along t and each space axis; they divide the tiles.
  TileFit(const TilePartition& tiles, const std::vector<int>& experts, SharedTileSum sum, double ridge);

  /// `basis` [local tile][sample][unknown * N + b][point] and y [local tile][sample][unknown][point], both of
  /// double, to u of y's shape. Collective, and differentiable by both. Throws NumericalError where the normal
  /// equations are singular to rounding.
  Tensor fitted(const Tensor& basis, const Tensor& y) const;

 private:
  SharedTileSum sum_;
  Tensor one_hot_;  // [local tile][expert]
  double ridge_;
};

}  // namespace rankine
