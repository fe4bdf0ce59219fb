#include "src/probe/attack.hpp"

#include <limits>

#include "src/core/statistics.hpp"
#include "src/probe/calibration.hpp"
#include "src/probe/scores.hpp"
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

Split Attack::split() const { return split_of(options_.on); }

void Attack::check(const ProbeSetup& setup) const {
  check_classes(setup);
  const std::vector<std::int64_t> first{0};
  if (setup.data.examples(split(), first, setup.network.dtype()).inputs.dtype() != setup.network.dtype())
    throw InputError("it changes real inputs by a little, and these are tokens; leave it out");
}

std::vector<MetricInfo> Attack::metrics() const {
  return {{options_.on + "_attacked_accuracy", "1",
           "share of right classes on attacked inputs, " + options_.on + " examples"}};
}

Tensor Attack::attacked(const ProbeRun& run, const EvaluatedBatch& batch) const {
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

void Attack::see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const {
  const Tensor x = attacked(run, batch);
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = batch.ids;
  const Tensor outputs = run.predict(run.parameters.bind(pass.shards), x, pass);
  for (const Judgement& j : judge(outputs, batch.targets)) numbers.push_back(j.right ? 1 : 0);
}

void Attack::conclude(const std::vector<double>& numbers) { accuracy_ = mean(numbers); }

}  // namespace rankine
