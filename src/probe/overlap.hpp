// Which weights a network uses, compared with another's.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// A: the weights that are not zero as a pass sees them, B: those that are not in a snapshot or where training
/// starts, both of all that the patterns name. Metrics: `overlap` |A and B| / |A or B|, `overlap_cosine`
/// |A and B| / sqrt(|A| |B|), both 1 of empty sets, and `overlap_share` |A| over all. Of a snapshot the names
/// have it in them, as `overlap_dense_end_share` for dense@end.
class Overlap final : public StepProbe {
 public:
  struct Options {
    std::string with = "initial", every = "end";
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
  Tensor start_;                // B is what is not zero here; all parameters
  std::vector<double> values_;  // the three of each measurement
};

}  // namespace rankine
