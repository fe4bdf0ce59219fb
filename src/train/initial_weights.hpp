// Weights that a run starts from, instead of random ones (the deck's `train.weights`, or `rankine run
// --weights`), and those that it ends with.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/comm/communicator.hpp"
#include "src/deck/node.hpp"
#include "src/io/results.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// Sets every part of `parameters` from the array of its name in `path` (.npz, .safetensors, results, a
/// checkpoint); `group` chooses a run in a results file; "{seed}" in both stands for the seed. Types float32
/// and float64 are converted. InputError, naming the arrays, where one is missing, is left over, has another
/// shape or type, or holds a NaN or an infinity. The root reads; collective.
void load_weights(const Communicator& communicator, const std::string& path, const std::string& group,
                  std::int64_t seed, ParameterSet& parameters);

/// The options of a deck's `train` that name such a file.
struct InitialWeights {
  std::string weights, weights_of;

  void options(OptionVisitor& o);
  bool given() const { return !weights.empty(); }
  /// InputError at `train` where load() would throw one for `parameters`, for any of the seeds. Collective.
  void check(const DeckNode& train, const Communicator& communicator, std::span<const std::int64_t> seeds,
             ParameterSet parameters) const;
  void load(const Communicator& communicator, std::int64_t seed, ParameterSet& parameters) const {
    if (given()) load_weights(communicator, weights, weights_of, seed, parameters);
  }
};

/// Puts every part of `parameters` into the results of a run, in the precision it has.
void write_weights(RunWriter& results, const ParameterSet& parameters);

}  // namespace rankine
