#include "src/rules/backprop.hpp"

#include <cmath>

namespace rankine {

StepOutcome Backprop::step(RuleContext& context) {
  const BoundParameters bound = context.parameters.bind(context.tiles);
  const TapeLoss loss = context.loss(bound);
  const Tensor gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
  StepOutcome outcome;
  outcome.loss = loss.value;
  outcome.gradient_norm = clip_gradient(context.parameters, gradient, context.clip);
  outcome.updated = std::isfinite(outcome.gradient_norm) && std::isfinite(outcome.loss);
  if (outcome.updated) context.optimizer.step(context.parameters, gradient, context.learning_rate);
  return outcome;
}

}  // namespace rankine
