// The part of a checkpoint that a job takes up again.
#pragma once

#include <cstdint>
#include <string>

#include "src/comm/communicator.hpp"
#include "src/io/checkpoint.hpp"

namespace rankine {

/// What a rank wants between two steps; the largest counts. A signal's number is added to the last.
struct Wish {
  enum : std::int64_t { go_on, save, wall_time, another_failed, a_signal };
};

/// What a checkpoint holds of a job's state.
StateSnapshot state_of(CheckpointContent content);

/// Gives all ranks the root's snapshot.
void broadcast(const Communicator& communicator, StateSnapshot& snapshot);

/// Whether an array of this name in the state of an experiment must hold numbers only: weights and what
/// optimisers keep. Metrics may hold NaN.
bool must_be_finite(const std::string& state_name);

/// Whether all arrays that must be finite are.
bool finite_state(const CheckpointContent& content);

}  // namespace rankine
