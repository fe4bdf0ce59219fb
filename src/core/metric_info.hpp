// What is known of a number before it is measured.
#pragma once

#include <string>

namespace rankine {

/// A number that a run ends with: a row of the final table, /runs/<variant>/seed_<s>/summary/<name>, and a
/// name that `expect:` may use.
struct MetricInfo {
  std::string name;
  std::string unit = "1";
  std::string help = {};
  /// Depends on the machine (seconds, bytes): stored in /timing instead, which bit comparisons leave out.
  bool machine_dependent = false;
  /// NaN is an ordinary value: the metric does not apply to every variant. Else NaN fails a --smoke run.
  bool may_be_nan = false;
};

}  // namespace rankine
