// An average of the parameters over training, which evaluations judge instead of the parameters themselves: a
// deck's `train.average`.
#pragma once

#include <cstdint>

#include "src/deck/registry.hpp"

namespace rankine {

/// How much of the parameters each step adds to their average, as a function of the step: there is no state
/// beside the average itself.
class Average {
 public:
  virtual ~Average() = default;
  /// After step `step` (from 0) the average is (1 - share) of what it was plus share of the parameters.
  virtual double share(std::int64_t step) const = 0;
};

/// The table of averages.
const Registry<Average>& averages();

}  // namespace rankine
