// Whether a classifier is surest where it is right.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Metrics of a split: area under the risk-coverage curve, and what of it a better order of the examples
/// would save (src/probe/scores.hpp).
class RiskCoverage final : public ExampleProbe {
 public:
  struct Options {
    std::string on = "test";
    void options(OptionVisitor& o);
  };
  explicit RiskCoverage(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return values_; }
  Split split() const override;
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;

 private:
  Options options_;
  std::vector<double> values_;
};

}  // namespace rankine
