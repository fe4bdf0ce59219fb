// What a run does where a NaN or an infinity turns up in a training step: names it, writes the state down for
// the report, and stops, leaves the step out, or goes back to a checkpoint. All ranks decide alike, because
// everything that the decision depends on is the same bits on all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/deck/options.hpp"
#include "src/io/fault_file.hpp"
#include "src/optim/update_guard.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/run/experiment.hpp"
#include "src/tensor/fault_probe.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

struct FaultOptions {
  int skip_limit = 100;
  int rewind_limit = 3;
  double rewind_rate = 0.5;
  void options(OptionVisitor& o);
};

/// The first value of a step that was not finite. The same on all ranks.
struct FaultReport {
  std::string variant;
  std::int64_t seed = 0, step = 0;
  std::string phase;   ///< start, forward, backward, solve, update, statistics, loss, gone
  std::string tensor;  ///< of an op, a parameter ("weights/fc0.bias") or the data
  std::string layer;   ///< of the model; empty: not in one
  long tile = -1, sample = -1, expert = -1, frame = -1, cell = -1, channel = -1;  ///< -1: not known, or none
  int rank = -1;             ///< that has it; -1: all have the same
  std::int64_t element = 0;  ///< row-major, of this rank's part of the tensor
  double value = 0;
  std::int64_t count = 0;  ///< values that are not finite, over all ranks
  std::string term;        ///< what is known about the cause: a term of the equation, a solve's end
  double loss = 0, gradient_norm = 0;
  Tensor content = {};  ///< the offending tile, sample or parameter; on the root

  /// "variant moe, seed 0, step 12: ..." in one sentence without a full stop.
  std::string text() const;
};

/// Adds to the report what a finding means. Called on the rank that has the first one.
using DescribeFinding = std::function<void(const FaultProbe::Finding&, FaultReport&)>;

/// The first finding over all ranks, if there is any. Collective.
bool agree_on_fault(const Communicator& communicator, const FaultProbe& probe,
                    const DescribeFinding& describe, FaultReport& report);
/// Makes what `owner` says about place and cause the report of all ranks. Collective.
void share_fault(const Communicator& communicator, int owner, FaultReport& report);
/// A copy of x[index].
Tensor row_of(const Tensor& x, std::int64_t index);
/// The first of `count` values of `tensor` that are not finite, as a report says it.
void name_element(const Tensor& tensor, const NotFinite& elements, FaultReport& report);
/// If the finding is about the parameters as the tape takes them up: names the part. `tile`: the number of
/// this rank's first tile, -1 where parts on tiles are the same on all of them.
bool place_parameter(const FaultProbe::Finding& found, const ParameterSet& parameters, long tile,
                     FaultReport& report);

/// A step that failed, and what it can be repeated with. All ranks have the same shards or samples at work;
/// where ranks share the blocks, the rule has looked itself (StepOutcome::fault).
struct FailedStep {
  LearningRule& rule;
  RuleContext context;  ///< of the repetition, which changes nothing
  const UpdateGuard& guard;
  StepOutcome outcome;
  /// What the step starts from, beside weights and the optimiser's state.
  std::vector<std::pair<std::string, Tensor>> inputs;
  /// `in_step`: the value arose in the step, and was not there before.
  std::function<void(const FaultProbe::Finding&, bool in_step, FaultReport&)> describe;
  /// Where the step was ended by an exception; with what is to be said of it, on all ranks.
  std::optional<SharedNumericalError> thrown = std::nullopt;
  std::function<void(FaultReport&)> describe_thrown = {};
  /// Why a loss may not be finite.
  std::function<std::string()> explain_loss = {};
};

/// What was wrong with a step, and what is written down of it.
struct FoundFault {
  FaultReport report;
  Tensor gradient = {};                                    ///< [count], if the step got that far
  std::vector<std::pair<std::string, Tensor>> batch = {};  ///< arrays below /batch
};

/// Repeats the step with every op watched. `report` knows variant, seed, step. Collective.
FoundFault find_fault(const Communicator& communicator, const FailedStep& failed, FaultReport report);

class FaultPolicy {
 public:
  enum class Action { skip, rewind };
  /// `policy`: stop, skip, rewind.
  FaultPolicy(std::string policy, const FaultOptions& options) : policy_(std::move(policy)), o_(options) {}

  void register_state(StateRegistry& state);
  /// What to do about a fault in this step. Throws NumericalError with `text` in it where the run must end.
  Action decide(std::int64_t step, const std::string& text);
  void good_step() { in_a_row_ = 0; }
  /// Notes a fault; whether it is among the few that are looked into and reported one by one.
  bool reported() { return ++faults_ <= 10; }
  /// Whether it is the first of this process, whose state is written down.
  bool first() const { return faults_ == 1; }

  /// Restores the state to an earlier one; what is known about faults stays.
  void keep_across(const std::function<void()>& restore);
  /// The factor that rewinds have put on the learning rate.
  double rate_factor() const;
  std::int64_t rewinds() const { return static_cast<std::int64_t>(rewound_.size()); }

 private:
  std::string policy_;
  FaultOptions o_;
  std::int64_t in_a_row_ = 0, faults_ = 0;
  std::vector<std::int64_t> rewound_;  // steps whose fault led to a rewind
};

/// What a training loop does about the faults of its steps.
class FaultHandler {
 public:
  /// Registers its state. `state_changed`: called where weights and state were restored. All of it outlives
  /// the handler.
  FaultHandler(RunContext& context, const std::string& policy, const FaultOptions& options,
               const ParameterSet& parameters, std::function<void()> state_changed);

  /// InputError where the policy needs checkpoints that the deck does not ask for.
  static void require_checkpoints(const RunContext& context, const std::string& policy);
  /// After the state was registered and taken up: NumericalError where it holds what is not finite.
  void check_start(std::int64_t step);
  void good_step() { policy_.good_step(); }
  /// Answers a step without update. Returns the step to go on with where the run goes back to a checkpoint;
  /// none: the step is left out. Throws NumericalError where the run must end. Collective.
  std::optional<std::int64_t> step_failed(std::int64_t step, const std::function<FoundFault()>& find);
  /// An empty report of this run.
  FaultReport report(std::int64_t step) const;

  double rate_factor() const { return policy_.rate_factor(); }
  std::int64_t rewinds() const { return policy_.rewinds(); }

 private:
  /// The report's text, with the name of the file that the first one is written to.
  std::string text_of(const FoundFault& found);
  std::string dump(const FoundFault& found) const;
  std::int64_t rewind(const std::string& fault);

  RunContext& context_;
  FaultPolicy policy_;
  const ParameterSet& parameters_;
  std::function<void()> state_changed_;
  bool skips_;
};

/// The report as a file's head.
FaultFile fault_file(const FaultReport& report);

}  // namespace rankine
