// Which weights a network uses, compared with another's.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// With the set A of weights that are not zero as a pass sees them, and the set B of those of a snapshot: the
/// metric `overlap_<snapshot>` is |A and B| / |A or B|, and `overlap_<snapshot>_cosine` is |A and B| / sqrt(|A| |B|),
/// both over all weights that the patterns name, and 1 where neither has any.
class Overlap final : public StepProbe {
 public:
  struct Options {
    std::string with, every = "end";
    std::vector<std::string> on{"*.weight"};
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Overlap(const Options& options);

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
  std::string name_;            // of table and metrics
  std::vector<double> values_;  // the two of each measurement
};

}  // namespace rankine
