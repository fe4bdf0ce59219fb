// How well a classifier holds on inputs of worse quality than those it has learned from.
#pragma once

#include "src/probe/changed_inputs.hpp"

namespace rankine {

/// Images moved by whole pixels to the right and down (what comes from outside is 0), then normal noise on each
/// pixel. Metric: accuracy on these. The noise is that of the example, the same for all seeds of a deck.
class Corruption final : public ChangedInputs {
 public:
  struct Options {
    double noise = 0.2;
    int shift = 0;
    std::string on = "test";
    void options(OptionVisitor& o);
  };
  explicit Corruption(const Options& options) : ChangedInputs("corrupted", options.on), options_(options) {}

  void check(const ProbeSetup& setup) const override;
  Tensor changed(const ProbeRun& run, const EvaluatedBatch& batch) const override;

 private:
  Options options_;
};

}  // namespace rankine
