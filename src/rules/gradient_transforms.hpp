// What is done to the gradient between a learning rule and the optimiser: a deck's `train.gradient`.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "src/rules/learning_rule.hpp"

namespace rankine {

/// A step on its way through the transforms.
struct GradientStep {
  const ParameterSet& parameters;
  const FlatParts& live;  ///< the parts that are trained
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  /// The gradient of the same batch at the parameters plus `displacement` [count]; undefined where it or the
  /// loss is not finite. Collective.
  std::function<Tensor(const Tensor& displacement)> gradient_at;
};

/// Sets a gradient [count] to zero where the parameters are frozen or masked.
void keep_trained(const Tensor& gradient, const ParameterSet& parameters);

class GradientTransform {
 public:
  virtual ~GradientTransform() = default;
  /// Whether it leaves every gradient as it is.
  virtual bool off() const { return false; }
  /// `gradient` [count] is zero where parameters are frozen or masked. Returns what takes its place, or what
  /// gradient_at() failed with.
  virtual Tensor apply(const Tensor& gradient, const GradientStep& step) const = 0;
};

/// The table of gradient transforms.
const Registry<GradientTransform>& gradient_transforms();

/// The transforms of a deck, one after the other; what they make is clipped (`train.clip`) and goes to the
/// optimiser.
class GradientTransforms {
 public:
  GradientTransforms() = default;
  /// `train.gradient`, if given. Those that are off are left out.
  explicit GradientTransforms(const DeckNode& train);

  bool none() const { return list_.empty(); }
  /// A step of the rule, which ends in apply_gradient() with one gradient of all parameters, transformed. The
  /// outcome's loss is that at the parameters, its gradient and norm are those that the optimiser is given,
  /// the norm before clipping. Collective.
  StepOutcome step(LearningRule& rule, RuleContext& context) const;

 private:
  std::vector<std::unique_ptr<GradientTransform>> list_;
};

}  // namespace rankine
