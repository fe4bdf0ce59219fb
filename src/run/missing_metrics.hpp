// Metrics that cannot be computed for some samples: they are NaN, and a warning says of which samples and
// why. The run goes on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/core/log.hpp"

namespace rankine {

class MissingMetrics {
 public:
  struct Entry {
    std::string metric;
    std::int64_t sample;  ///< id; negative: the metric is of no sample
    std::string why;
  };

  void add(const std::string& metric, std::int64_t sample, const std::string& why);
  const std::vector<Entry>& entries() const { return entries_; }

  /// Gives all ranks the entries of all, by metric in the order of first mention, then by sample. Collective.
  void share(const Communicator& communicator);
  /// After share(): a line for each set of metrics that miss the same samples for the same reason.
  std::vector<std::string> texts() const;
  /// After share(): writes each as a warning, behind "variant v seed s: ".
  void warn(Log& log, const std::string& variant, std::int64_t seed) const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace rankine
