// How the gate of a mixture deals the examples to its experts.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Of the first mixture of the network, or the one named. An example uses the experts whose weight is above
/// `threshold`. Metrics: experts that an example uses, mean; and of each expert the share of the examples
/// that use it and its share of the weight.
class GateLoad final : public ExampleProbe {
 public:
  struct Options {
    std::string block, on = "test";
    double threshold = 0;
    void options(OptionVisitor& o);
  };
  explicit GateLoad(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return values_; }
  Split split() const override;
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;

 private:
  Options options_;
  mutable std::string block_;  // found by check(), which comes first
  mutable std::size_t experts_ = 0;
  std::vector<double> values_;
};

}  // namespace rankine
