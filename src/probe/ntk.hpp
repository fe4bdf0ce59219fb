// The neural tangent kernel of finite networks.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// The kernel of tangent_kernel.hpp between the first examples of a split. Table `ntk` by step: `norm` of the
/// matrix, `drift`, the norm of its change since the first measurement over that measurement's norm, and,
/// against the limit of infinite width, `error`, the distance from it over its norm. Table `ntk_spectrum` by
/// step and component: its eigenvalues, largest first. Metrics: last drift and smallest eigenvalue, and first
/// error.
///
/// With `learning_rate` r, the outputs f after k steps of plain gradient descent on the mean squared error of
/// all n examples are predicted by those of the linear model, f_k = y + (I - (2 r / n) Theta)^k (f_0 - y),
/// Theta being the limit or the first measurement; metric: |f - f_k| / |y| at the last measurement.
class NeuralTangentKernel final : public StepProbe {
 public:
  struct Options {
    std::string every = "ends", on = "training", against = "none";
    int examples = 32;
    double learning_rate = 0;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit NeuralTangentKernel(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  /// The distance of the outputs from those of the linear model, which starts at the first measurement.
  double miss(const ProbeRun& run, const Examples& examples, const std::vector<double>& kernel,
              std::int64_t done);

  Options options_;
  std::vector<double> first_, outputs_;                    // matrix and outputs of the first measurement
  std::int64_t begin_ = 0;                                 // steps before it
  std::vector<double> drift_, smallest_, error_, misses_;  // of each measurement
};

}  // namespace rankine
