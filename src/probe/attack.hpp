// How well a classifier holds against inputs that were made to fool it.
#pragma once

#include <optional>

#include "src/probe/probe.hpp"

namespace rankine {

/// The fast gradient sign method (Goodfellow et al., arXiv 1412.6572): x + epsilon sign(dL/dx), L being the
/// loss that was trained. Metric: accuracy on these.
class Attack final : public ExampleProbe {
 public:
  struct Options {
    double epsilon = 0.1;
    std::optional<double> low, high;
    std::string on = "test";
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Attack(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return {accuracy_}; }
  Split split() const override;
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;
  /// The changed inputs.
  Tensor attacked(const ProbeRun& run, const EvaluatedBatch& batch) const;

 private:
  Options options_;
  double accuracy_ = 0;
};

}  // namespace rankine
