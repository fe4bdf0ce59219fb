// The constraint where everything but what is evaluated stays on the tiles: by experts that each correct the
// network's field on their own tile and a halo, or by one correction that all ranks solve together.
#pragma once

#include "src/experts/constraint_layer.hpp"

namespace rankine {

/// For FormulationOptions::on_tiles().
std::unique_ptr<ConstraintLayer> make_tile_layer(const FormulationOptions& options, const StorageModel& model,
                                                 const Communicator& communicator, const TilePartition& tiles,
                                                 std::vector<int> learned);

}  // namespace rankine
