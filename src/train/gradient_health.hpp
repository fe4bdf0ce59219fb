// Gradient health of a network's blocks: how large activations and gradients are, how many units are dead,
// how far a step moves the weights, and an alarm with the block's name where a gradient vanishes or explodes.
#pragma once

#include <string>
#include <vector>

#include "src/nn/network.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/run/experiment.hpp"
#include "src/train/loop.hpp"

namespace rankine {

struct HealthOptions {
  int every = 50;
  double vanishing = 1e-6;
  double exploding = 1e3;
  double dead = 0.9;
  void options(OptionVisitor& o);
};

/// The health of the blocks of one run. Each measured step appends a row to
/// /runs/<variant>/seed_<s>/blocks:
///
///   activation_rms           root mean square of the block's output over batch and entries
///   activation_gradient_rms  the same of the gradient that reaches the output, times the number of samples;
///                            NaN where the learning rule sends none
///   dead_units               share of channels ([C, H, W]) or last-axis entries (else) that are 0 for the
///                            whole batch
///   gradient_norm            of the block's parameters; NaN where it has none, or the rule forms no gradient
///   update_ratio             |change of the parameters| / |parameters| in the step
///
/// Where ranks share the blocks, each block's numbers are those of its owner.
class GradientHealth final : public StepObserver {
 public:
  /// All references outlive this. Registers the alarms, and gives the results the blocks' names.
  GradientHealth(const HealthOptions& options, const Network& network, const ParameterSet& parameters,
                 const RuleSetup& setup, const LearningRule& rule, RunContext& context);

  bool due(std::int64_t step) const override { return options_.every > 0 && step % options_.every == 0; }
  /// Notes the parameters.
  void before(std::int64_t step) override;
  /// Watches the blocks' outputs through a hook of the pass.
  void watch(Pass& pass) override;
  void after(std::int64_t step, const StepOutcome& outcome) override;
  /// Alarms so far; a block has at most one of each kind.
  std::int64_t alarms() const { return static_cast<std::int64_t>(alarms_.size()); }

 private:
  struct Block {
    std::string name;
    std::int64_t begin, end;  // of its parameters in the flat tensor
    std::int64_t units;       // of its output
    // Sums over the last pass for each local shard, [L], and sums of absolute values, [L][units].
    std::vector<double> square, gradient_square, absolute;
    double count = 0, gradient_count = 0;
    std::size_t next = 0, gradient_next = 0;  // shard
  };
  void observe(Block& block, const Tensor& value) const;
  /// The first local shard of a pass of `shards` of them: some rules pass them one after the other.
  std::size_t place(std::size_t& next, std::size_t shards) const;
  enum Alarm { exploding, vanishing, dead, kinds };
  /// Says so, the first time.
  void alarm(Alarm kind, std::size_t block, std::int64_t step, double value);

  HealthOptions options_;
  const ParameterSet& parameters_;
  const RuleSetup& setup_;
  const LearningRule& rule_;
  RunContext& context_;
  TableWriter table_;
  SharedTileSum shards_;
  double samples_;
  std::vector<Block> blocks_;
  Tensor before_;
  std::vector<std::int64_t> alarms_;  // kinds * number of the block + kind
};

}  // namespace rankine
