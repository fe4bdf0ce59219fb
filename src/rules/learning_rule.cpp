#include "src/rules/learning_rule.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace rankine {

TapeLoss mean_loss(const RuleSetup& setup, const Tensor& outputs, const NetworkBatch& batch) {
  const Tensor per_shard = mean(setup.loss->per_sample(outputs, batch.targets, 2), {1});
  const double share = 1 / static_cast<double>(setup.shard_count);
  const double total = sum_over_tiles(cast(per_shard.detach(), DType::f64), setup.shards).item();
  return {{per_shard}, {Tensor::full(per_shard.shape(), per_shard.dtype(), share)}, share * total};
}

StepOutcome apply_gradient(RuleContext& context, double loss, const Tensor& gradient) {
  StepOutcome outcome;
  outcome.loss = loss;
  outcome.gradient_norm = clip_gradient(context.parameters, gradient, context.clip);
  outcome.updated = std::isfinite(outcome.gradient_norm) && std::isfinite(outcome.loss);
  outcome.gradient = gradient;
  if (!outcome.updated) return outcome;
  const double norm = clipped_norm(outcome.gradient_norm, context.clip);
  if (context.update)
    outcome.updated = context.update(gradient, norm);
  else
    context.optimizer.step(context.parameters, gradient, context.learning_rate);
  return outcome;
}

void reject_unused_options(const LearningRule& rule, const DeckNode& train) {
  for (const std::string& key : rule.unused_options()) {
    if (train.has(key))
      train.error_at(key,
                     fmt::format("{}: this learning rule makes no use of it; leave it out, or give it in "
                                 "those variants alone whose rules do",
                                 key));
  }
}

std::vector<std::string> rules_for(const RuleSetup& setup) {
  std::vector<std::string> out;
  for (const std::string& name : rules().names()) {
    try {
      rules().make_or(name, DeckNode())->check(setup);
      out.push_back(name);
    } catch (const InputError&) {
    }
  }
  return out;
}

}  // namespace rankine
