// How far each block turns what passes it.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Table `angle` by step and block: (1/pi) arccos of the cosine between the block's input and output
/// (Gromov et al., arXiv 2403.17887), mean over the first examples of a split. Blocks are those whose output
/// has the shape of their input. Metric: mean over the blocks, last measurement.
class BlockAngle final : public StepProbe {
 public:
  struct Options {
    std::string every = "end", on = "validation", position = "last";
    int examples = 256;
    std::vector<int> blocks;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit BlockAngle(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;
  void measure(const ProbeRun& run, std::int64_t done) override;

 private:
  Options options_;
  std::vector<double> means_;  // of each measurement
};

/// (1/pi) arccos of the cosine of each sample's `a` and `b`, both [1, n, ...]. Of samples [T, D], `last`
/// takes the last row alone.
std::vector<double> angles(const Tensor& a, const Tensor& b, bool last);

}  // namespace rankine
