// Steps of an optimiser that leave nothing behind if they fail: where weights or the optimiser's state would
// become NaN or infinite, both keep their bits. A copy to go back to is made only where the step could
// overflow at all, which bounds that cost nothing tell; an ordinary step costs what it costs without a guard.
#pragma once

#include <optional>
#include <string>

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
  };
  std::optional<Complaint> check() const;

  /// One step. `norm`: of `gradient`, which must be finite. False: nothing has changed, and complaint() says
  /// what would have become of it.
  bool step(const Tensor& gradient, double norm, double learning_rate);
  const std::optional<Complaint>& complaint() const { return complaint_; }
  /// Steps that were made with a copy to go back to.
  std::int64_t copies() const { return copies_; }

 private:
  /// Whether no parameter can leave the range of its type in this step.
  bool safe(double learning_rate);

  Optimizer& optimizer_;
  ParameterSet& parameters_;
  StateRegistry state_;  // weights and the optimiser's
  double largest_ = 0;   // bound of the parameters' sizes
  double norm_ = 0;      // longest gradient since state_changed()
  std::int64_t copies_ = 0;
  std::optional<Complaint> complaint_;
};

}  // namespace rankine
