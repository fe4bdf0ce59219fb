#include "src/rules/learning_rule.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/deck/tree.hpp"
#include "src/nn/softmax.hpp"
#include "src/optim/after_step.hpp"
#include "src/rules/gradient_transforms.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/profile.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {

Tensor predict_mean(LearningRule& rule, const Network& network, const BoundParameters& parameters,
                    const Tensor& x, Pass& pass, bool classes) {
  const std::int64_t draws = network.draws();
  if (draws == 0) return rule.predict(network, parameters, x, pass);
  Tensor total;
  for (pass.draw = 1; pass.draw <= draws; ++pass.draw) {
    const Tensor y = rule.predict(network, parameters, x, pass), one = classes ? softmax(y) : y;
    total = total.defined() ? add(total, one) : one;
  }
  pass.draw = 0;
  const Tensor mean = scale(total, 1 / static_cast<double>(draws));
  return classes ? log(maximum(mean, 1e-37)) : mean;  // float has no smaller normal numbers
}

TapeLoss mean_loss(const RuleSetup& setup, const Tensor& outputs, const NetworkBatch& batch,
                   const Tensor& added) {
  return mean_over_batch(setup, setup.loss->per_sample(outputs, batch.targets, 2), added);
}

TapeLoss mean_over_batch(const RuleSetup& setup, const Tensor& losses, const Tensor& added) {
  Tensor per_shard = mean(losses, {1});
  if (added.defined()) per_shard = add(per_shard, added);
  const double share = 1 / static_cast<double>(setup.shard_count);
  const Tensor total = sum_over_tiles(cast(per_shard.detach(), DType::f64), setup.shards);
  return {{per_shard}, {Tensor::full(per_shard.shape(), per_shard.dtype(), share)}, LossValue(total, share)};
}

StepOutcome apply_gradient(RuleContext& context, StepReport& report, const LossValue& loss,
                           const Tensor& gradient) {
  StepPart<"step_report"> reporting;
  const FlatParts& live = context.optimizer.live(context.parameters);
  const int squares = report.add();
  live.sum_of_squares(gradient, report.number(squares));
  int sum = -1, bad_statistics = -1;
  if (loss.sum().defined()) sum = report.add(loss.sum());
  if (context.guard != nullptr && context.guard->has_statistics()) {
    bad_statistics = report.add();
    context.guard->count_bad_statistics(report.number(bad_statistics));
  }
  report.read();
  reporting.done({2 * static_cast<double>(gradient.count()), bytes_of(gradient)});

  StepOutcome outcome;
  outcome.loss = loss.with(sum < 0 ? 0 : report[sum]);
  outcome.gradient_norm = std::sqrt(report[squares]);
  outcome.updated = std::isfinite(outcome.gradient_norm) && std::isfinite(outcome.loss);
  outcome.gradient = gradient;
  StepPart<"optimizer_step"> stepping;
  clip_gradient(gradient, outcome.gradient_norm, context.clip);
  if (!outcome.updated) return outcome;
  if (context.update)
    context.update(gradient);
  else if (context.guard != nullptr)
    outcome.updated =
        context.guard->step(gradient, clipped_norm(outcome.gradient_norm, context.clip),
                            context.learning_rate, bad_statistics < 0 || report[bad_statistics] == 0);
  else
    context.optimizer.step(context.parameters, gradient, context.learning_rate);
  stepping.done(context.update ? Cost() : context.optimizer.cost(context.parameters));
  return outcome;
}

StepOutcome take_step(LearningRule& rule, RuleContext& context) {
  if (context.party != nullptr) {
    StepOutcome turn = context.party->turn(context);
    if (!turn.updated) return turn;
  }
  StepOutcome outcome =
      context.gradient != nullptr ? context.gradient->step(rule, context) : rule.step(context);
  // Where the update is only noted, there was no step.
  if (context.party != nullptr && (!outcome.updated || context.update)) context.party->take_back();
  if (context.after_step == nullptr || !outcome.updated || context.update) return outcome;
  const CostAccount no_cost;  // every rank does all of it
  const Uncounted no_memory;
  const bool changed =
      context.after_step->apply(context.parameters, {context.seed, context.step, context.learning_rate});
  if (changed && context.guard != nullptr) context.guard->state_changed();
  return outcome;
}

void reject_unused_options(const LearningRule& rule, const DeckNode& train) {
  for (const std::string& key : rule.unused_options()) {
    if (train.has(key))
      train.error_at(key,
                     fmt::format("{}: this learning rule makes no use of it; leave it out, or give it in "
                                 "those variants alone whose rules do",
                                 key));
    // Nor does the resolved deck give it, which is a deck itself.
    std::erase_if(train.tree().entries, [&](const deck::Tree::Entry& entry) { return entry.key == key; });
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
