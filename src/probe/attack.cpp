#include "src/probe/attack.hpp"

#include <limits>

#include "src/tensor/elementary.hpp"

namespace rankine {

void Attack::Options::options(OptionVisitor& o) {
  o("epsilon", epsilon, {.help = "by how much each entry of an input is changed", .min = 0});
  o("low", low, {.help = "changed entries stay above this (none: unlimited)"});
  o("high", high, {.help = "changed entries stay below this (none: unlimited)"});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

void Attack::Options::validate(const DeckNode& node) const {
  if (low && high && *low >= *high) node.error_at("high", "high: must be above low");
}

Tensor Attack::changed(const ProbeRun& run, const EvaluatedBatch& batch) const {
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = batch.ids;
  const BoundParameters bound = run.parameters.bind(pass.shards);  // off the tape, unlike the inputs
  const WithTape on;
  const Tensor x = variable(batch.inputs);
  const Tensor loss = sum(run.setup.loss.per_sample(run.predict(bound, x, pass), batch.targets, 2));
  const Tensor gradient = grad({loss}, {Tensor()}, {x}).front();
  const NoGrad off;
  constexpr double none = std::numeric_limits<double>::infinity();
  return clamp(add(batch.inputs, scale(sign(gradient), options_.epsilon)), options_.low.value_or(-none),
               options_.high.value_or(none));
}

}  // namespace rankine
