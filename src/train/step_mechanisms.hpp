// What a deck's `train` adds to the steps of any rule: transforms of the gradient, operations after steps, an
// average of the parameters.
#pragma once

#include <memory>

#include "src/optim/after_step.hpp"
#include "src/rules/gradient_transforms.hpp"
#include "src/train/average.hpp"

namespace rankine {

struct StepMechanisms {
  GradientTransforms gradient;
  AfterStep after_step;
  std::unique_ptr<Average> average;  ///< null: evaluations judge the parameters

  StepMechanisms() = default;
  /// `train.gradient`, `train.after_step` and `train.average`. `parameters`: fresh ones of what is trained.
  /// InputError where `rule` does not take them.
  StepMechanisms(const DeckNode& train, const LearningRule& rule, const ParameterSet& parameters);
  /// Describes the three keys in the help of a deck's `train`.
  static constexpr const char* help =
      "the lists gradient (transforms) and after_step (operations, each with `on`, a pattern of names of "
      "parameters, and `every`, steps), and average";
};

}  // namespace rankine
