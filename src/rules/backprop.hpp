// Plain backpropagation through network, constraint and loss: one loss, one gradient, one step of one
// optimiser.
#pragma once

#include "src/rules/learning_rule.hpp"

namespace rankine {

class Backprop final : public LearningRule {
 public:
  void options(OptionVisitor&) {}
  StepOutcome step(RuleContext& context) override;
  bool evaluates_loss() const override { return true; }
};

}  // namespace rankine
