// A network cut into stages, runs of blocks that ranks share: each stage is trained by one rank, with
// parameters and optimiser of its own. All ranks keep the memory of all stages; synchronise() brings it up to
// date.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/core/state_registry.hpp"
#include "src/rules/learning_rule.hpp"

namespace rankine {

class Stages {
 public:
  struct Stage {
    int begin = 0, end = 0;   ///< blocks
    int owner = 0;            ///< rank
    ParameterSet parameters;  ///< of these blocks, sharing memory with the network's
    ParameterSet auxiliary;   ///< trained with them, no part of the network
    std::unique_ptr<Optimizer> optimizer, auxiliary_optimizer;
    std::unique_ptr<StateRegistry> state;
  };

  /// Stage s covers blocks first[s] .. first[s + 1] - 1 (the last one to the end) and costs costs[s]
  /// (any unit, at least 0). Contiguous stages are dealt to ranks so that the dearest rank is as cheap as can
  /// be.
  Stages(const RuleSetup& setup, const ParameterSet& parameters, const std::vector<int>& first,
         const std::vector<double>& costs, std::vector<ParameterSet> auxiliary = {});

  int size() const { return static_cast<int>(stages_.size()); }
  Stage& operator[](int s) { return stages_[static_cast<std::size_t>(s)]; }
  const Stage& operator[](int s) const { return stages_[static_cast<std::size_t>(s)]; }
  int owner_of_block(int block) const;
  /// Copies parameters and state of each stage from its owner to all others. Collective.
  void synchronise();
  void register_state(StateRegistry& registry, const std::string& prefix);

 private:
  const Communicator& communicator_;
  std::vector<Stage> stages_;
};

/// The ends of `parts` contiguous runs of costs whose largest sum is smallest; runs may be empty, at the end.
std::vector<int> balanced_ends(const std::vector<double>& costs, int parts);

/// A layer of the table of blocks from its deck text, such as "{name: residual, channels: 8}".
std::unique_ptr<Layer> layer_from(const std::string& text, const LayerContext& context);

/// Multiply-adds of the forward pass of one sample through blocks begin .. end - 1.
double forward_cost(const Network& network, int begin, int end);

}  // namespace rankine
