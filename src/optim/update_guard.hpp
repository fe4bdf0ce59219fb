// Steps of an optimiser that leave nothing behind if they fail: where weights or the optimiser's state would
// become NaN or infinite, both keep their bits. A copy to go back to is made only where the step could
// overflow at all, which bounds that cost nothing tell; an ordinary step costs what it costs without a guard.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/optim/optimizer.hpp"

namespace rankine {

class UpdateGuard {
 public:
  /// Both must outlive the guard.
  UpdateGuard(Optimizer& optimizer, ParameterSet& parameters);

  /// To be called where weights or state were set from outside, as by a restart.
  void state_changed();

  /// The first tensor that is not finite now.
  struct Complaint {
    std::string tensor;  ///< "weights/<part>" or "optimizer/<name>"
    Tensor value;
    std::int64_t element = 0;
    bool statistics = false;  ///< a running statistic, which the forward pass has made so
  };
  std::optional<Complaint> check() const;

  /// Before the first pass of a step: notes the running statistics (parts of the group "statistics"), which
  /// passes change before it is known whether there will be a step.
  void begin_step();
  /// After a step that was not made: they are what they were.
  void abandon_step();

  /// Whether there are running statistics, and how many of their elements are not finite, which a step needs
  /// to know, to `out` in device memory.
  bool has_statistics() const { return !statistics_.empty(); }
  void count_bad_statistics(DevicePtr<double> out) const;

  /// Whether step() could return false. Steps of several guards that are to be made together or not at all
  /// need a copy of each one's state where one of them may fail.
  bool may_fail(double norm, double learning_rate);
  StateSnapshot save() const { return state_.save(); }
  void restore(const StateSnapshot& before) {
    state_.restore(before);
    state_changed();
  }

  /// One step. `norm`: of `gradient`, which must be finite. `statistics_finite`: what
  /// count_bad_statistics() found; without it this waits for the device where there are statistics. False:
  /// nothing has changed, and complaint() says what would have become of it.
  bool step(const Tensor& gradient, double norm, double learning_rate,
            std::optional<bool> statistics_finite = std::nullopt);
  const std::optional<Complaint>& complaint() const { return complaint_; }
  /// Steps that were made with a copy to go back to.
  std::int64_t copies() const { return copies_; }

 private:
  /// Whether no parameter can leave the range of its type in this step.
  bool safe(double learning_rate);
  bool projected() const;
  std::optional<Complaint> check_statistics() const;

  Optimizer& optimizer_;
  ParameterSet& parameters_;
  StateRegistry state_;                                // weights and the optimiser's
  std::vector<std::pair<Tensor, Tensor>> statistics_;  // the parts, and what they were before the step
  FlatParts statistics_parts_;
  double largest_ = 0;  // bound of the parameters' sizes
  double norm_ = 0;     // longest gradient since state_changed()
  std::int64_t copies_ = 0;
  std::optional<Complaint> complaint_;
};

}  // namespace rankine
