// How well a classifier holds against inputs that were made to fool it.
#pragma once

#include <optional>

#include "src/probe/changed_inputs.hpp"

namespace rankine {

/// The fast gradient sign method (Goodfellow et al., arXiv 1412.6572): x + epsilon sign(dL/dx), L being the
/// loss that was trained. Metric: accuracy on these.
class Attack final : public ChangedInputs {
 public:
  struct Options {
    double epsilon = 0.1;
    std::optional<double> low, high;
    std::string on = "test";
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Attack(const Options& options) : ChangedInputs("attacked", options.on), options_(options) {}

  Tensor changed(const ProbeRun& run, const EvaluatedBatch& batch) const override;

 private:
  Options options_;
};

}  // namespace rankine
