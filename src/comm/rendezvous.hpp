// Distinguishes a failure of all ranks from a failure of some. A failure of all ranks is reported once, and
// the program ends in the usual way. A rank that fails alone must end the others, which may wait for it in a
// collective call.
#pragma once

#include <functional>
#include <string>

#include "src/comm/communicator.hpp"

namespace rankine {

class Rendezvous {
 public:
  /// Seconds that a rank with a failure waits for the others before it concludes that they did not fail.
  static constexpr double default_patience = 5;

  /// Collective. `report(exception, rank)` prints a failure of one rank and returns the exit code.
  using Report = std::function<int(const std::exception&, int rank)>;
  Rendezvous(const Communicator& communicator, Report report, double patience = default_patience);

  /// A rendezvous of the ranks of `part`. A failure of some of them ends all ranks. Collective over `part`.
  Rendezvous within(const Communicator& part) const;

  /// Runs `work`. If it throws on all ranks, they all throw the exception of the lowest rank, as in
  /// Communicator::together. If it throws on some, these report their failures and end all ranks with the
  /// exit code.
  void guard(const std::function<void()>& work) const;

 private:
  /// Whether all ranks call this within the time that a rank waits.
  bool all_meet() const;

  Communicator channel_;  // separate, so that its calls never match those of the work
  Report report_;
  double patience_;
};

}  // namespace rankine
