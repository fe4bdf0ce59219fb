// The constraint by experts that each correct the network's field on their own tile and a halo: everything but
// what is evaluated stays on the tiles.
#pragma once

#include "src/experts/constraint_layer.hpp"

namespace rankine {

std::unique_ptr<ConstraintLayer> make_local_layer(const FormulationOptions& options,
                                                  const StorageModel& model, const Communicator& communicator,
                                                  const TilePartition& tiles, std::vector<int> learned);

}  // namespace rankine
