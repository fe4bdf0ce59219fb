// Gradient health of a network's blocks: how large activations and gradients are, how many units are dead,
// how far a step moves the weights, and an alarm with the block's name where a gradient vanishes or explodes.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/core/log.hpp"
#include "src/io/results.hpp"
#include "src/nn/network.hpp"
#include "src/rules/learning_rule.hpp"

namespace rankine {

struct HealthOptions {
  int every = 50;
  double vanishing = 1e-6;
  double exploding = 1e3;
  double dead = 0.9;
  void options(OptionVisitor& o);
};

/// Of one run. Each measured step appends a row to /runs/<variant>/seed_<s>/blocks:
///   activation_rms            root mean square of the block's output over batch and entries
///   activation_gradient_rms   the same of the gradient that reaches it, times the number of samples; NaN
///   where
///                             the learning rule sends none
///   dead_units                share of channels ([C, H, W]) or last-axis entries (else) that are 0 for the
///   whole
///                             batch
///   gradient_norm             of the block's parameters; NaN where it has none, or the rule forms no
///   gradient update_ratio              |change of the parameters| / |parameters| in the step
class GradientHealth {
 public:
  GradientHealth(const HealthOptions& options, const Network& network, const ParameterSet& parameters,
                 SharedTileSum shards, std::int64_t samples);

  bool due(std::int64_t step) const { return options_.every > 0 && step % options_.every == 0; }
  /// Before a measured step: notes the parameters.
  void begin(const ParameterSet& parameters);
  /// Watches the blocks' outputs in that step through pass.hook; a rank without a block needs no pass.
  void watch(Pass& pass);
  /// After it. `gradient` as StepOutcome has it; where ranks share the blocks, each block's numbers are those
  /// of its owner. Collective.
  void end(std::int64_t step, const ParameterSet& parameters, const Tensor& gradient,
           const LearningRule& rule, const Communicator& communicator, RunWriter& results, Log& log);
  /// Alarms so far: "vanishing block3", ...
  const std::set<std::string>& alarms() const { return alarms_; }

 private:
  struct Block {
    std::string name;
    std::int64_t begin, end;  // of its parameters in the flat tensor
    std::int64_t units;       // of its output
    // Of the last pass, by local shard: [L] sums and [L][units] sums of absolute values.
    std::vector<double> square, gradient_square, absolute;
    double count = 0, gradient_count = 0;
    std::size_t next = 0, gradient_next = 0;  // shard
  };
  void observe(Block& block, const Tensor& value) const;
  /// The first local shard of a pass of `shards` of them: some rules pass them one after the other.
  std::size_t place(std::size_t& next, std::size_t shards) const;
  void alarm(const std::string& what, const Block& block, std::int64_t step, double value, Log& log);

  HealthOptions options_;
  SharedTileSum shards_;
  double samples_;
  std::vector<Block> blocks_;
  Tensor before_;
  std::set<std::string> alarms_;
};

}  // namespace rankine
