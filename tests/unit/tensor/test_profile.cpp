// What a profile counts: ops forward and backward, kernels, steps, and nothing outside of steps.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/optim/optimizer.hpp"
#include "src/tensor/ops.hpp"
#include "src/tensor/profile.hpp"

namespace rankine {
namespace {

using ::testing::HasSubstr;

void step(Sgd& sgd, ParameterSet& parameters) {
  Profile::begin_steps();
  const Tensor x = variable(parameters.flat());
  const Tensor y = sum(mul(x, x));
  sgd.step(parameters, grad({y}, {}, {x}).front(), 0.1);
  Profile::lap("optimizer_step");
  Profile::end_steps(1);
}

TEST(Profile, CountsStepsButTheFirst) {
  ParameterSet parameters(DType::f64);
  parameters.add({.name = "a", .shape = {5000}});
  Sgd sgd{SgdOptions{}};
  Profile profile;
  for (int i = 0; i < 4; ++i) {
    step(sgd, parameters);
    mul(parameters.flat(), parameters.flat());  // outside
  }
  EXPECT_EQ(profile.steps(), 3);
  EXPECT_EQ(profile.calls("optimizer_step"), 3);
  EXPECT_GE(profile.calls("mul"), 3);
  EXPECT_EQ(profile.calls("mul") % 3, 0) << "what is outside of steps was counted";
  EXPECT_EQ(profile.calls("sum_backward"), 3);
  EXPECT_EQ(profile.calls("mul_backward"), 3);
  EXPECT_GT(profile.rows().find("mul")->second.flops, 0);
  // Nobody tells what the optimiser's step costs: it is what its kernel does, with gradient, parameters and
  // velocity in double.
  const TimedCost stepping = profile.rows().find("optimizer_step")->second;
  EXPECT_EQ(stepping.flops, 3 * 6 * 5000);
  EXPECT_EQ(stepping.bytes, 3 * 8 * 5 * 5000);
  double seconds = 0;
  for (const auto& [name, row] : profile.rows()) seconds += row.seconds;
  EXPECT_NEAR(seconds, profile.seconds(), 0.2 * profile.seconds());
  EXPECT_EQ(profile.counters().launches % 3, 0);
  EXPECT_GT(profile.counters().launches, 0);
  const auto sgd_launches = launch_costs().find("sgd");
  ASSERT_NE(sgd_launches, launch_costs().end());
  EXPECT_EQ(sgd_launches->second.calls, 3);
  EXPECT_EQ(sgd_launches->second.bytes, stepping.bytes);

  const std::string text = profile.text("here", {1e9, 1e9});
  for (const char* part : {"profile of here: means over 3 steps", "optimizer_step", "mul_backward", "sgd",
                           "host reads", "MPI: "})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Profile, OneStepIsBetterThanNone) {
  ParameterSet parameters(DType::f64);
  parameters.add({.name = "a", .shape = {10}});
  Sgd sgd{SgdOptions{}};
  Profile profile;
  EXPECT_THAT(profile.text("here", {1e9, 1e9}), HasSubstr("no training step was made"));
  step(sgd, parameters);
  EXPECT_EQ(profile.steps(), 1);
  EXPECT_EQ(profile.calls("optimizer_step"), 1);
}

TEST(Profile, MeasuresTheMachine) {
  const MachineLimits limits = measured_limits();
  EXPECT_GT(limits.flops, 1e8);
  EXPECT_GT(limits.bytes, 1e8);
}

}  // namespace
}  // namespace rankine
