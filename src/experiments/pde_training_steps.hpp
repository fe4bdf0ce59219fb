// The steps that train a network on a PDE.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/core/random.hpp"
#include "src/experiments/pde_training_evaluator.hpp"
#include "src/train/loop.hpp"

namespace rankine {

/// The training steps of one seed.
class PdeTraining::Steps final : public TrainingTask {
 public:
  /// All arguments outlive this.
  Steps(const PdeTraining& owner, RunContext& context, const PdeData& data,
        std::shared_ptr<const ObservationRows> observations, const StorageModel& model,
        ConstraintLayer& layer, ParameterSet& parameters, const Evaluator& evaluator);

  void train() { loop_.run(); }
  const TrainingLoop& loop() const { return loop_; }
  const LearningRule& rule() const { return *rule_; }
  /// How many of all solves ended so.
  std::span<const double, solve_status_count> status_total() const { return status_total_; }

  double learning_rate(std::int64_t step) const override {
    return owner_.train_.learning_rate * owner_.schedule_->factor(step, owner_.train_.steps);
  }
  std::shared_ptr<RuleContext> prepare(std::int64_t step, double learning_rate) override;
  Metrics evaluate(std::int64_t done, const std::function<void()>& between) override;
  void record(std::int64_t step, const StepOutcome& outcome, bool interrupted, Metrics& row) override;
  FoundFault find_fault(RuleContext& made, const StepOutcome& outcome,
                        const std::optional<SharedNumericalError>& thrown, FaultReport report) override;

 private:
  /// What a step refers to.
  struct Step {
    PdeBatch batch;
    NetworkInput input;
    std::unique_ptr<RuleContext> context;
  };
  std::unique_ptr<LearningRule> begun_rule(const ParameterSet& parameters) const;

  const PdeTraining& owner_;
  RunContext& context_;
  const PdeData& data_;
  std::shared_ptr<const ObservationRows> observations_;
  const StorageModel& model_;  // of all windows
  ConstraintLayer& layer_;
  const Evaluator& evaluator_;
  RandomStream order_, windows_;
  std::int64_t epoch_ = -1;  // that permutation_ is of
  std::vector<std::int64_t> permutation_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<LearningRule> rule_;
  TrainingLoop loop_;
  ParameterSet& parameters_;
  double status_total_[solve_status_count] = {};
  std::shared_ptr<Step> latest_;
};

}  // namespace rankine
