#include "src/optim/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/core/pattern.hpp"
#include "src/core/strings.hpp"
#include "src/tensor/ops.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {
namespace {

void check(const ParameterSet& parameters, const Tensor& gradient) {
  RANKINE_ASSERT(
      gradient.shape() == Shape{parameters.count()} && gradient.dtype() == parameters.dtype() &&
          gradient.contiguous(),
      "gradient " + gradient.shape().text() + " for " + std::to_string(parameters.count()) + " parameters");
}

void group_options(OptionVisitor& o, std::vector<std::string>& no_decay,
                   std::vector<ParameterGroup>& groups) {
  o("no_decay", no_decay, {.help = "parameter groups without weight decay, such as bias and norm"});
  o.list("groups", groups, "parameters with a rate and decay of their own; the first that fits a name holds");
}

/// One number that `launch` leaves in device memory.
template <class F>
double read_number(std::int64_t workspace, F&& launch) {
  const Uncounted scope;
  const Tensor memory = Tensor::empty({1 + workspace}, DType::f64);
  const DevicePtr<double> out = memory.data<double>();
  launch(out, out + 1);
  double value = 0;
  copy_to_host(&value, out, 1);
  return value;
}

}  // namespace

double largest_size(const Tensor& x) {
  double largest = 0;
  dispatch_real(x.dtype(), "largest_size", [&](auto zero) {
    using T = decltype(zero);
    largest = read_number(kernels::extreme_workspace(x.count()),
                          [&](DevicePtr<double> out, DevicePtr<double> work) {
                            kernels::largest_size<T>(x.count(), x.data<T>(), work, out);
                          });
  });
  return largest;
}

double gradient_norm(const FlatParts& parts, const Tensor& gradient) {
  return std::sqrt(
      read_number(0, [&](DevicePtr<double> out, DevicePtr<double>) { parts.sum_of_squares(gradient, out); }));
}

void clip_gradient(const Tensor& gradient, double norm, double bound) {
  if (!(bound > 0 && norm > bound)) return;
  dispatch_real(gradient.dtype(), "clip_gradient", [&](auto zero) {
    using T = decltype(zero);
    kernels::scale_in_place<T>(gradient.count(), static_cast<T>(bound / norm), gradient.data<T>());
  });
}

namespace {

// Of a step that reads the gradient, and reads and writes the parameters and `states` numbers for each.
Cost cost_of(const ParameterSet& parameters, double flops, double states) {
  const auto n = static_cast<double>(parameters.count());
  return {flops * n,
          n * (3 * static_cast<double>(size_of(parameters.dtype())) + 2 * sizeof(double) * states)};
}

}  // namespace

void ParameterGroup::options(OptionVisitor& o) {
  o("on", on, {.help = "names of parameters; each * stands for any characters", .required = true});
  o("rate", rate, {.help = "factor on the learning rate", .min = 0});
  o("weight_decay", weight_decay, {.help = "instead of the optimiser's (null)", .min = 0});
}

Optimizer::Optimizer(double weight_decay, std::vector<std::string> no_decay,
                     std::vector<ParameterGroup> groups)
    : weight_decay_(weight_decay),
      largest_decay_(weight_decay),
      no_decay_(std::move(no_decay)),
      groups_(std::move(groups)) {
  for (const ParameterGroup& group : groups_) {
    largest_rate_ = std::max(largest_rate_, group.rate);
    largest_decay_ = std::max(largest_decay_, group.weight_decay.value_or(0));
  }
}

void Optimizer::check_groups(const ParameterSet& parameters) const {
  std::vector<std::string> names;
  for (const ParameterInfo& part : parameters.parts())
    if (!part.frozen) names.push_back(part.name);
  for (const ParameterGroup& group : groups_)
    if (std::none_of(names.begin(), names.end(), [&](const auto& name) { return matches(group.on, name); }))
      throw InputError("groups: '" + group.on + "' fits no parameter; there are " + join(names));
}

FlatParts::Part Optimizer::part_of(const ParameterInfo& part) const {
  FlatParts::Part out{part.offset, part.offset + part.shape.count(), 1, weight_decay_};
  if (std::find(no_decay_.begin(), no_decay_.end(), part.group) != no_decay_.end()) out.decay = 0;
  const auto own = std::find_if(groups_.begin(), groups_.end(),
                                [&](const ParameterGroup& group) { return matches(group.on, part.name); });
  if (own == groups_.end()) return out;
  out.rate = own->rate;
  out.decay = own->weight_decay.value_or(out.decay);
  return out;
}

const FlatParts& Optimizer::live(const ParameterSet& parameters) {
  std::vector<FlatParts::Part> parts;
  for (const ParameterInfo& part : parameters.parts())
    if (!part.frozen) parts.push_back(part_of(part));
  if (!live_ || parts != live_->parts()) live_.emplace(std::move(parts));
  return *live_;
}

void AdamOptions::options(OptionVisitor& o) {
  o("beta1", beta1, {.help = "decay of the mean of gradients", .min = 0, .max = 1, .exclusive_max = true});
  o("beta2", beta2,
    {.help = "decay of the mean of squared gradients", .min = 0, .max = 1, .exclusive_max = true});
  o("epsilon", epsilon, {.help = "added to the root of the squares' mean", .min = 0, .exclusive_min = true});
  o("weight_decay", weight_decay,
    {.help = "decoupled decay: each step takes rate * decay * parameter away", .min = 0});
  group_options(o, no_decay, groups);
}

void Adam::prepare(const ParameterSet& parameters) {
  if (first_.defined()) return;
  const Uncounted scope;
  first_ = Tensor::zeros({parameters.count()}, DType::f64);
  second_ = Tensor::zeros({parameters.count()}, DType::f64);
}

double Adam::largest_change(double gradient_norm, double learning_rate, double largest) const {
  // The first moment is a mean of gradients, and the root in the denominator is not negative.
  const double correction = 1 - std::pow(options_.beta1, static_cast<double>(steps_ + 1));
  return learning_rate * largest_rate() *
         (std::max(moment_bound_, gradient_norm) / (correction * options_.epsilon) +
          largest_decay() * largest);
}

void Adam::reset() {
  steps_ = 0;
  if (!first_.defined()) return;
  first_.assign(Tensor::zeros(first_.shape(), DType::f64));
  second_.assign(Tensor::zeros(second_.shape(), DType::f64));
}

void Adam::forget(const Tensor& keep) {
  if (!first_.defined()) return;
  const Tensor factor = cast(keep, DType::f64);
  first_.assign(mul(first_, factor));
  second_.assign(mul(second_, factor));
}

void Adam::state_changed() {
  if (!first_.defined()) return;
  moment_bound_ = largest_size(first_);
  const std::int64_t n = second_.count();
  const double unusable =
      read_number(kernels::extreme_workspace(n), [&](DevicePtr<double> out, DevicePtr<double> work) {
        kernels::count_no_square(n, second_.data<double>(), work, out);
      });
  if (unusable > 0) moment_bound_ = std::numeric_limits<double>::infinity();
}

void Adam::step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) {
  check(parameters, gradient);
  prepare(parameters);
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const kernels::AdamStep step{.beta1 = options_.beta1,
                               .beta2 = options_.beta2,
                               .epsilon = options_.epsilon,
                               .rate = learning_rate / correction1,
                               .correction2 = correction2,
                               .pull = learning_rate};
  dispatch_real(parameters.dtype(), "Adam", [&](auto zero) {
    using T = decltype(zero);
    kernels::adam<T>(step, live(parameters).pieces(), gradient.data<T>(), first_.data<double>(),
                     second_.data<double>(), parameters.flat().data<T>());
  });
  parameters.project();
}

Cost Adam::cost(const ParameterSet& parameters) const { return cost_of(parameters, 14, 2); }

void Adam::register_state(StateRegistry& registry, const std::string& prefix,
                          const ParameterSet& parameters) {
  prepare(parameters);
  registry.add(prefix + "/steps", StateKind::replicated, steps_);
  registry.add(prefix + "/first_moment", StateKind::replicated, first_);
  registry.add(prefix + "/second_moment", StateKind::replicated, second_);
}

void SgdOptions::options(OptionVisitor& o) {
  o("momentum", momentum,
    {.help = "decay of the velocity; 0: plain descent", .min = 0, .max = 1, .exclusive_max = true});
  o("nesterov", nesterov, {.help = "the step looks ahead along the velocity"});
  o("weight_decay", weight_decay, {.help = "added to the gradient, times the parameter", .min = 0});
  group_options(o, no_decay, groups);
}

void Sgd::prepare(const ParameterSet& parameters) {
  const Uncounted scope;
  if (!velocity_.defined()) velocity_ = Tensor::zeros({parameters.count()}, DType::f64);
}

double Sgd::largest_change(double gradient_norm, double learning_rate, double largest) const {
  const double pull = (gradient_norm + largest_decay() * largest) / (1 - options_.momentum);
  return learning_rate * largest_rate() * (velocity_bound_ + pull);
}

void Sgd::reset() {
  if (velocity_.defined()) velocity_.assign(Tensor::zeros(velocity_.shape(), DType::f64));
}

void Sgd::forget(const Tensor& keep) {
  if (velocity_.defined()) velocity_.assign(mul(velocity_, cast(keep, DType::f64)));
}

void Sgd::state_changed() { velocity_bound_ = velocity_.defined() ? largest_size(velocity_) : 0; }

void Sgd::step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) {
  check(parameters, gradient);
  prepare(parameters);
  const kernels::SgdStep step{
      .momentum = options_.momentum, .rate = learning_rate, .nesterov = options_.nesterov};
  dispatch_real(parameters.dtype(), "Sgd", [&](auto zero) {
    using T = decltype(zero);
    kernels::sgd<T>(step, live(parameters).pieces(), gradient.data<T>(), velocity_.data<double>(),
                    parameters.flat().data<T>());
  });
  parameters.project();
}

Cost Sgd::cost(const ParameterSet& parameters) const { return cost_of(parameters, 5, 1); }

void Sgd::register_state(StateRegistry& registry, const std::string& prefix, const ParameterSet& parameters) {
  prepare(parameters);
  registry.add(prefix + "/velocity", StateKind::replicated, velocity_);
}

const Registry<Optimizer>& optimizers() {
  static const Registry<Optimizer> table("optimizer",
                                         {
                                             entry<Adam>("adam", "Adam, with decoupled weight decay"),
                                             entry<Sgd>("sgd", "gradient descent, with momentum"),
                                         });
  return table;
}

}  // namespace rankine
