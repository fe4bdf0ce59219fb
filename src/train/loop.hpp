// The training loop, written once: resume and restart, faults and rewinds, evaluations, what happens at a
// given step, progress and statistics. What is trained on which data is a TrainingTask.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/nn/layer.hpp"
#include "src/optim/update_guard.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/run/experiment.hpp"
#include "src/train/faults.hpp"
#include "src/train/step_mechanisms.hpp"

namespace rankine {

/// What differs between kinds of training. Every function is collective.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// The learning rate of a step, before the factor that rewinds put on it.
  virtual double learning_rate(std::int64_t step) const = 0;
  /// What the rule may use in a step. What it refers to lives as long as the result.
  virtual std::shared_ptr<RuleContext> prepare(std::int64_t step, double learning_rate) = 0;
  /// Measures the parameters after `done` steps on validation data. The first metric is the one that progress
  /// shows. `between` is to be called on all ranks between batches.
  virtual Metrics evaluate(std::int64_t done, const std::function<void()>& between) = 0;
  /// Adds metrics to the row of a step in the results. `interrupted`: an exception ended the step.
  virtual void record(std::int64_t step, const StepOutcome& outcome, bool interrupted, Metrics& row) {
    (void)step, (void)outcome, (void)interrupted, (void)row;
  }
  /// What was not finite in a step that is prepared again as `made`.
  virtual FoundFault find_fault(RuleContext& made, const StepOutcome& outcome,
                                const std::optional<SharedNumericalError>& thrown, FaultReport report) = 0;
};

/// Looks at some steps of training and changes nothing.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual bool due(std::int64_t step) const = 0;
  /// Before a step that is due.
  virtual void before(std::int64_t step) { (void)step; }
  /// May set hooks of the step's pass. Not called on a rank that does not take part in the pass.
  virtual void watch(Pass& pass) { (void)pass; }
  /// After it. Collective.
  virtual void after(std::int64_t step, const StepOutcome& outcome) = 0;
};

struct LoopOptions {
  std::int64_t steps = 0;
  /// Steps between evaluations; the last step is followed by one too. 0: no evaluations.
  std::int64_t evaluate_every = 0;
  std::string on_fault = "stop";  ///< or skip, rewind
  FaultOptions faults = {};
  // They outlive the loop; null: there is none.
  const StepMechanisms* mechanisms = nullptr;
  Party* party = nullptr;
};

/// Trains for a number of steps. Constructed before the task registers its own state; run() resumes from
/// what the state registry then holds.
class TrainingLoop {
 public:
  /// Registers the state of weights, optimiser, rule and party, and its own. All arguments outlive the loop. InputError where
  /// the fault policy needs checkpoints that the deck does not ask for.
  TrainingLoop(RunContext& context, const LoopOptions& options, TrainingTask& task, LearningRule& rule,
               Optimizer& optimizer, ParameterSet& parameters);

  /// `observer` outlives the loop.
  void observe(StepObserver& observer) { observers_.push_back(&observer); }
  /// `action` happens once, before step `step` (with `step` = steps: after the last). It may change
  /// parameters and the optimiser's state, from what is registered alone. Actions of one step happen in the
  /// order of their addition. To be called before run(), for the same actions after every restart.
  void at(std::int64_t step, std::function<void()> action);

  /// Resumes and trains. Afterwards the parameters are the same on all ranks.
  void run();

  /// The average of the parameters that the mechanisms ask for; null: none. It lives as long as the loop.
  const ParameterSet* average() const { return average_ ? &*average_ : nullptr; }
  /// What evaluations judge: the average, or else the parameters.
  const ParameterSet& judged() const { return average_ ? *average_ : parameters_; }

  const std::vector<double>& losses() const { return losses_; }
  const std::vector<double>& gradient_norms() const { return gradient_norms_; }
  const std::vector<double>& step_seconds() const { return step_seconds_; }
  std::int64_t skipped() const { return static_cast<std::int64_t>(skipped_); }
  std::int64_t rewinds() const { return faults_.rewinds(); }
  /// Multiply-adds of the first step, of all ranks.
  double multiply_adds() const { return multiply_adds_; }
  /// The most bytes that a step held at once beside what lives between steps, on this rank.
  double arena_peak() const { return arena_; }
  /// Writes the times of steps and evaluations to the results.
  void write_timing(RunWriter& results) const;

 private:
  struct Action {
    std::int64_t step;
    std::function<void()> happen;
  };
  void evaluate(std::int64_t done);
  void act(std::int64_t step);
  /// The average takes a share of the parameters.
  void follow(double share);
  /// Steps that the rule may take at once from `step`.
  std::int64_t window(std::int64_t step, bool observed) const;
  double rate(std::int64_t step) const { return task_.learning_rate(step) * faults_.rate_factor(); }
  /// `watchers` set the hooks of the step's pass.
  std::shared_ptr<RuleContext> prepare(std::int64_t step, const std::vector<StepObserver*>& watchers);

  RunContext& context_;
  LoopOptions options_;
  TrainingTask& task_;
  LearningRule& rule_;
  ParameterSet& parameters_;
  UpdateGuard guard_;
  FaultHandler faults_;
  std::vector<StepObserver*> observers_;
  std::vector<Action> actions_;  // by step
  std::optional<ParameterSet> average_;
  Stopwatch training_;
  double elapsed_before_ = 0;

  // State.
  std::vector<double> losses_, gradient_norms_, step_seconds_, elapsed_, evaluation_seconds_;
  double validation_, multiply_adds_, skipped_ = 0, arena_ = 0;
  std::int64_t evaluated_ = 0;  // steps before the latest evaluation
  std::int64_t acted_ = 0;      // actions that have happened
};

/// The loop of what learns without gradients: goes on from the checkpoint, takes each step that is left to
/// `total`, writes the row that `take` returns for it and shows the row as progress.
void take_steps(RunContext& context, std::int64_t total,
                const std::function<Metrics(std::int64_t step)>& take);

}  // namespace rankine
