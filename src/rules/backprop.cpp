#include "src/rules/backprop.hpp"

namespace rankine {

StepOutcome Backprop::step(RuleContext& context) {
  StepReport report;
  const BoundParameters bound = context.parameters.bind(context.tiles);
  const TapeLoss loss = context.loss(bound);
  const Tensor gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
  return apply_gradient(context, report, loss.value, gradient);
}

}  // namespace rankine
