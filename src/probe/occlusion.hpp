// How well a classifier sees what is partly hidden.
#pragma once

#include "src/probe/changed_inputs.hpp"

namespace rankine {

/// A square in the middle of each image is 0 (Yun et al., arXiv 1905.04899, section 4.4). Metric: accuracy on
/// these.
class Occlusion final : public ChangedInputs {
 public:
  struct Options {
    int size = 8;
    std::string on = "test";
    void options(OptionVisitor& o);
  };
  explicit Occlusion(const Options& options) : ChangedInputs("occluded", options.on), options_(options) {}

  void check(const ProbeSetup& setup) const override;
  Tensor changed(const ProbeRun& run, const EvaluatedBatch& batch) const override;

 private:
  Options options_;
};

}  // namespace rankine
