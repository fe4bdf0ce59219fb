#include "src/rules/lbfgs.hpp"

#include <algorithm>
#include <numeric>

#include "solvers/minimise.hpp"

namespace rankine {

void LbfgsOptions::options(OptionVisitor& o) {
  o("iterations", iterations,
    {.help = "iterations a step at most, each of one or more evaluations", .min = 1});
  o("history", history, {.help = "pairs of steps and gradient changes that are kept", .min = 1, .max = 1000});
  o("tolerance", tolerance,
    {.help = "a step ends early where the gradient's norm has fallen by this factor (0: never)",
     .min = 0,
     .max = 1});
}

StepOutcome Lbfgs::step(RuleContext& context) {
  ParameterSet& parameters = context.parameters;
  const Tensor flat = parameters.flat();
  const Tensor before = flat.clone();
  const auto set = [&](std::span<const double> x) {
    flat.assign(cast(Tensor::from_bytes(std::as_bytes(x), Shape{flat.count()}, DType::f64), flat.dtype()));
  };
  const bool follow = context.pass != nullptr && context.pass->update_statistics;
  if (context.pass != nullptr) context.pass->update_statistics = false;
  const Objective loss = [&](std::span<const double> x, std::span<double> gradient) {
    set(x);
    const BoundParameters bound = parameters.bind(context.tiles);
    const TapeLoss found = context.loss(bound);
    const std::vector<double> g = grad(found.outputs, found.seeds, {bound.flat()}).front().to_vector();
    std::copy(g.begin(), g.end(), gradient.begin());
    for (const ParameterInfo& part : parameters.parts())
      if (part.frozen) std::fill_n(gradient.begin() + part.offset, part.shape.count(), 0.0);
    return found.value.read();
  };
  std::vector<double> x = before.to_vector();
  const MinimiseReport report = minimise_lbfgs(
      loss, x,
      {.max_iterations = options_.iterations, .history = options_.history, .rtol = options_.tolerance});
  evaluations_.push_back(report.evaluations);
  StepOutcome outcome;
  outcome.loss = report.first_objective;
  outcome.gradient_norm = report.first_gradient_norm;
  outcome.updated = report.status != SolveStatus::not_finite;
  if (!outcome.updated) {
    flat.assign(before);
    return outcome;
  }
  set(x);
  if (follow) {
    context.pass->update_statistics = true;
    const NoGrad off;
    context.loss(parameters.bind(context.tiles));
  }
  return outcome;
}

std::vector<MetricInfo> Lbfgs::metrics() const {
  return {{"evaluations_per_step", "1", "of the loss and its gradient, mean over the steps"}};
}

std::vector<double> Lbfgs::measured() const {
  return {std::accumulate(evaluations_.begin(), evaluations_.end(), 0.0) /
          static_cast<double>(std::max<std::size_t>(evaluations_.size(), 1))};
}

void Lbfgs::register_state(StateRegistry& registry, const std::string& prefix) {
  registry.add(prefix + "/evaluations", StateKind::replicated, evaluations_);
}

}  // namespace rankine
