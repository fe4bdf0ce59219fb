// What an optimiser remembers of the gradients of weights that do nothing.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// The mean of the optimiser's second moments (Adam's mean of squared gradients) over the weights that an evaluation
/// sees as zero, and over those that it does not. Metrics: `second_moment_zero` and `second_moment_kept`, means over
/// the measurements from step `from` on; NaN where there are no such weights, or no moments.
class SecondMoment final : public StepProbe {
 public:
  struct Options {
    std::string every = "100";
    long from = 0;
    std::vector<std::string> on{"*.weight"};
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit SecondMoment(const Options& options) : options_(options) {}

  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
  std::vector<double> zero_, kept_;  // of the measurements that count
};

}  // namespace rankine
