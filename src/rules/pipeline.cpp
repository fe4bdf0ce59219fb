#include "src/rules/pipeline.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/pointwise.hpp"
#include "src/core/clock.hpp"

namespace rankine {

std::vector<int> Pipeline::stages(const Network& network) const {
  // Blocks before the first parameters stay with them: no rank computes a gradient that nobody needs.
  std::vector<int> first{0};
  ParameterSet before(network.dtype());
  for (int b = 0; b + 1 < network.size(); ++b) {
    network.block(b).add_parameters(before, 0);
    if (before.count() > 0) first.push_back(b + 1);
  }
  return first;
}

void Pipeline::check(const RuleSetup& setup) const {
  if (setup.network == nullptr) throw InputError("pipeline: what is trained is no list of blocks");
  check_stages(setup, stages(*setup.network));
}

void Pipeline::begin(const RuleSetup& setup, const ParameterSet& parameters) {
  const std::vector<int> first = stages(*setup.network);
  std::vector<double> costs;
  for (std::size_t s = 0; s < first.size(); ++s)
    costs.push_back(seconds_of(setup, *setup.network, parameters, setup.inputs, first[s],
                               s + 1 < first.size() ? first[s + 1] : setup.network->size()));
  deal(setup, parameters, first, costs);
}

void Pipeline::forward(std::int64_t microbatch, RuleContext& context) {
  const NetworkBatch& all = *context.batch;
  const std::int64_t batch = all.inputs.extent(1);
  const Network& network = *setup_->network;
  const SharedTileSum one = local_tile_sum(1);
  UnderWay now;
  now.input = previous_ < 0 ? slice(all.inputs, 0, microbatch, microbatch + 1)
                            : variable(receive({1, batch}, network.block((*stages_)[begin_].begin).input(),
                                               previous_, static_cast<int>(microbatch)));
  Pass pass = *context.pass;
  pass.shards = one;
  pass.passes = setup_->shard_count;
  if (repeating_) {
    pass.update_statistics = false;
    pass.hooks.clear();
  }
  pass.samples.assign(all.ids.begin() + microbatch * batch, all.ids.begin() + (microbatch + 1) * batch);
  now.output = now.input;
  for (int s = begin_; s < end_; ++s) {
    const Stages::Stage& stage = (*stages_)[s];
    const BoundParameters bound = stage.parameters.bind(one);
    now.flats.push_back(bound.flat());
    now.output = network.forward(bound, now.output, pass, stage.begin, stage.end);
  }
  if (next_ >= 0) {
    send(now.output, next_, static_cast<int>(microbatch));
  } else {
    const Tensor targets = slice(all.targets, 0, microbatch, microbatch + 1);
    now.loss = mean(setup_->loss->per_sample(now.output, targets, 2), {1});
    losses_[static_cast<std::size_t>(microbatch)] = now.loss.item();
  }
  under_way_.push_back(std::move(now));
}

void Pipeline::backward(std::int64_t microbatch) {
  UnderWay now = std::move(under_way_.front());
  under_way_.pop_front();
  const auto tag = static_cast<int>(setup_->shard_count + microbatch);
  Tensor output = now.loss, seed;
  if (next_ >= 0) {
    output = now.output;
    seed = receive({1, output.extent(1)}, setup_->network->block((*stages_)[end_ - 1].end - 1).output(),
                   next_, tag);
  } else {
    seed = Tensor::full(output.shape(), output.dtype(), 1 / static_cast<double>(setup_->shard_count));
  }
  now.output = now.loss = Tensor();
  std::vector<Tensor> inputs = now.flats;
  if (previous_ >= 0) inputs.push_back(now.input);
  const std::vector<Tensor> found = grad({output}, {seed}, inputs);
  if (previous_ >= 0) send(found.back(), previous_, tag);
  for (std::size_t s = 0; s < now.flats.size(); ++s)
    gradients_[s].view({found[s].count()}, {1}, microbatch * found[s].count()).assign(found[s]);
}

int Pipeline::ranks_after() const {
  int after = 0;
  for (int s = end_, owner = setup_->communicator.rank(); s < stages_->size(); ++s)
    if ((*stages_)[s].owner != owner) {
      owner = (*stages_)[s].owner;
      ++after;
    }
  return after;
}

void Pipeline::clear_gradients() {
  const Uncounted scope;
  gradients_.clear();
  for (int s = begin_; s < end_; ++s)
    gradients_.push_back(
        Tensor::zeros({setup_->shard_count, (*stages_)[s].parameters.count()}, setup_->network->dtype()));
}

void Pipeline::pass_all(RuleContext& context, std::int64_t ahead) {
  const std::int64_t microbatches = setup_->shard_count;
  losses_.assign(static_cast<std::size_t>(microbatches), 0);
  clear_gradients();
  if (begin_ < end_) {
    for (std::int64_t m = 0; m < ahead; ++m) forward(m, context);
    for (std::int64_t m = ahead; m < microbatches; ++m) {
      forward(m, context);
      backward(m - ahead);
    }
    for (std::int64_t m = microbatches - ahead; m < microbatches; ++m) backward(m);
  }
  wait_for_sent();
}

std::shared_ptr<const RuleFault> Pipeline::look_into(RuleContext& context) {
  const Communicator& communicator = setup_->communicator;
  const std::int64_t ranks = communicator.size(), microbatches = setup_->shard_count;
  constexpr std::int64_t none = std::numeric_limits<std::int64_t>::max();
  FaultProbe probe;
  std::int64_t first = none;
  RuleFault mine{.owner = communicator.rank(), .block = ""};
  const auto note = [&](std::int64_t order, std::int64_t microbatch) {
    if (first != none || !probe.found()) return;
    first = order;
    mine.first_shard = microbatch;
  };
  repeating_ = true;
  clear_gradients();
  // One microbatch after the other, so that what comes first does not depend on the ranks: forward through
  // them all, then backward.
  for (std::int64_t m = 0; m < microbatches && begin_ < end_; ++m) {
    if (previous_ < 0) {
      const std::int64_t before = probe.checks();
      const Tensor inputs = [&] {
        const FaultProbe::Pause pause;
        return slice(context.batch->inputs, 0, m, m + 1);
      }();
      probe.check("the inputs of the batch", inputs);
      if (first == none && probe.found()) mine.in_step = probe.found()->number < before;
    }
    forward(m, context);
    note(2 * m * ranks + communicator.rank(), m);
    backward(m);
    note((2 * m + 2) * ranks - 1 - communicator.rank(), m);
  }
  wait_for_sent();
  for (std::size_t s = 0; s < gradients_.size(); ++s) {
    const Uncounted scope;
    FaultProbe::layer_done("", {});
    const Tensor total = sum_over_tiles(gradients_[s], local_tile_sum(microbatches));
    FaultProbe::layer_done(setup_->network->block((*stages_)[begin_ + static_cast<int>(s)].begin).name(),
                           total);
  }
  note(2 * microbatches * ranks + communicator.rank(), 0);
  repeating_ = false;

  const std::int64_t earliest = communicator.min(first);
  auto fault = std::make_shared<RuleFault>(mine);
  if (earliest == none) {
    fault->owner = 0;
    return fault;
  }
  fault->owner = communicator.min(first == earliest ? communicator.rank() : communicator.size());
  if (fault->owner == communicator.rank()) fault->finding = probe.found();
  return fault;
}

StepOutcome Pipeline::step(RuleContext& context) {
  const Stopwatch whole;
  const Communicator& communicator = setup_->communicator;
  const std::int64_t microbatches = setup_->shard_count;
  for (int s = begin_; s < end_; ++s) (*stages_)[s].guard->begin_step();
  pass_all(context, std::min<std::int64_t>(ranks_after(), microbatches));

  // The last stage's owner knows the losses, and each owner the sums of squares of its parts.
  const SharedTileSum tree = local_tile_sum(microbatches);
  const Stopwatch draining;
  communicator.broadcast(std::span<double>(losses_), (*stages_)[stages_->size() - 1].owner);
  double loss = 0;
  tree->sum(std::span<const double>(losses_), std::span<double>(&loss, 1));
  loss *= 1 / static_cast<double>(microbatches);  // rounded as mean_loss() does
  waited_ += draining.seconds();

  std::vector<Tensor> totals;
  for (const Tensor& gradient : gradients_) {
    const Uncounted scope;
    totals.push_back(sum_over_tiles(gradient, tree));
  }
  std::vector<double> squares;
  for (int s = 0; s < stages_->size(); ++s) {
    const Stages::Stage& stage = (*stages_)[s];
    const FlatParts& live = stage.optimizer->live(stage.parameters);
    std::vector<double> of_stage(live.parts().size());
    if (s >= begin_ && s < end_)
      of_stage = live.sums_of_squares(totals[static_cast<std::size_t>(s - begin_)]);
    communicator.broadcast(std::span<double>(of_stage), (*stages_)[s].owner);
    squares.insert(squares.end(), of_stage.begin(), of_stage.end());
  }
  StepOutcome outcome;
  outcome.loss = loss;
  outcome.gradient_norm =
      std::sqrt(kernels::tree_sum(static_cast<std::int64_t>(squares.size()), squares.data()));
  outcome.updated = std::isfinite(outcome.gradient_norm) && std::isfinite(loss);
  const double factor =
      context.clip > 0 && outcome.gradient_norm > context.clip ? context.clip / outcome.gradient_norm : 1;
  {
    const Uncounted scope;
    outcome.gradient = Tensor::zeros({context.parameters.count()}, context.parameters.dtype());
  }
  const double norm = clipped_norm(outcome.gradient_norm, context.clip);
  std::vector<Update> updates;
  for (int s = begin_; s < end_; ++s) {
    const Stages::Stage& stage = (*stages_)[s];
    if (stage.parameters.count() == 0) continue;
    const Uncounted scope;
    Tensor total = totals[static_cast<std::size_t>(s - begin_)];
    if (factor != 1) total = scale(total, factor);
    const std::int64_t offset = context.parameters.part(stage.parameters.parts()[0].name).offset;
    outcome.gradient.view({total.count()}, {1}, offset).assign(total);
    updates.push_back({stage.guard.get(), total, norm});
  }
  if (!outcome.updated) {
    outcome.fault = look_into(context);
  } else if (!update_together(communicator, updates, context.learning_rate)) {
    outcome.updated = false;
    auto fault = std::make_shared<RuleFault>();
    for (int s = begin_; s < end_ && !fault->complaint; ++s) {
      fault->complaint = (*stages_)[s].guard->complaint();
      fault->block = setup_->network->block((*stages_)[s].begin).name();
    }
    fault->owner = communicator.min(fault->complaint ? communicator.rank() : communicator.size());
    outcome.fault = fault;
  }
  for (int s = begin_; s < end_ && !outcome.updated; ++s) (*stages_)[s].guard->abandon_step();
  seconds_ += whole.seconds();
  return outcome;
}

}  // namespace rankine
