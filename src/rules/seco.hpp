// Chunk-wise optimisation of long sequences: SeCO and SpaCO (Li et al., "Training long-context LLMs
// efficiently via chunk-wise optimization", ACL 2025, arXiv 2505.16710). A causal network with a cache of
// keys and values is backpropagated chunk by chunk from the last one to the first: only one chunk's graph is
// alive, and what later chunks want of a chunk's keys and values enters its backward pass as gradients of
// these.
#pragma once

#include <memory>
#include <vector>

#include "src/rules/learning_rule.hpp"

namespace rankine {

struct SecoOptions {
  int chunk = 128, keep = 0, draws = 0;
  std::string draw = "bernoulli", compensation = "paths";
  void options(OptionVisitor& o);
};

/// keep = 0: SeCO, whose gradient is that of backpropagation. keep = t > 0: SpaCO, backward passes of some of
/// the k chunks only. `draw` bernoulli: each with probability t/k; fixed: t of them. `compensation` paths:
/// the loss of a chunk and the gradients that enter at its keys and values are multiplied by k/t, one factor
/// for each chunk that a path visits, which makes bernoulli draws unbiased (fixed ones are not: a path
/// through two chunks has the mean weight k(t-1)/((k-1)t)); loss: the loss alone; none: no factor. `draws` >
/// 0: the first step also measures the gradients, see metrics().
class Seco final : public LearningRule {
 public:
  using Options = SecoOptions;
  explicit Seco(const Options& options) : options_(options) {}

  /// InputError where a block has no first axis that is the sequence's, or gives other values chunk by chunk
  /// than at once (names the edge), or there are fewer chunks than are kept.
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  void register_state(StateRegistry& registry, const std::string& prefix) override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return measured_; }

  struct Gradient {
    Tensor flat;  ///< [count], of the mean over all ranks' batch
    LossValue loss;
  };
  /// Chunks with a backward pass, and the factors of their losses and of the gradients that enter at their
  /// keys and values.
  struct Plan {
    std::vector<bool> kept;
    double loss_factor = 1, cache_factor = 1;
  };
  Plan plan(const std::string& compensation, const std::string& stream, std::int64_t number) const;
  /// Collective.
  Gradient gradient(const ParameterSet& parameters, const SharedTileSum& tiles, const NetworkBatch& batch,
                    const Pass& pass, const Plan& plan) const;

 private:
  std::int64_t length() const { return setup_->network->input()[0]; }
  std::int64_t chunks() const { return (length() + options_.chunk - 1) / options_.chunk; }
  void measure(const RuleContext& context);

  Options options_;
  std::unique_ptr<RuleSetup> setup_;
  std::vector<double> measured_;
};

}  // namespace rankine
