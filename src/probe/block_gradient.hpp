// The size of the loss's gradient in each block.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Table `gradient_norm` by step and block: `norm` of the gradient of the mean loss, over the first examples
/// of a split, with respect to the block's trainable numbers, those that a mask holds at zero left out.
/// Metrics: its coefficient of variation over the blocks at the first and at the last measurement. Blocks are
/// those that have trainable numbers.
class BlockGradient final : public StepProbe {
 public:
  struct Options {
    std::string every = "ends", on = "training";
    int examples = 256;
    std::vector<int> blocks;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit BlockGradient(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
  std::vector<double> variation_;  // of each measurement
};

/// The gradient, in double, of the mean loss over the first `count` examples of a split, in evaluation mode.
/// The same bits on any number of ranks. Collective.
std::vector<double> mean_gradient(const ProbeRun& run, Split split, std::int64_t count);

}  // namespace rankine
