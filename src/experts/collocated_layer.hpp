// The constraint in the paper's formulation, on the tiles of the network (collocated_problem.hpp).
#pragma once

#include "src/experts/constraint_layer.hpp"

namespace rankine {

std::unique_ptr<ConstraintLayer> make_collocated_layer(const FormulationOptions& options,
                                                       const StorageModel& model,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::uint64_t seed);

}  // namespace rankine
