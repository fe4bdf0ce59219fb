// How far training takes the weights.
#pragma once

#include <span>

#include "src/probe/probe.hpp"

namespace rankine {

/// Table `distance` by step: `euclidean` = |w - w0| of the numbers that `on` names side by side, w0 being those
/// that training starts from or those of a snapshot, and `angle` between w and w0 in radians. Numbers that a
/// mask holds at zero are left out. Hoffer et al. (arXiv 1705.08741) find |w - w0| ~ log(step); the metrics
/// tell how well this and a random walk, ~ sqrt(step), fit. Of a snapshot the names of table and metrics end
/// with the snapshot's.
class Distance final : public StepProbe {
 public:
  struct Options {
    std::string from = "initial", every = "log";
    std::vector<std::string> on{};
    long fit_from = 1, fit_to = 0;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Distance(const Options& options);

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  std::vector<ParameterInfo> parts(const Network& network) const;

  Options options_;
  std::string suffix_;                // of names
  Tensor start_;                      // all parameters
  std::vector<ParameterInfo> parts_;  // that are compared
  std::vector<std::int64_t> steps_;
  std::vector<double> euclidean_, angle_;
};

/// The share of the variance of `y` that a straight line in `x` explains; NaN of fewer than three points.
double line_r2(std::span<const double> x, std::span<const double> y);

}  // namespace rankine
