#include "src/rules/local_modules.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/core/clock.hpp"

namespace rankine {

void LocalModulesOptions::options(OptionVisitor& o) {
  o("classifier", classifier, {.help = "blocks at the end that are no hidden blocks", .min = 1});
  o("window", window,
    {.help = "steps that ranks may be apart; no part of the result", .unit = "steps", .min = 1, .max = 1000});
}

std::vector<int> LocalModules::modules(const Network& network) const {
  std::vector<int> first;
  for (int b = 0; b < std::max(1, hidden(network) - last_blocks() + 1); ++b) first.push_back(b);
  return first;
}

std::unique_ptr<Network> LocalModules::network_of(const std::string& name,
                                                  const std::vector<std::string>& blocks, const Shape& input,
                                                  DType type) {
  std::vector<DeckNode> nodes;
  for (const std::string& block : blocks) nodes.push_back(parse_deck_text(block, name));
  return std::make_unique<Network>(nodes, input, type, name + ".block");
}

void LocalModules::check(const RuleSetup& setup) const {
  if (setup.network == nullptr)
    throw InputError(name_ + ": what is trained is no list of blocks; use backprop");
  const Network& network = *setup.network;
  const int n = hidden(network);
  if (n < last_blocks() + 1)
    throw InputError(fmt::format(
        "{}: {} blocks, of which {} are the classifier, leave {} hidden ones; with {} of them in the last "
        "module it needs at least {}",
        name_, network.size(), local_.classifier, n, last_blocks(), last_blocks() + 1));
  const std::vector<int> first = modules(network);
  check_stages(setup, first);
  for (std::size_t m = 1; m < first.size(); ++m) {
    const int end = first[m];
    const Shape out = copies() > 0 ? network.block(end).output() : network.block(end - 1).output();
    if (out.rank() != 3 && out.rank() != 1)
      throw InputError(
          fmt::format("{}: the edge after {} carries {}; an auxiliary network needs an image "
                      "[C, H, W] or a vector [F]",
                      name_, network.block(copies() > 0 ? end : end - 1).name(), out.text()));
    const std::unique_ptr<Network> auxiliary = auxiliary_network(network, end, network.output().count());
    for (int b = 0; b < auxiliary->size(); ++b)
      auxiliary->block(b).check_batch(setup.batch, setup.shard_count);
  }
}

void LocalModules::begin(const RuleSetup& setup, const ParameterSet& parameters) {
  const Network& network = *setup.network;
  const std::vector<int> first = modules(network);
  std::vector<ParameterSet> sets;
  std::vector<double> costs;
  auxiliary_.clear();
  auxiliary_cost_ = 0;
  for (std::size_t m = 0; m < first.size(); ++m) {
    const bool last = m + 1 == first.size();
    const int end = last ? network.size() : first[m + 1];
    costs.push_back(seconds_of(setup, network, parameters, setup.inputs, first[m], end));
    if (last) break;
    auxiliary_.push_back(auxiliary_network(network, end, network.output().count()));
    const Network& auxiliary = *auxiliary_.back();
    sets.push_back(auxiliary.initial_parameters(setup.seed));
    costs.back() += seconds_of(setup, auxiliary, sets.back(), network.dtype(), 0, auxiliary.size());
    auxiliary_cost_ += forward_cost(auxiliary, sets.back(), network.dtype(), 0, auxiliary.size());
    if (copies() == 0) continue;
    add_copies(network, parameters, end, sets.back());
    costs.back() += copies() * seconds_of(setup, network, parameters, network.dtype(), end, end + 1);
    auxiliary_cost_ += copies() * forward_cost(network, parameters, network.dtype(), end, end + 1);
  }
  deal(setup, parameters, first, costs, std::move(sets));
}

ParameterSet LocalModules::first_block(int module) const {
  const Stages::Stage& stage = (*stages_)[module];
  return block_parameters(*setup_->network, stage.parameters, stage.begin, stage.begin + 1);
}

LocalModules::Passed LocalModules::pass_module(int module, RuleContext& context, const Tensor& x,
                                               bool repeated) const {
  const Stages::Stage& stage = (*stages_)[module];
  const bool last = module + 1 == stages_->size();
  const BoundParameters bound = stage.parameters.bind(context.tiles);
  Pass pass = *context.pass;
  if (repeated) {
    pass.update_statistics = false;
    pass.hooks.clear();
  }
  const Tensor h = setup_->network->forward(bound, x, pass, stage.begin, stage.end);
  std::vector<Tensor> flats{bound.flat()};
  Tensor outputs = h;
  if (!last) {
    const BoundParameters auxiliary = stage.auxiliary.bind(context.tiles);
    flats.push_back(auxiliary.flat());
    pass.hooks.clear();
    if (copies() > 0)
      outputs = through_copies(*setup_->network, stage.end, stage.auxiliary, auxiliary, h, pass);
    outputs = auxiliary_[static_cast<std::size_t>(module)]->forward(auxiliary, outputs, pass);
  }
  const TapeLoss loss = mean_loss(*setup_, outputs, *context.batch);
  outputs = Tensor();
  return {h.detach(), loss.value.read(), grad(loss.outputs, loss.seeds, flats)};
}

std::shared_ptr<RuleFault> LocalModules::look_into(int module, RuleContext& context, const Tensor& x) const {
  const Stages::Stage& stage = (*stages_)[module];
  auto fault = std::make_shared<RuleFault>();
  fault->owner = stage.owner;
  fault->block = setup_->network->block(stage.begin).name();
  fault->shards = x.extent(0);
  FaultProbe probe;
  if (module == 0) probe.check("the inputs of the batch", x);
  const std::int64_t before = probe.checks();
  pass_module(module, context, x, true);
  fault->finding = probe.found();
  fault->in_step = !probe.found() || probe.found()->number >= before;
  return fault;
}

Tensor LocalModules::train_module(int module, RuleContext& context, const Tensor& x, Outcome& outcome) {
  Stages::Stage& stage = (*stages_)[module];
  const bool last = module + 1 == stages_->size();
  stage.guard->begin_step();
  stage.auxiliary_guard->begin_step();
  const Passed passed = pass_module(module, context, x, false);
  const std::vector<Tensor>& gradients = passed.gradients;
  outcome.loss = passed.loss;
  const auto clipped = [&](Optimizer& optimizer, const ParameterSet& parameters, const Tensor& gradient) {
    const double norm = gradient_norm(optimizer.live(parameters), gradient);
    clip_gradient(gradient, norm, context.clip);
    return norm;
  };
  const double norm = clipped(*stage.optimizer, stage.parameters, gradients[0]);
  const double auxiliary_norm = last ? 0 : clipped(*stage.auxiliary_optimizer, stage.auxiliary, gradients[1]);
  outcome.squares = norm * norm;
  outcome.finite = std::isfinite(norm) && std::isfinite(auxiliary_norm) && std::isfinite(outcome.loss);
  std::shared_ptr<RuleFault> fault;
  if (!outcome.finite) {
    fault = look_into(module, context, x);
  } else {
    std::vector<Update> updates{{stage.guard.get(), gradients[0], clipped_norm(norm, context.clip)}};
    if (!last)
      updates.push_back(
          {stage.auxiliary_guard.get(), gradients[1], clipped_norm(auxiliary_norm, context.clip)});
    outcome.finite = update_together(Communicator::self(), updates, context.learning_rate);
    if (!outcome.finite) {
      const bool own = stage.guard->complaint().has_value();
      fault = std::make_shared<RuleFault>();
      fault->owner = stage.owner;
      fault->block = own ? setup_->network->block(stage.begin).name()
                         : auxiliary_[static_cast<std::size_t>(module)]->block(0).name();
      fault->complaint = (own ? stage.guard : stage.auxiliary_guard)->complaint();
    }
  }
  if (!outcome.finite) {
    stage.guard->abandon_step();
    stage.auxiliary_guard->abandon_step();
    faults_[{context.step, module}] = fault;
  }
  return passed.output;
}

StepOutcome LocalModules::step(RuleContext& context) {
  const StepMaker make = [&](std::int64_t) {
    return std::shared_ptr<RuleContext>(&context, [](RuleContext*) {});
  };
  return steps(context.step, 1, make).front();
}

std::vector<StepOutcome> LocalModules::steps(std::int64_t first, std::int64_t count, const StepMaker& make) {
  const Communicator& communicator = setup_->communicator;
  const int modules = stages_->size();
  constexpr std::size_t queue = 4;  // activations on their way to the next rank
  std::vector<std::vector<Outcome>> outcomes(static_cast<std::size_t>(modules),
                                             std::vector<Outcome>(static_cast<std::size_t>(count)));
  const Stopwatch whole;
  for (std::int64_t i = 0; i < count && begin_ < end_; ++i) {
    const std::shared_ptr<RuleContext> context = make(first + i);
    const auto tag = static_cast<int>((first + i) % 30000);
    // Before the update of this step, and before this rank waits for the one that waits for it.
    if (follows() && previous_ >= 0) {
      wait_for_sent(queue - 1);
      send(first_block(begin_).flat().clone(), previous_, tag);
    }
    Tensor x = context->batch->inputs;
    if (previous_ >= 0)
      x = receive({x.extent(0), x.extent(1)}, setup_->network->block((*stages_)[begin_].begin).input(),
                  previous_, tag);
    for (int m = begin_; m < end_; ++m) {
      Outcome& outcome = outcomes[static_cast<std::size_t>(m)][static_cast<std::size_t>(i)];
      x = train_module(m, *context, x, outcome);
      if (!follows() || m + 1 == modules) continue;
      const ParameterSet next = first_block(m + 1);
      if (m + 1 == end_) next.flat().assign(receive({}, next.flat().shape(), next_, tag));
      if (outcome.finite) follow(next, (*stages_)[m].auxiliary);
    }
    if (next_ >= 0) {
      wait_for_sent(queue - 1);
      send(x, next_, tag);
    }
  }
  wait_for_sent();

  const Stopwatch draining;
  std::vector<StepOutcome> out(static_cast<std::size_t>(count));
  std::vector<double> squares(static_cast<std::size_t>(count));
  for (int m = 0; m < modules; ++m) {
    std::vector<Outcome>& of_module = outcomes[static_cast<std::size_t>(m)];
    communicator.broadcast(std::span<Outcome>(of_module), (*stages_)[m].owner);
    for (std::size_t i = 0; i < of_module.size(); ++i) {
      out[i].loss = of_module[i].loss;  // of the last module: the network's own
      squares[i] += of_module[i].squares;
      if (of_module[i].finite || !out[i].updated) continue;
      // The lowest module is the cause: those above it got what it made.
      out[i].updated = false;
      const auto known = faults_.find({first + static_cast<std::int64_t>(i), m});
      if (known != faults_.end()) {
        out[i].fault = known->second;
      } else {
        auto elsewhere = std::make_shared<RuleFault>();
        elsewhere->owner = (*stages_)[m].owner;
        out[i].fault = elsewhere;
      }
    }
  }
  faults_.clear();
  for (std::size_t i = 0; i < out.size(); ++i) out[i].gradient_norm = std::sqrt(squares[i]);
  waited_ += draining.seconds();
  seconds_ += whole.seconds();
  return out;
}

std::vector<MetricInfo> LocalModules::metrics() const {
  std::vector<MetricInfo> all = StagedRule::metrics();
  all.insert(all.begin(),
             {"auxiliary_multiply_adds", "1", "of one example through all auxiliary networks, forward"});
  return all;
}

std::vector<double> LocalModules::measured() const {
  std::vector<double> all = StagedRule::measured();
  all.insert(all.begin(), auxiliary_cost_);
  return all;
}

}  // namespace rankine
