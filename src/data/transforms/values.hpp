// Transforms of examples of any shape.
#pragma once

#include "src/data/transforms/transform.hpp"

namespace rankine {

/// Adds normal noise: x + deviation z.
class Noise final : public Transform {
 public:
  void options(OptionVisitor& o);
  bool off() const override { return deviation_ == 0; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 private:
  double deviation_ = 0.1;
};

/// Progressive self-knowledge distillation (Kim et al., arXiv 2006.12000): targets become (1 - a) target + a
/// (the network's latest output for the example), with a = share * epoch / epochs. An example that the
/// network has not seen keeps its target.
class MixPastOutputs final : public Transform {
 public:
  void options(OptionVisitor& o);
  void check(const Dataset& data) const override;
  bool off() const override { return share_ == 0; }
  bool changes_inputs() const override { return false; }
  bool changes_targets() const override { return true; }
  bool needs_past() const override { return true; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 private:
  double share_ = 0.8;
};

}  // namespace rankine
