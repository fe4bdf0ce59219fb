// The size of the loss's gradient in each block.
#pragma once

#include "src/probe/block_probe.hpp"

namespace rankine {

/// Table `gradient_norm` by step and block: `norm` of the gradient of the mean loss, over the first examples
/// of a split, with respect to the block's trainable numbers, those that a mask holds at zero left out.
/// Metrics: its coefficient of variation over the blocks at the first and at the last measurement. Blocks are
/// those that have trainable numbers.
class BlockGradient final : public BlockProbe {
 public:
  struct Options : BlockProbeOptions {
    Options() {
      every = "ends";
      on = "training";
    }
  };
  explicit BlockGradient(const Options& options) : BlockProbe(options), options_(options) {}

  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  /// Those with trainable numbers.
  std::vector<int> blocks(const Network& network) const override;

  Options options_;
};

/// The gradient, in double, of the mean loss over the first `count` examples of a split, in evaluation mode; or
/// its derivative along a direction [count of parameters], the product of the loss's Hessian with it. The same
/// bits on any number of ranks. Collective.
std::vector<double> mean_gradient(const ProbeRun& run, Split split, std::int64_t count,
                                  const std::vector<double>& along = {});

}  // namespace rankine
