// Backpropagation through a pipeline of blocks: each rank trains a run of blocks, and the shards of a batch
// are the microbatches that travel through it, one forward and one backward in turn (1F1B; Narayanan et al.,
// "PipeDream: generalized pipeline parallelism for DNN training", SOSP 2019, with the weights of one step
// throughout).
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "src/rules/stages.hpp"

namespace rankine {

/// The gradient is that of the rule `backprop` with the same `train.shards`, bit for bit, except that batch
/// norm sees one microbatch at a time.
class Pipeline final : public StagedRule {
 public:
  Pipeline() : StagedRule("pipeline") {}
  void options(OptionVisitor&) {}

  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;

 private:
  /// One microbatch between its forward and its backward pass on this rank.
  struct UnderWay {
    Tensor input, output, loss;
    std::vector<Tensor> flats;  // of this rank's stages
  };
  /// Every block is one.
  std::vector<int> stages(const Network& network) const;
  void forward(std::int64_t microbatch, RuleContext& context);
  void backward(std::int64_t microbatch);
  /// Ranks after this one that have to be filled before its first backward pass.
  int ranks_after() const;
  /// Zeros for the gradients of all microbatches.
  void clear_gradients();
  /// All passes of a step, `ahead` microbatches being forwarded before the first one's backward pass.
  void pass_all(RuleContext& context, std::int64_t ahead);
  /// Repeats the passes with every op watched. Collective.
  std::shared_ptr<const RuleFault> look_into(RuleContext& context);

  std::deque<UnderWay> under_way_;
  std::vector<Tensor> gradients_;  // of this rank's stages, [microbatch][count]
  std::vector<double> losses_;     // of the microbatches, on the last rank
  bool repeating_ = false;         // a step that failed
};

}  // namespace rankine
