#include "src/rules/pipeline.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/pointwise.hpp"
#include "src/core/clock.hpp"

namespace rankine {
namespace {

std::span<std::byte> bytes_of(const Tensor& x) {
  return {static_cast<std::byte*>(x.raw()), static_cast<std::size_t>(x.count()) * size_of(x.dtype())};
}

}  // namespace

void Pipeline::check(const RuleSetup& setup) const {
  if (setup.network == nullptr)
    throw InputError("pipeline: trains networks that are lists of blocks (experiment: training)");
  if (setup.communicator.size() > setup.network->size())
    throw InputError(fmt::format("pipeline: {} ranks for {} blocks; use at most {} ranks",
                                 setup.communicator.size(), setup.network->size(), setup.network->size()));
}

void Pipeline::begin(const RuleSetup& setup, const ParameterSet& parameters) {
  setup_ = std::make_unique<RuleSetup>(setup);
  std::vector<int> first;
  std::vector<double> costs;
  for (int b = 0; b < setup.network->size(); ++b) {
    first.push_back(b);
    costs.push_back(forward_cost(*setup.network, b, b + 1));
  }
  stages_ = std::make_unique<Stages>(*setup_, parameters, first, costs);
  const int rank = setup.communicator.rank();
  begin_ = end_ = 0;
  for (int s = 0; s < stages_->size(); ++s) {
    if ((*stages_)[s].owner < rank) begin_ = s + 1;
    if ((*stages_)[s].owner <= rank) end_ = s + 1;
  }
  const bool idle = begin_ == end_;
  previous_ = idle || begin_ == 0 ? -1 : (*stages_)[begin_ - 1].owner;
  next_ = idle || end_ == stages_->size() ? -1 : (*stages_)[end_].owner;
  seconds_ = waited_ = messages_ = bytes_ = 0;
}

void Pipeline::send(const Tensor& values, int to, int tag) {
  Sent sent{values.contiguous() ? values.detach() : values.clone(),
            std::make_unique<Exchange>(setup_->communicator)};
  sent.exchange->send(std::span<const std::byte>(bytes_of(sent.values)), to, tag);
  ++messages_;
  bytes_ += static_cast<double>(bytes_of(sent.values).size());
  sent_.push_back(std::move(sent));
}

Tensor Pipeline::receive(const Shape& sample, std::int64_t batch, int from, int tag) {
  Shape shape{1, batch};
  for (const std::int64_t extent : sample) shape.push_back(extent);
  const Tensor x = Tensor::empty(shape, setup_->network->dtype());
  const Stopwatch waiting;
  Exchange exchange(setup_->communicator);
  exchange.receive(bytes_of(x), from, tag);
  exchange.wait();
  waited_ += waiting.seconds();
  return x;
}

void Pipeline::forward(std::int64_t microbatch, RuleContext& context) {
  const NetworkBatch& all = *context.batch;
  const std::int64_t batch = all.inputs.extent(1);
  const Network& network = *setup_->network;
  const SharedTileSum one = local_tile_sum(1);
  UnderWay now;
  now.input = previous_ < 0 ? slice(all.inputs, 0, microbatch, microbatch + 1)
                            : variable(receive(network.block((*stages_)[begin_].begin).input(), batch,
                                               previous_, static_cast<int>(microbatch)));
  Pass pass = *context.pass;
  pass.shards = one;
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
    seed =
        receive(setup_->network->block((*stages_)[end_ - 1].end - 1).output(), output.extent(1), next_, tag);
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

StepOutcome Pipeline::step(RuleContext& context) {
  const Stopwatch whole;
  const Communicator& communicator = setup_->communicator;
  const std::int64_t microbatches = setup_->shard_count;
  losses_.assign(static_cast<std::size_t>(microbatches), 0);
  gradients_.clear();
  for (int s = begin_; s < end_; ++s) {
    const Uncounted scope;
    gradients_.push_back(
        Tensor::zeros({microbatches, (*stages_)[s].parameters.count()}, setup_->network->dtype()));
  }
  if (begin_ < end_) {
    // Ranks after this one that have to be filled before its first backward pass.
    int after = 0;
    for (int s = end_, owner = communicator.rank(); s < stages_->size(); ++s)
      if ((*stages_)[s].owner != owner) {
        owner = (*stages_)[s].owner;
        ++after;
      }
    const std::int64_t ahead = std::min<std::int64_t>(after, microbatches);
    for (std::int64_t m = 0; m < ahead; ++m) forward(m, context);
    for (std::int64_t m = ahead; m < microbatches; ++m) {
      forward(m, context);
      backward(m - ahead);
    }
    for (std::int64_t m = microbatches - ahead; m < microbatches; ++m) backward(m);
  }
  const Stopwatch draining;
  for (Sent& sent : sent_) sent.exchange->wait();
  sent_.clear();

  // The last stage's owner knows the losses, and each owner the sums of squares of its parts.
  const SharedTileSum tree = local_tile_sum(microbatches);
  communicator.broadcast(std::span<double>(losses_), (*stages_)[stages_->size() - 1].owner);
  double loss = 0;
  tree->sum(std::span<const double>(losses_), std::span<double>(&loss, 1));
  loss /= static_cast<double>(microbatches);
  waited_ += draining.seconds();

  std::vector<Tensor> totals;
  for (const Tensor& gradient : gradients_) {
    const Uncounted scope;
    totals.push_back(sum_over_tiles(gradient, tree));
  }
  std::vector<double> squares;
  for (int s = 0; s < stages_->size(); ++s) {
    std::vector<double> of_stage;
    for (const ParameterInfo& part : (*stages_)[s].parameters.parts()) {
      if (part.frozen) continue;
      of_stage.push_back(0);
      if (s >= begin_ && s < end_)
        of_stage.back() = sum_of_squares(totals[static_cast<std::size_t>(s - begin_)], part.offset,
                                         part.offset + part.shape.count());
    }
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
  for (int s = begin_; s < end_; ++s) {
    Stages::Stage& stage = (*stages_)[s];
    if (stage.parameters.count() == 0) continue;
    const Uncounted scope;
    Tensor total = totals[static_cast<std::size_t>(s - begin_)];
    if (factor != 1) total = scale(total, factor);
    const std::int64_t offset = context.parameters.part(stage.parameters.parts()[0].name).offset;
    outcome.gradient.view({total.count()}, {1}, offset).assign(total);
    if (outcome.updated) stage.optimizer->step(stage.parameters, total, context.learning_rate);
  }
  seconds_ += whole.seconds();
  return outcome;
}

std::vector<MetricInfo> Pipeline::metrics() const {
  return {
      {"idle_share", "1", "share of the steps' time that the rank that waits most waits for others", true},
      {"messages_per_rank", "1", "most activations and gradients that a rank sent", true},
      {"bytes_per_rank", "B", "most bytes of activations and gradients that a rank sent", true}};
}

std::vector<double> Pipeline::measured() const {
  const Communicator& communicator = setup_->communicator;
  return {communicator.max(seconds_ > 0 ? waited_ / seconds_ : 0), communicator.max(messages_),
          communicator.max(bytes_)};
}

}  // namespace rankine
