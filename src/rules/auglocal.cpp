#include "src/rules/auglocal.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/core/clock.hpp"

namespace rankine {

int auxiliary_depth(int l, int hidden, int depth, double taper) {
  const double part = taper * l / std::max(hidden - depth - 2, 1);
  return std::max(1, static_cast<int>(std::lround(depth * (1 - part) + part)));
}

std::vector<int> auxiliary_blocks(int l, int hidden, int d) {
  const int after = hidden - 1 - l;
  std::vector<int> blocks;
  for (int j = 1; j <= std::min(d, after); ++j)
    blocks.push_back(d >= after ? l + j
                                : static_cast<int>(std::floor(l + static_cast<double>(after) * j / d + 0.5)));
  return blocks;
}

void AugLocalOptions::options(OptionVisitor& o) {
  o("depth", depth, {.help = "hidden blocks that an auxiliary network mirrors at most", .min = 1});
  o("taper", taper,
    {.help = "how much shallower the last module's auxiliary network is (0: all have the full depth)",
     .min = 0,
     .max = 1});
  o("mirror", mirror,
    {.help = "false: greedy local learning, auxiliary networks are pooling and a linear layer"});
  o("classifier", classifier, {.help = "blocks at the end that are no hidden blocks", .min = 1});
  o("window", window,
    {.help = "steps that ranks may be apart; no part of the result", .unit = "steps", .min = 1, .max = 1000});
}

std::vector<int> AugLocal::modules(const Network& network) const {
  std::vector<int> first;
  for (int b = 0; b < std::max(1, hidden(network) - options_.depth); ++b) first.push_back(b);
  return first;
}

void AugLocal::check(const RuleSetup& setup) const {
  if (setup.network == nullptr) throw InputError("auglocal: what is trained is no list of blocks");
  const Network& network = *setup.network;
  const int n = hidden(network), count = n - options_.depth;
  if (count < 2)
    throw InputError(
        fmt::format("auglocal: {} blocks, of which {} are the classifier, leave {} hidden ones; depth {} "
                    "needs at least {}",
                    network.size(), options_.classifier, n, options_.depth, options_.depth + 2));
  check_stages(setup, modules(network));
  for (int l = 0; l + 1 < count; ++l) {
    const Shape out = network.block(l).output();
    if (out.rank() != 3 && out.rank() != 1)
      throw InputError(
          fmt::format("auglocal: the edge after {} carries {}; an auxiliary network needs an image "
                      "[C, H, W] or a vector [F]",
                      network.block(l).name(), out.text()));
    auxiliary_network(network, l, network.output().count());
  }
}

std::unique_ptr<Network> AugLocal::auxiliary_network(const Network& network, int block,
                                                     std::int64_t classes) const {
  const Shape input = network.block(block).output();
  const bool image = input.rank() == 3;
  std::vector<std::string> texts;
  const int d = options_.mirror ? auxiliary_depth(block, hidden(network), options_.depth, options_.taper) : 0;
  double channels = static_cast<double>(input[0]), debt = 0;
  for (const int j : auxiliary_blocks(block, hidden(network), d)) {
    const std::int64_t width = network.block(j).output()[0];
    if (!image) {
      texts.push_back(fmt::format("{{name: dense, units: {}}}", width));
      texts.push_back("{name: relu}");
      continue;
    }
    debt += std::max(0.0, std::round(std::log2(static_cast<double>(width) / channels)));
    channels = static_cast<double>(width);
    texts.push_back(fmt::format("{{name: residual, channels: {}, stride: {}}}", width, debt > 0 ? 2 : 1));
    debt = std::max(0.0, debt - 1);
  }
  if (image) texts.push_back("{name: global_average_pool}");
  if (options_.mirror && image && d <= 1) texts.push_back("{name: batch_norm}");
  texts.push_back(fmt::format("{{name: dense, units: {}}}", classes));
  std::vector<DeckNode> nodes;
  const std::string name = "auxiliary_" + network.block(block).name();
  for (const std::string& text : texts) nodes.push_back(parse_deck_text(text, name));
  return std::make_unique<Network>(nodes, input, network.dtype(), name + ".block");
}

void AugLocal::begin(const RuleSetup& setup, const ParameterSet& parameters) {
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
    auxiliary_.push_back(auxiliary_network(network, first[m], network.output().count()));
    const Network& auxiliary = *auxiliary_.back();
    sets.push_back(auxiliary.initial_parameters(setup.seed));
    costs.back() += seconds_of(setup, auxiliary, sets.back(), network.dtype(), 0, auxiliary.size());
    auxiliary_cost_ += forward_cost(auxiliary, sets.back(), network.dtype(), 0, auxiliary.size());
  }
  deal(setup, parameters, first, costs, std::move(sets));
}

AugLocal::Passed AugLocal::pass_module(int module, RuleContext& context, const Tensor& x,
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
    outputs = auxiliary_[static_cast<std::size_t>(module)]->forward(auxiliary, h, pass);
  }
  const TapeLoss loss = mean_loss(*setup_, outputs, *context.batch);
  outputs = Tensor();
  return {h.detach(), loss.value.read(), grad(loss.outputs, loss.seeds, flats)};
}

std::shared_ptr<RuleFault> AugLocal::look_into(int module, RuleContext& context, const Tensor& x) const {
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

Tensor AugLocal::train_module(int module, RuleContext& context, const Tensor& x, Outcome& outcome) {
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

StepOutcome AugLocal::step(RuleContext& context) {
  const StepMaker make = [&](std::int64_t) {
    return std::shared_ptr<RuleContext>(&context, [](RuleContext*) {});
  };
  return steps(context.step, 1, make).front();
}

std::vector<StepOutcome> AugLocal::steps(std::int64_t first, std::int64_t count, const StepMaker& make) {
  const Communicator& communicator = setup_->communicator;
  const int modules = stages_->size();
  constexpr std::size_t queue = 4;  // activations on their way to the next rank
  std::vector<std::vector<Outcome>> outcomes(static_cast<std::size_t>(modules),
                                             std::vector<Outcome>(static_cast<std::size_t>(count)));
  const Stopwatch whole;
  for (std::int64_t i = 0; i < count && begin_ < end_; ++i) {
    const std::shared_ptr<RuleContext> context = make(first + i);
    const auto tag = static_cast<int>((first + i) % 30000);
    Tensor x = context->batch->inputs;
    if (previous_ >= 0)
      x = receive({x.extent(0), x.extent(1)}, setup_->network->block((*stages_)[begin_].begin).input(),
                  previous_, tag);
    for (int m = begin_; m < end_; ++m)
      x = train_module(m, *context, x, outcomes[static_cast<std::size_t>(m)][static_cast<std::size_t>(i)]);
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

std::vector<MetricInfo> AugLocal::metrics() const {
  std::vector<MetricInfo> all = StagedRule::metrics();
  all.insert(all.begin(),
             {"auxiliary_multiply_adds", "1", "of one example through all auxiliary networks, forward"});
  return all;
}

std::vector<double> AugLocal::measured() const {
  std::vector<double> all = StagedRule::measured();
  all.insert(all.begin(), auxiliary_cost_);
  return all;
}

}  // namespace rankine
