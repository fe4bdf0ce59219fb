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
#include "src/core/state_registry.hpp"
#include "src/deck/options.hpp"
#include "src/io/fault_file.hpp"
#include "src/tensor/fault_probe.hpp"

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
  std::string phase;   ///< start, forward, backward, solve, update, loss, gone
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

/// What a rank's finding means; called on the rank that has the first one.
using DescribeFinding = std::function<void(const FaultProbe::Finding&, FaultReport&)>;

/// The first finding over all ranks, if there is any. Collective.
bool agree_on_fault(const Communicator& communicator, const FaultProbe& probe,
                    const DescribeFinding& describe, FaultReport& report);
/// Makes what `owner` says about place and cause the report of all ranks. Collective.
void share_fault(const Communicator& communicator, int owner, FaultReport& report);

class FaultPolicy {
 public:
  enum class Action { skip, rewind };
  /// `policy`: stop, skip, rewind.
  FaultPolicy(std::string policy, const FaultOptions& options) : policy_(std::move(policy)), o_(options) {}

  void register_state(StateRegistry& state);
  bool may_rewind() const { return policy_ == "rewind"; }
  /// What to do about a fault in this step. Throws NumericalError with `text` in it where the run must end.
  Action decide(std::int64_t step, const std::string& text);
  void good_step() { in_a_row_ = 0; }
  /// Notes a fault; whether it is among the few that are looked into and reported one by one.
  bool reported() { return ++faults_ <= 10; }
  /// Whether it is the first of this process, whose state is written down.
  bool first() const { return faults_ == 1; }

  /// Restores the state to an earlier one; what is known about faults stays.
  void keep_across(const std::function<void()>& restore);
  /// Of the learning rate, because of rewinds.
  double rate_factor() const;
  std::int64_t rewinds() const { return static_cast<std::int64_t>(rewound_.size()); }

 private:
  std::string policy_;
  FaultOptions o_;
  std::int64_t in_a_row_ = 0, faults_ = 0;
  std::vector<std::int64_t> rewound_;  // steps whose fault led to a rewind
};

/// The report as a file's head.
FaultFile fault_file(const FaultReport& report);

}  // namespace rankine
