// Weights that a run starts from, instead of random ones (the deck's `train.weights`, or `rankine run
// --weights`), and those that it ends with.
#pragma once

#include <cstdint>
#include <string>

#include "src/comm/communicator.hpp"
#include "src/io/results.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// Sets every part of `parameters` from the array of its name in `path` (.npz, .safetensors, results, a
/// checkpoint); `group` chooses a run in a results file; "{seed}" in both stands for the seed. Types float32
/// and float64 are converted. InputError, naming the arrays, where one is missing, is left over, has another
/// shape or type, or holds a NaN or an infinity. The root reads; collective.
void load_weights(const Communicator& communicator, const std::string& path, const std::string& group,
                  std::int64_t seed, ParameterSet& parameters);

/// Puts every part of `parameters` into the results of a run, in the precision it has.
void write_weights(RunWriter& results, const ParameterSet& parameters);

}  // namespace rankine
