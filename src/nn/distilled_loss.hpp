// Learning from another network's outputs beside the targets: a deck's `train.distill`.
#pragma once

#include <string>

#include "src/nn/loss.hpp"

namespace rankine {

struct DistillOptions {
  std::string from;
  double weight = 1, temperature = 1;
  void options(OptionVisitor& o);
};

/// A loss plus weight times that against a teacher's outputs z: of classes T^2 times the cross entropy of
/// softmax(outputs / T) with softmax(z / T) (Hinton, Vinyals and Dean, 2015, arXiv 1503.02531), of real
/// targets the mean of (outputs - z)^2. Its targets hold both, so that every rule that takes them apart
/// takes the teacher's along.
class DistilledLoss final : public Loss {
 public:
  /// `own` outlives it. `classes`: 0 of real targets.
  DistilledLoss(const Loss& own, const DistillOptions& options, std::int64_t classes)
      : own_(own), options_(options), classes_(classes) {}

  /// Targets [..., n] as own takes them, or classes [...], and the teacher's outputs [..., n] to
  /// [..., 2 n] of the outputs' type. Off the tape.
  Tensor targets(const Tensor& targets, const Tensor& teacher) const;

  void check(const Shape& output, std::int64_t classes, const Shape& target) const override {
    own_.check(output, classes, target);
  }
  Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const override;

 private:
  const Loss& own_;
  DistillOptions options_;
  std::int64_t classes_;
};

}  // namespace rankine
