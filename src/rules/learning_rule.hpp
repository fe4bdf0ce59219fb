// A learning rule owns the training step: how often the loss is evaluated, which gradients are formed and how
// they become an update. Backpropagation is one rule among others.
#pragma once

#include <functional>
#include <memory>

#include "src/core/registry.hpp"
#include "src/core/state_registry.hpp"
#include "src/experts/constraint_layer.hpp"
#include "src/optim/optimizer.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// What a rule may use in a step.
struct RuleContext {
  /// The loss of this step's batch for the parameters given, on the tape. Collective.
  std::function<TapeLoss(const BoundParameters&)> loss;
  ParameterSet& parameters;
  Optimizer& optimizer;
  SharedTileSum tiles;
  double learning_rate = 0;
  double clip = 0;  ///< bound of the gradient's norm; 0: none
};

struct StepOutcome {
  double loss = 0;
  double gradient_norm = 0;  ///< before clipping
  bool updated = true;       ///< false where the gradient was not finite, and the parameters were left alone
};

class LearningRule {
 public:
  virtual ~LearningRule() = default;
  /// One training step. Collective; the same bits on all ranks.
  virtual StepOutcome step(RuleContext& context) = 0;
  /// Registers everything that a restart needs, below `prefix`.
  virtual void register_state(StateRegistry& registry, const std::string& prefix) {
    (void)registry;
    (void)prefix;
  }
};

/// The table of rules that a deck's `train.rule` can name.
const Registry<LearningRule>& rules();

}  // namespace rankine
