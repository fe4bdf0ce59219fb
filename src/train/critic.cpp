#include "src/train/critic.hpp"

#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/nn/activations.hpp"

namespace rankine {
namespace {

/// [L, B, ...] to [L, B].
Tensor sample_mean(const Tensor& x) {
  if (x.rank() == 2) return x;
  std::vector<int> axes(static_cast<std::size_t>(x.rank() - 2));
  std::iota(axes.begin(), axes.end(), 2);
  return mean(x, axes);
}

}  // namespace

void CriticOptions::options(OptionVisitor& o) {
  o("weight", weight,
    {.help = "of what the critic says in the network's loss; 0: there is no critic",
     .min = 0,
     .required = true});
  o("objective", objective,
    {.help = "the two losses of a critic's scores; the network's is that its outputs score as targets do",
     .choices = {"logistic", "least_squares", "hinge", "wasserstein"}});
  o("conditional", conditional,
    {.help = "whether the critic sees the inputs too, joined to targets and outputs along their first axis"});
  o("steps", steps,
    {.help = "steps of the critic, each on another batch, before one of the network", .min = 1});
  o("learning_rate", learning_rate,
    {.help = "of the critic, before its schedule's factor", .min = 0, .exclusive_min = true});
  o("clip", clip, {.help = "bound of the norm of the critic's gradient (0: none)", .min = 0});
}

void Critic::describe(OptionVisitor& o) {
  struct : CriticOptions {
    NetworkOptions model;
    void options(OptionVisitor& v) {
      CriticOptions::options(v);
      v.group("model", model, "the critic's network, with `blocks` as those of `model`");
    }
  } critic;
  o.group("critic", critic,
          "a network that learns to tell outputs from targets, in turns with the one that it judges; also "
          "optimizer, schedule and the list after_step, as in `train`");
}

Critic::Critic(const DeckNode& given, const Network& judged, DType inputs, std::int64_t batch,
               std::int64_t shards) {
  options_.options(*given.reader());
  Shape seen = judged.output();
  if (seen.rank() == 0)
    given.error("critic: the network gives a single number without an axis; end it in dense, units: 1");
  if (options_.conditional) {
    Shape rest = judged.input(), rest_seen = seen;
    const bool real = is_real_floating(inputs) && rest.rank() == seen.rank();
    if (real) rest.erase(0), rest_seen.erase(0);
    if (!real || !(rest == rest_seen))
      given.error_at(
          "conditional",
          fmt::format("conditional: inputs {} in {} and outputs {} cannot be joined along their first "
                      "axis; leave it out, or let both be images of one size, or vectors",
                      judged.input().text(), name_of(inputs), seen.text()));
    seen[0] += judged.input()[0];
  }
  const DeckNode model = given.child("model");
  network_ = std::make_unique<Network>(read_network(model, seen, "critic"));
  if (network_->dtype() != judged.dtype())
    model.error_at("precision",
                   fmt::format("precision: the critic computes in {}, and the network that it judges "
                               "in {}; they must be the same",
                               name_of(network_->dtype()), name_of(judged.dtype())));
  for (int b = 0; b < network_->size(); ++b) {
    if (network_->block(b).needs_graph())
      model.error_at("blocks", network_->block(b).name() +
                                   " works on the nodes of a graph, which a critic has none "
                                   "of; use blocks for vectors or images");
    try {
      network_->block(b).check_batch(batch, shards);
    } catch (const InputError& error) {
      model.error_at("blocks", error.what());
    }
  }
  if (network_->sides().penalty)
    model.error_at("blocks",
                   "a block adds an entropy to the loss, which the critic's does not take; use entropy: 0");
  const ParameterSet parameters = network_->initial_parameters(0);
  if (parameters.count() == 0)
    model.error_at("blocks", "none of the critic's blocks has parameters; add dense");
  schedule_ = schedules().make_or("constant", given.section("schedule"));
  make_optimizer_ = [optimizer = given.section("optimizer")] {
    return optimizers().make_or("adam", optimizer);
  };
  try {
    make_optimizer_()->check_groups(parameters);
  } catch (const InputError& error) {
    given.error_at("optimizer", error.what());
  }
  after_step_ = AfterStep(given, parameters);
  given.reject_unread_keys();
}

Tensor Critic::scores(const BoundParameters& parameters, const Tensor& inputs, const Tensor& outputs,
                      Pass& pass) const {
  const Tensor seen = options_.conditional ? concat({cast(inputs, outputs.dtype()), outputs}, 2) : outputs;
  return network_->forward(parameters, seen, pass);
}

Tensor Critic::own_loss(const Tensor& of_targets, const Tensor& of_outputs) const {
  const Tensor &t = of_targets, &y = of_outputs;
  if (options_.objective == "logistic") return sample_mean(add(softplus(neg(t)), softplus(y)));
  if (options_.objective == "least_squares")
    return sample_mean(scale(add(square(add_scalar(t, -1)), square(y)), 0.5));
  if (options_.objective == "hinge")
    return sample_mean(add(relu(add_scalar(neg(t), 1)), relu(add_scalar(y, 1))));
  return sample_mean(sub(y, t));
}

Tensor Critic::loss_of_network(const Tensor& of_outputs) const {
  const Tensor& y = of_outputs;
  if (options_.objective == "logistic") return sample_mean(softplus(neg(y)));
  if (options_.objective == "least_squares") return sample_mean(scale(square(add_scalar(y, -1)), 0.5));
  return sample_mean(neg(y));
}

CriticTurns::CriticTurns(const Critic& critic, const RuleSetup& setup, Sample sample)
    : critic_(critic),
      setup_(setup),
      sample_(std::move(sample)),
      parameters_(critic.network().initial_parameters(setup.seed)),
      optimizer_(critic.make_optimizer()),
      guard_(*optimizer_, parameters_) {}

void CriticTurns::register_state(StateRegistry& registry) {
  for (const ParameterInfo& part : parameters_.parts())
    registry.add("critic/weights/" + part.name, StateKind::replicated, parameters_.view(part));
  optimizer_->register_state(registry, "critic/optimizer", parameters_);
}

Tensor CriticTurns::loss_of_network(const Tensor& inputs, const Tensor& outputs, const Pass& pass) const {
  Pass look{.shards = pass.shards};
  look.training = true;
  look.update_statistics = false;
  look.seed = pass.seed;
  look.step = pass.step;
  look.samples = pass.samples;
  const BoundParameters bound = [&] {
    const NoGrad fixed;
    return parameters_.bind(pass.shards);
  }();
  FaultProbe::layer_done("critic", Tensor());  // its parameters
  const Tensor losses = critic_.loss_of_network(critic_.scores(bound, inputs, outputs, look));
  FaultProbe::layer_done("critic", losses);
  return scale(mean(losses, {1}), critic_.options().weight);
}

StepOutcome CriticTurns::turn(const RuleContext& context) {
  before_ = guard_.save();
  const int steps = critic_.options().steps;
  const std::int64_t key = context.pass->step;  // a phase may repeat the batches of earlier steps
  loss_ = 0;
  for (int i = 0; i < steps; ++i) {
    const std::int64_t number = key * steps + i;
    const auto [batch, outputs] = sample_(number, key);
    Pass pass{.shards = setup_.shards};
    pass.training = true;
    pass.seed = setup_.seed;
    pass.step = number;
    pass.samples = batch.ids;
    RuleContext own{[&, &batch = batch, &outputs = outputs](const BoundParameters& bound) {
                      FaultProbe::layer_done("critic", Tensor());  // its parameters
                      const Tensor targets = cast(batch.targets, outputs.dtype()),
                                   of_targets = critic_.scores(bound, batch.inputs, targets, pass),
                                   of_outputs = critic_.scores(bound, batch.inputs, outputs, pass);
                      const TapeLoss loss = mean_over_batch(setup_, critic_.own_loss(of_targets, of_outputs));
                      FaultProbe::layer_done("critic", Tensor());
                      return loss;
                    },
                    parameters_,
                    *optimizer_,
                    setup_.shards,
                    learning_rate(context),
                    critic_.options().clip,
                    number};
    own.guard = &guard_;
    own.seed = setup_.seed;
    if (!critic_.after_step().none()) own.after_step = &critic_.after_step();
    guard_.begin_step();
    StepOutcome outcome = take_step(rule_, own);
    loss_ += (outcome.loss - loss_) / (i + 1);
    if (outcome.updated) continue;
    take_back();
    outcome.gradient = {};  // it is none of the parameters
    return outcome;
  }
  return {};
}

void CriticTurns::take_back() { guard_.restore(before_); }

}  // namespace rankine
