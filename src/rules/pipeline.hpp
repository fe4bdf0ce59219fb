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
class Pipeline final : public LearningRule {
 public:
  void options(OptionVisitor&) {}

  bool spreads_blocks() const override { return true; }
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  int owner_of_block(int block) const override { return stages_->owner_of_block(block); }
  void synchronise() override { stages_->synchronise(); }
  void register_state(StateRegistry& registry, const std::string& prefix) override {
    stages_->register_state(registry, prefix);
  }
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;

 private:
  /// One microbatch between its forward and its backward pass on this rank.
  struct UnderWay {
    Tensor input, output, loss;
    std::vector<Tensor> flats;  // of this rank's stages
  };
  struct Sent {
    Tensor values;
    std::unique_ptr<Exchange> exchange;
  };
  void forward(std::int64_t microbatch, RuleContext& context);
  void backward(std::int64_t microbatch);
  void send(const Tensor& values, int to, int tag);
  Tensor receive(const Shape& sample, std::int64_t batch, int from, int tag);

  std::unique_ptr<RuleSetup> setup_;
  std::unique_ptr<Stages> stages_;
  int begin_ = 0, end_ = 0;        // stages of this rank
  int previous_ = -1, next_ = -1;  // ranks; -1: none
  std::deque<UnderWay> under_way_;
  std::deque<Sent> sent_;
  std::vector<Tensor> gradients_;  // of this rank's stages, [microbatch][count]
  std::vector<double> losses_;     // of the microbatches, on the last rank
  double seconds_ = 0, waited_ = 0, messages_ = 0, bytes_ = 0;
};

}  // namespace rankine
