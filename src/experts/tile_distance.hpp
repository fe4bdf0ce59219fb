// Distances of fields that stay on their tiles.
#pragma once

#include "src/experts/constraint_layer.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {

/// The mean over samples of ||v - target||_2 / size, a scalar with the same bits on all ranks. The size of a
/// sample is the length of its target, or that of its initial state in all `frames` frames where that is
/// larger. `v`, `target`: [local tile][sample][unknown][point of the tile] in double; no gradient flows into
/// the target. Collective.
Tensor target_distance(const Tensor& v, const Tensor& target, const PdeBatch& batch, int frames,
                       const SharedTileSum& tiles);

}  // namespace rankine
