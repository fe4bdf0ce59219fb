// The second derivatives of the loss by the parameters.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Table `curvature` by step: of the Hessian of the mean loss over the first examples of a split, in
/// evaluation mode, by the trainable numbers that no mask holds at zero, `largest` and `smallest` eigenvalue,
/// by Lanczos' method with all vectors kept orthogonal, and `trace`, by Hutchinson's estimate, the mean of
/// z^T H z over z of random signs (Commun. Stat. Simul. 19, 1990). Products with the Hessian are exact, by
/// differentiating the gradient. Metrics: the last measurement's.
class Curvature final : public StepProbe {
 public:
  struct Options {
    std::string every = "ends", on = "training";
    int examples = 100, iterations = 30, draws = 10;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Curvature(const Options& options) : options_(options) {}

  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
  std::vector<double> largest_, smallest_, trace_;  // of each measurement
};

}  // namespace rankine
