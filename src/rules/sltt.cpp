#include "src/rules/sltt.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "src/core/clock.hpp"
#include "src/core/random.hpp"
#include "src/rules/accumulate.hpp"

namespace rankine {
namespace {

double cosine(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  const auto product = [](const std::vector<double>& u, const std::vector<double>& v) {
    return std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
  };
  return product(x, y) / std::sqrt(product(x, x) * product(y, y));
}

// What time steps hand on, as constants.
void cut(CarriedState& state) {
  for (auto& [name, value] : state) value = value.detach();
}

}  // namespace

void SlttOptions::options(OptionVisitor& o) {
  o("mode", mode,
    {.help = "sltt: a backward pass each time step, none through time; bptt: one through all time steps",
     .choices = {"sltt", "bptt"}});
  o("time_steps", time_steps, {.help = "time steps of a sample", .min = 1});
  o("k", k, {.help = "time steps that have a backward pass, drawn anew each step (0: all)", .min = 0});
  o("lambda", lambda,
    {.help = "share of the term that draws outputs towards 1 in a time step's loss", .min = 0, .max = 1});
  o("coding", coding,
    {.help = "direct: the same sample in all time steps; sequence: the sample's first axis is time",
     .choices = {"direct", "sequence"}});
  o("cosine_every", cosine_every,
    {.help = "steps between comparisons of the gradients with and without paths through time (0: never)",
     .unit = "steps",
     .min = 0});
}

Shape Sltt::network_input(const Shape& sample) const {
  if (options_.coding == "direct") return sample;
  if (sample.rank() < 2 || sample[0] != options_.time_steps)
    throw InputError(fmt::format("sltt: coding: sequence with time_steps: {} needs samples [{}, ...], not {}",
                                 options_.time_steps, options_.time_steps, sample.text()));
  Shape shape = sample;
  shape.erase(0);
  return shape;
}

void Sltt::check(const RuleSetup& setup) const {
  if (setup.network == nullptr) throw InputError("sltt: what is trained is no list of blocks");
  if (options_.k > options_.time_steps)
    throw InputError(fmt::format("sltt: k: {} is more than time_steps: {}", options_.k, options_.time_steps));
  if (options_.k > 0 && options_.mode == "bptt")
    throw InputError(
        "sltt: k leaves out backward passes of time steps, and mode: bptt has one for all; "
        "leave k out");
  // Blocks that count time steps or keep what came before may not take as many.
  const NoGrad off;
  Pass pass{.shards = local_tile_sum(1)};
  pass.update_statistics = false;
  Shape shape = setup.network->input();
  if (options_.coding == "sequence") shape.insert(0, options_.time_steps);
  shape.insert(0, 1);
  shape.insert(0, 1);
  Sltt(options_).predict(*setup.network, setup.network->initial_parameters(setup.seed).bind(pass.shards),
                         Tensor::zeros(shape, setup.inputs), pass);
}

void Sltt::begin(const RuleSetup& setup, const ParameterSet&) {
  setup_ = std::make_unique<RuleSetup>(setup);
  backward_seconds_.clear();
  timed_ = -1;
  cosines_.clear();
}

Tensor Sltt::frame(const Tensor& x, std::int64_t t) const {
  if (options_.coding == "direct") return x;
  Shape shape = x.shape();
  shape.erase(2);
  return reshape(slice(x, 2, t, t + 1), shape);
}

Tensor Sltt::step_loss(const Tensor& outputs, const NetworkBatch& batch) const {
  Tensor loss = mean(setup_->loss->per_sample(outputs, batch.targets, 2), {1});
  if (options_.lambda > 0) {
    std::vector<int> axes(static_cast<std::size_t>(outputs.rank() - 1));
    std::iota(axes.begin(), axes.end(), 1);
    loss = add(scale(loss, 1 - options_.lambda),
               scale(mean(square(add_scalar(outputs, -1)), axes), options_.lambda));
  }
  return scale(loss, 1 / static_cast<double>(options_.time_steps));
}

Sltt::Gradient Sltt::gradient(const ParameterSet& parameters, const SharedTileSum& tiles,
                              const NetworkBatch& batch, const Pass& pass, bool through_time,
                              const std::vector<bool>& steps) const {
  Gradient out;
  CarriedState state;
  Pass now = pass;
  now.state = &state;
  const double share = 1 / static_cast<double>(setup_->shard_count);
  const std::int64_t count = options_.time_steps;
  const auto last = std::find(steps.rbegin(), steps.rend(), true);
  const std::int64_t watched = count - 1 - (last - steps.rbegin());
  Tensor values;  // [L], the loss so far
  std::vector<Tensor> losses;
  const auto seeds = [&](const std::vector<Tensor>& of) {
    std::vector<Tensor> all;
    for (const Tensor& loss : of) all.push_back(Tensor::full(loss.shape(), loss.dtype(), share));
    return all;
  };
  const auto backward = [&](const std::vector<Tensor>& of, const Tensor& flat) {
    const Stopwatch watch;
    accumulate(out.flat, grad(of, seeds(of), {flat}).front());
    out.backward_seconds += watch.seconds();
  };
  BoundParameters bound = parameters.bind(tiles);
  for (std::int64_t t = 0; t < count; ++t) {
    now.position = t;
    now.hooks = t == watched ? pass.hooks : std::vector<ActivationHook>();
    const auto forward = [&] {
      const Tensor loss = step_loss(setup_->network->forward(bound, frame(batch.inputs, t), now), batch);
      const Tensor value = cast(loss.detach(), DType::f64);
      values = values.defined() ? add(values, value) : value;
      return loss;
    };
    if (!steps[static_cast<std::size_t>(t)]) {
      const NoGrad off;
      forward();
      continue;
    }
    if (through_time) {
      losses.push_back(forward());
      continue;
    }
    // The graph of the last backward pass is used up, that of the parameters too.
    if (out.flat.defined()) bound = parameters.bind(tiles);
    const Tensor loss = forward();
    cut(state);
    backward({loss}, bound.flat());
  }
  if (through_time) backward(losses, bound.flat());
  out.loss = LossValue(sum_over_tiles(values, tiles), share);
  return out;
}

StepOutcome Sltt::step(RuleContext& context) {
  const auto count = static_cast<std::size_t>(options_.time_steps);
  const bool through_time = options_.mode == "bptt";
  std::vector<bool> steps(count, options_.k == 0);
  if (options_.k > 0)
    for (const std::int64_t t :
         RandomStream(setup_->seed, "sltt/time-steps").choose(options_.k, options_.time_steps, context.step))
      steps[static_cast<std::size_t>(t)] = true;
  if (options_.cosine_every > 0 && context.step % options_.cosine_every == 0) {
    // A measurement, no part of what the step costs.
    const Uncounted no_memory;
    const CostAccount no_cost;
    Pass pass = *context.pass;
    pass.hooks.clear();
    pass.update_statistics = false;
    const std::vector<bool> all(count, true);
    const auto found = [&](bool through) {
      return gradient(context.parameters, context.tiles, *context.batch, pass, through, all).flat;
    };
    cosines_.push_back(cosine(found(false), found(true)));
  }
  StepReport report;
  const Gradient found =
      gradient(context.parameters, context.tiles, *context.batch, *context.pass, through_time, steps);
  // A transform of the gradient may take several in a step.
  if (context.step != timed_ || backward_seconds_.empty()) backward_seconds_.push_back(0);
  timed_ = context.step;
  backward_seconds_.back() += found.backward_seconds;
  return apply_gradient(context, report, found.loss, found.flat);
}

Tensor Sltt::predict(const Network& network, const BoundParameters& parameters, const Tensor& x, Pass& pass) {
  CarriedState state;
  Pass now = pass;
  now.state = &state;
  Tensor total;
  for (std::int64_t t = 0; t < options_.time_steps; ++t) {
    now.position = t;
    const Tensor y = network.forward(parameters, frame(x, t), now);
    total = total.defined() ? add(total, y) : y;
  }
  return scale(total, 1 / static_cast<double>(options_.time_steps));
}

void Sltt::register_state(StateRegistry& registry, const std::string& prefix) {
  registry.add(prefix + "/cosines", StateKind::replicated, cosines_);
  registry.add("timing/" + prefix + "/backward_seconds", StateKind::replicated, backward_seconds_);
}

std::vector<MetricInfo> Sltt::metrics() const {
  return {{"gradient_cosine", "1",
           "mean cosine of the angle between the gradients without and with paths through time", false,
           options_.cosine_every == 0},
          {"backward_seconds", "s", "median time of a step's backward passes", true, true}};
}

std::vector<double> Sltt::measured() const {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted = backward_seconds_;
  std::sort(sorted.begin(), sorted.end());
  const double seconds = sorted.empty() ? nan : sorted[sorted.size() / 2];
  const double total = std::accumulate(cosines_.begin(), cosines_.end(), 0.0);
  return {cosines_.empty() ? nan : total / static_cast<double>(cosines_.size()),
          setup_->communicator.max(seconds)};
}

}  // namespace rankine
