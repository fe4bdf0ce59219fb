// What the loss gains where a block is left out.
#pragma once

#include "src/probe/block_probe.hpp"

namespace rankine {

/// Table `removal` by step and block: `loss` with the block's output replaced by its input, and `increase`,
/// that over the loss of the whole network; means over the first examples of a split. Blocks are those whose
/// output has the shape of their input. Metric: mean increase over the blocks, last measurement.
class BlockRemoval final : public BlockProbe {
 public:
  struct Options : BlockProbeOptions {
    Options() {
      examples = 0;
      zero_is_all_ = true;
    }
  };
  explicit BlockRemoval(const Options& options) : BlockProbe(options), options_(options) {}

  std::vector<MetricInfo> metrics() const override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
};

}  // namespace rankine
