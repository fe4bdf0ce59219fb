// What the loss gains where a block is left out.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// Table `removal` by step and block: `loss` with the block's output replaced by its input, and `increase`,
/// that over the loss of the whole network; means over the first examples of a split. Blocks are those whose
/// output has the shape of their input. Metric: mean increase over the blocks, last measurement.
class BlockRemoval final : public StepProbe {
 public:
  struct Options {
    std::string every = "end", on = "validation";
    int examples = 0;
    std::vector<int> blocks;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit BlockRemoval(const Options& options) : options_(options) {}

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

}  // namespace rankine
