// How far each block turns what passes it.
#pragma once

#include "src/probe/block_probe.hpp"

namespace rankine {

/// Table `angle` by step and block: (1/pi) arccos of the cosine between the block's input and output
/// (Gromov et al., arXiv 2403.17887), mean over the first examples of a split. Blocks are those whose output
/// has the shape of their input. Metric: mean over the blocks, last measurement.
class BlockAngle final : public BlockProbe {
 public:
  struct Options : BlockProbeOptions {
    std::string position = "last";
    void options(OptionVisitor& o);
  };
  explicit BlockAngle(const Options& options) : BlockProbe(options), options_(options) {}

  std::vector<MetricInfo> metrics() const override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
};

/// (1/pi) arccos of the cosine of each sample's `a` and `b`, both [1, n, ...]. Of samples [T, D], `last`
/// takes the last row alone.
std::vector<double> angles(const Tensor& a, const Tensor& b, bool last);

}  // namespace rankine
