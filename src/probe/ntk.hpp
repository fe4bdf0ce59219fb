// The neural tangent kernel of finite networks.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Theta(x, x') = mean over the outputs f_k of <df_k(x)/dw, df_k(x')/dw> (Jacot et al., arXiv 1806.07572),
/// in evaluation mode, between the first examples of a split. Table `ntk` by step: `norm` of the matrix and
/// `drift`, the norm of its change since the first measurement over that measurement's norm. Table
/// `ntk_spectrum` by step and component: its eigenvalues, largest first. Metrics: last drift and last
/// smallest eigenvalue.
class NeuralTangentKernel final : public StepProbe {
 public:
  struct Options {
    std::string every = "ends", on = "training";
    int examples = 32;
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
  Options options_;
  std::vector<double> first_;             // matrix
  std::vector<double> drift_, smallest_;  // of each measurement
};

/// The matrix [n, n] of the examples, whose inputs are [1, n, ...]. Dense blocks on vectors take
/// (A A' + 1) o (D D') with their inputs A and their outputs' gradients D; of all other blocks the gradients
/// of each example are formed.
std::vector<double> tangent_kernel(const ProbeRun& run, const Examples& examples);

}  // namespace rankine
