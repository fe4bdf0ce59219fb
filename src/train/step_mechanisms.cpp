#include "src/train/step_mechanisms.hpp"

#include <fmt/format.h>

namespace rankine {

StepMechanisms::StepMechanisms(const DeckNode& train, const LearningRule& rule,
                               const ParameterSet& parameters) {
  for (const char* key : {"gradient", "after_step", "average"})
    if (train.has(key) && rule.spreads_blocks())
      train.error_at(key,
                     fmt::format("{}: this learning rule trains blocks on their ranks, and no rank has the "
                                 "whole network between steps; use a rule whose ranks share the batch, such "
                                 "as backprop",
                                 key));
  gradient = GradientTransforms(train);
  after_step = AfterStep(train, parameters);
  if (train.has("average")) average = averages().make(train.child("average"));
}

}  // namespace rankine
