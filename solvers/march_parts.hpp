// Internal to solvers/*.cpp: what the marches over ranks ask of their parts.
#pragma once

#include <vector>

#include "solvers/distributed_march.hpp"

namespace rankine {

using Frames = kernels::StencilFrames MarchMatrices::*;

/// Of the first part, which must be there: frames, unknowns and history are those of all.
const MarchMatrices& first_of(const std::vector<MarchPart>& parts);

/// Cells that this rank owns.
int owned_by(const std::vector<MarchPart>& parts);

/// As distinct_matrices(), for frames whose rows are equal on all ranks. Collective.
std::vector<int> distinct_frames(MPI_Comm communicator, const std::vector<MarchPart>& parts, Frames which,
                                 int frames, std::vector<int>& matrix_of_frame);

}  // namespace rankine
