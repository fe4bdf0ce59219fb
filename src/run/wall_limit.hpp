// When a run stops because its time is nearly over.
#pragma once

#include <optional>

#include "src/deck/deck.hpp"

namespace rankine {

/// Whether a run must stop because its time is nearly over: when less is left than twice the longest step
/// with its checkpoint. Times are seconds on any clock.
class WallLimit {
 public:
  explicit WallLimit(std::optional<double> end) : end_(end) {}
  /// The place between two steps. The longest distance between two calls counts as the longest step.
  void passed(double now);
  bool must_stop(double now) const { return end_ && *end_ - now < 2 * longest_; }
  double longest() const { return longest_; }

 private:
  std::optional<double> end_, last_;
  double longest_ = 0;
};

/// Seconds since 1970, which is what Slurm gives.
double seconds_since_epoch();

/// When this run ends, in seconds since 1970: by the deck's `run.walltime` or by Slurm, whatever is earlier.
std::optional<double> earliest_end(const RunOptions& run);

}  // namespace rankine
