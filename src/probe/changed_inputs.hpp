// How well a classifier holds where its inputs are changed.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Metric `<split>_<how>_accuracy`: the share of right classes on changed inputs.
class ChangedInputs : public ExampleProbe {
 public:
  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return {accuracy_}; }
  Split split() const override { return split_of(on_); }
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;
  /// The changed inputs, of the batch's shape.
  virtual Tensor changed(const ProbeRun& run, const EvaluatedBatch& batch) const = 0;

 protected:
  /// how: "attacked", "occluded", ...
  ChangedInputs(std::string how, std::string on) : how_(std::move(how)), on_(std::move(on)) {}

 private:
  std::string how_, on_;
  double accuracy_ = 0;
};

}  // namespace rankine
