// Whether a classifier is right as often as it says.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Metrics of a split: expected calibration error, mean negative log likelihood, mean Brier score
/// (src/probe/scores.hpp). Each position of a sequence counts as an example.
class Calibration final : public ExampleProbe {
 public:
  struct Options {
    int bins = 15;
    std::string on = "test";
    void options(OptionVisitor& o);
  };
  explicit Calibration(const Options& options) : options_(options) {}

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

/// InputError where the targets are no classes, which the outputs give scores of.
void check_classes(const ProbeSetup& setup);

}  // namespace rankine
