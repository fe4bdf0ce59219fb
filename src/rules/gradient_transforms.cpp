#include "src/rules/gradient_transforms.hpp"

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "src/deck/lists.hpp"
#include "src/tensor/ops.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {
namespace {

/// Sharpness-aware minimisation (Foret et al., ICLR 2021, arXiv 2010.01412, eq. 2 and 3): the gradient at
/// w + rho g / |g| instead of g, that at w.
class SharpnessAware final : public GradientTransform {
 public:
  void options(OptionVisitor& o) {
    o("rho", rho_,
      {.help = "length of the way up, along the gradient, to where the gradient is taken; 0: none",
       .min = 0});
  }
  bool off() const override { return rho_ == 0; }
  Tensor apply(const Tensor& gradient, const GradientStep& step) const override {
    const double norm = gradient_norm(step.live, gradient);
    return norm > 0 ? step.gradient_at(scale(gradient, rho_ / norm)) : gradient;
  }

 private:
  double rho_ = 0.05;
};

/// Normal noise of variance eta / (1 + step)^gamma (Neelakantan et al., 2015, arXiv 1511.06807, eq. 1).
class GradientNoise final : public GradientTransform {
 public:
  void options(OptionVisitor& o) {
    o("eta", eta_, {.help = "variance of the noise in the first step; 0: none", .min = 0});
    o("gamma", gamma_, {.help = "the variance falls with this power of the step's number", .min = 0});
  }
  bool off() const override { return eta_ == 0; }
  Tensor apply(const Tensor& gradient, const GradientStep& step) const override {
    std::vector<double> noise(static_cast<std::size_t>(gradient.count()));
    RandomStream(step.seed, "gradient/noise").fill_normal(std::span(noise), step.step, 0);
    const double deviation = std::sqrt(eta_ / std::pow(1 + static_cast<double>(step.step), gamma_));
    return add(gradient, cast(scale(Tensor::from(noise, gradient.shape()), deviation), gradient.dtype()));
  }

 private:
  double eta_ = 0.01, gamma_ = 0.55;
};

/// Of each parameter w its gradient g without the part along w, as long as g was (Prieto et al., "Grokking at
/// the edge of numerical stability", ICLR 2025, arXiv 2501.04697: the projection that they call perpGrad).
/// One number has no other direction and keeps its gradient.
///   g' = g - (w.g / w.w) w,  g' |g| / |g'|.
class Perpendicular final : public GradientTransform {
 public:
  void options(OptionVisitor& o) {
    o("share", share_,
      {.help = "of the part along the parameter that is taken out; 0: none", .min = 0, .max = 1});
  }
  bool off() const override { return share_ == 0; }
  Tensor apply(const Tensor& gradient, const GradientStep& step) const override {
    for (const ParameterInfo& part : step.parameters.parts()) {
      if (part.frozen || part.shape.count() == 1) continue;
      const Tensor into = gradient.view(part.shape, row_major_strides(part.shape), part.offset);
      const Tensor g = cast(into, DType::f64), w = cast(step.parameters.view(part), DType::f64);
      const Tensor along = div(dot(w, g), add_scalar(dot(w, w), tiny));
      const Tensor rest = sub(g, mul(scale(along, share_), w));
      const Tensor factor = sqrt(div(dot(g, g), add_scalar(dot(rest, rest), tiny)));
      into.assign(cast(mul(rest, factor), gradient.dtype()));
    }
    return gradient;
  }

 private:
  static constexpr double tiny = 1e-30;
  double share_ = 1;
};

}  // namespace

void keep_trained(const Tensor& gradient, const ParameterSet& parameters) {
  for (const ParameterInfo& part : parameters.parts()) {
    const Tensor of_part = gradient.view(part.shape, row_major_strides(part.shape), part.offset);
    if (part.frozen)
      of_part.assign(Tensor::zeros(part.shape, gradient.dtype()));
    else if (part.mask.defined())
      of_part.assign(mul(of_part, part.mask));
  }
}

const Registry<GradientTransform>& gradient_transforms() {
  static const Registry<GradientTransform> table(
      "gradient_transform",
      {
          entry<SharpnessAware>("sam",
                                "the gradient a little way up the slope (sharpness-aware minimisation)"),
          entry<GradientNoise>("noise", "normal noise that falls with the steps"),
          entry<Perpendicular>("perpendicular", "without what only makes a parameter longer or shorter"),
      });
  return table;
}

GradientTransforms::GradientTransforms(const DeckNode& train) {
  for (const DeckNode& node : list_in(train, "gradient", "[{name: sam, rho: 0.05}]")) {
    std::unique_ptr<GradientTransform> made = gradient_transforms().make(node);
    if (!made->off()) list_.push_back(std::move(made));
  }
}

StepOutcome GradientTransforms::step(LearningRule& rule, RuleContext& context) const {
  // The rule's step up to the gradient.
  const auto evaluate = [&] {
    RuleContext look = context;
    look.clip = 0;
    look.update = [](const Tensor&) {};
    return rule.step(look);
  };
  const StepOutcome first = evaluate();
  if (!first.updated) return first;

  StepOutcome failed;
  std::map<std::string, Cost> costs;  // of evaluations
  StateRegistry rule_state;           // which must not see the step twice
  rule.register_state(rule_state, "rule");
  const auto gradient_at = [&](const Tensor& displacement) {
    const Tensor flat = context.parameters.flat();
    // Everything is put back, also where the evaluation throws.
    struct Back {
      const StateRegistry& rule;
      const Tensor flat, before = flat.clone();
      const StateSnapshot rule_before = rule.save();
      Pass* pass;
      const bool statistics = pass != nullptr && pass->update_statistics;
      std::vector<ActivationHook> hooks = pass == nullptr ? std::vector<ActivationHook>() : pass->hooks;
      ~Back() {
        flat.assign(before);
        rule.restore(rule_before);
        if (pass == nullptr) return;
        pass->update_statistics = statistics;
        pass->hooks = std::move(hooks);
      }
    } const back{.rule = rule_state, .flat = flat, .pass = context.pass};
    if (context.pass != nullptr) {
      context.pass->update_statistics = false;
      context.pass->hooks.clear();
    }
    flat.assign(add(flat, displacement));
    const CostAccount account;
    StepOutcome there = evaluate();
    for (const auto& [op, cost] : account.by_op()) costs[op] += cost;
    if (there.updated) {
      keep_trained(there.gradient, context.parameters);
      return there.gradient;
    }
    failed = std::move(there);
    return Tensor();
  };
  Tensor gradient = first.gradient;
  {
    // What every rank does for all parameters is no part of the network's cost, as an optimiser's step is
    // none.
    const CostAccount no_cost;
    const Uncounted no_memory;
    keep_trained(gradient, context.parameters);
    for (const auto& transform : list_) {
      gradient = transform->apply(gradient, {context.parameters, context.optimizer.live(context.parameters),
                                             context.seed, context.step, gradient_at});
      if (!gradient.defined()) break;
      keep_trained(gradient, context.parameters);
    }
  }
  for (const auto& [op, cost] : costs) count_cost(op.c_str(), cost);
  if (!gradient.defined()) return failed;
  StepReport report;
  return apply_gradient(context, report, first.loss, gradient);
}

}  // namespace rankine
