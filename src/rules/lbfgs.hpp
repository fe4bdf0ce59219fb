// Limited-memory BFGS: each training step minimises the loss of its batch by several iterations with a line
// search (Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35, 1980; TAO's bqnls).
#pragma once

#include "src/rules/learning_rule.hpp"

namespace rankine {

struct LbfgsOptions {
  int iterations = 20, history = 10;
  double tolerance = 0;
  void options(OptionVisitor& o);
};

/// The estimate of the Hessian starts afresh each step, so a restart between two steps continues with the
/// same bits. The loss of a batch never grows; with `batch` the whole training set it falls to a minimum,
/// with small batches it fits one after the other. There is no optimiser, learning rate, schedule nor
/// clipping. Running statistics of batch norm follow the last iterate alone, frozen parameters stay. The
/// outcome's loss and gradient norm are those before the step.
class Lbfgs final : public LearningRule {
 public:
  using Options = LbfgsOptions;
  explicit Lbfgs(const Options& options) : options_(options) {}

  std::vector<std::string> unused_options() const override {
    return {"optimizer", "learning_rate", "schedule", "clip", "gradient", "after_step"};
  }
  StepOutcome step(RuleContext& context) override;
  bool evaluates_loss() const override { return true; }
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  void register_state(StateRegistry& registry, const std::string& prefix) override;

 private:
  Options options_;
  std::vector<double> evaluations_;  // of the loss, by step
};

}  // namespace rankine
