#include <cmath>

#include <gtest/gtest.h>

#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

ParameterSet two_parts(DType type = DType::f64) {
  ParameterSet set(type);
  set.add({.name = "a", .shape = {2}});
  set.add({.name = "b", .shape = {3}});
  return set;
}

Tensor values(const std::vector<double>& list, DType type = DType::f64) {
  return cast(Tensor::from(list, {static_cast<std::int64_t>(list.size())}), type);
}

TEST(Adam, FollowsItsFormula) {
  ParameterSet set = two_parts();
  Adam adam{AdamOptions{}};
  double p = 0, m = 0, v = 0;
  for (int step = 1; step <= 5; ++step) {
    const double g = std::sin(step);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.01 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
    adam.step(set, values({g, g, -g, 0, g}), 0.01);
    EXPECT_NEAR(set.flat().to_vector()[0], p, 1e-15);
    EXPECT_NEAR(set.flat().to_vector()[2], -p, 1e-15);
    EXPECT_EQ(set.flat().to_vector()[3], 0);
  }
}

TEST(Adam, LeavesFrozenPartsKeepsMasksAndCallsProjections) {
  ParameterSet set = two_parts();
  set.parts()[0].frozen = true;
  set.parts()[1].mask = values({1, 0, 1});
  set.parts()[1].projection = [](const Tensor& x) {
    for (int i = 0; i < 3; ++i) host_update<double>(x)[i] = std::max(host_read<double>(x)[i], -0.005);
  };
  Adam adam{AdamOptions{}};
  adam.step(set, values({1, 1, 1, 1, -1}), 0.01);
  const auto found = set.flat().to_vector();
  EXPECT_EQ(found[0], 0);
  EXPECT_EQ(found[2], -0.005);
  EXPECT_EQ(found[3], 0);
  EXPECT_NEAR(found[4], 0.01, 1e-9);
}

TEST(Adam, RestartsFromItsRegisteredState) {
  ParameterSet set = two_parts(DType::f32);
  Adam adam{AdamOptions{}}, other{AdamOptions{}};
  const Tensor g = values({1, -2, 3, 0.5, 0.25}, DType::f32);
  adam.step(set, g, 0.01);
  StateRegistry from, to;
  adam.register_state(from, "optimizer", set);
  other.register_state(to, "optimizer", set);
  to.restore(from.save());
  ParameterSet copy = set.clone();
  adam.step(set, g, 0.01);
  other.step(copy, g, 0.01);
  EXPECT_EQ(set.flat().to_vector(), copy.flat().to_vector());
}

TEST(Sgd, HasMomentum) {
  ParameterSet set = two_parts();
  Sgd sgd{SgdOptions{.momentum = 0.5, .weight_decay = 0}};
  sgd.step(set, values({1, 0, 0, 0, 0}), 0.1);
  sgd.step(set, values({1, 0, 0, 0, 0}), 0.1);
  EXPECT_NEAR(set.flat().to_vector()[0], -0.1 - 0.15, 1e-15);
}

TEST(Clipping, BoundsTheNormOfWhatIsNotFrozen) {
  ParameterSet set = two_parts(DType::f32);
  const Tensor g = values({3, 4, 0, 0, 12}, DType::f32);
  EXPECT_NEAR(gradient_norm(set, g), 13, 1e-12);
  EXPECT_NEAR(clip_gradient(set, g, 0), 13, 1e-12);
  EXPECT_NEAR(clip_gradient(set, g, 6.5), 13, 1e-12);
  EXPECT_NEAR(g.to_vector()[4], 6, 1e-6);
  set.parts()[0].frozen = true;
  EXPECT_NEAR(gradient_norm(set, g), 6, 1e-6);
}

TEST(Schedules, WarmUpCosineAndSteps) {
  EXPECT_EQ(schedules().names(), (std::vector<std::string>{"constant", "cosine", "step"}));
  const CosineSchedule cosine;
  EXPECT_DOUBLE_EQ(cosine.factor(0, 1000), 0.01);
  EXPECT_DOUBLE_EQ(cosine.factor(99, 1000), 1);
  EXPECT_DOUBLE_EQ(cosine.factor(100, 1000), 1);
  EXPECT_NEAR(cosine.factor(999, 1000), 0.01, 1e-12);
  const StepSchedule step;
  EXPECT_EQ(step.factor(799, 4050), 1);
  EXPECT_EQ(step.factor(800, 4050), 0.5);
  EXPECT_EQ(step.factor(4000, 4050), 0.1);
}

}  // namespace
}  // namespace rankine
