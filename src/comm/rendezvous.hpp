// Telling a failure of all ranks from a failure of one. What every rank finds alike is reported once and ends
// the program in good order; a rank that fails alone must end the others, which may wait for it in a
// collective call.
#pragma once

#include <functional>
#include <string>

#include "src/comm/communicator.hpp"

namespace rankine {

class Rendezvous {
 public:
  /// How long a rank waits for the others before it takes its failure for its own.
  static constexpr double default_patience = 5;

  /// Collective. `report(exception, rank)` prints a failure of one rank and returns the exit code.
  using Report = std::function<int(const std::exception&, int rank)>;
  Rendezvous(const Communicator& communicator, Report report, double patience = default_patience);

  /// The same for some of the ranks: who fails among them alone ends all ranks. Collective over `part`.
  Rendezvous within(const Communicator& part) const;

  /// Runs `work`. If it throws on all ranks, all throw what the lowest rank threw (see
  /// Communicator::together). If it throws on some, these report it and end all ranks with the exit code.
  void guard(const std::function<void()>& work) const;

 private:
  /// Whether all ranks call this at about the same time.
  bool all_meet() const;

  Communicator channel_;  // its own, so that nothing here meets a call of the work
  Report report_;
  double patience_;
};

}  // namespace rankine
