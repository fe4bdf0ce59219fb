// A step that would make weights or state not finite changes no bit.
#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "src/optim/update_guard.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

struct Setting {
  explicit Setting(DType type, std::unique_ptr<Optimizer> o) : parameters(type), optimizer(std::move(o)) {
    parameters.add({.name = "a", .shape = {2}});
    parameters.add({.name = "b", .shape = {3}});
    optimizer->register_state(state, "optimizer", parameters);
    state.add("weights", StateKind::replicated, parameters.flat());
    gradient = cast(Tensor::from<double>({1, -2, 3, 0.5, 1e-3}, {5}), type);
  }
  ParameterSet parameters;
  std::unique_ptr<Optimizer> optimizer;
  StateRegistry state;
  Tensor gradient;
};

std::vector<Setting> settings() {
  std::vector<Setting> out;
  for (const DType type : {DType::f32, DType::f64}) {
    out.emplace_back(type, std::make_unique<Adam>(AdamOptions{.weight_decay = 0.01}));
    out.emplace_back(type, std::make_unique<Sgd>(SgdOptions{.momentum = 0.9}));
  }
  return out;
}

TEST(UpdateGuard, OrdinaryStepsAreThoseOfTheOptimizerAndMakeNoCopies) {
  for (Setting& s : settings()) {
    std::unique_ptr<Optimizer> same = std::make_unique<Sgd>(SgdOptions{.momentum = 0.9});
    if (dynamic_cast<Adam*>(s.optimizer.get()) != nullptr)
      same = std::make_unique<Adam>(AdamOptions{.weight_decay = 0.01});
    Setting plain(s.parameters.dtype(), std::move(same));
    UpdateGuard guard(*s.optimizer, s.parameters);
    for (int i = 0; i < 2000; ++i) {
      EXPECT_TRUE(guard.step(s.gradient, 4, 1e-2));
      plain.optimizer->step(plain.parameters, plain.gradient, 1e-2);
    }
    EXPECT_EQ(guard.copies(), 0);
    EXPECT_EQ(s.state.save(), plain.state.save());
  }
}

TEST(UpdateGuard, AStepThatOverflowsLeavesAllBits) {
  for (Setting& s : settings()) {
    UpdateGuard guard(*s.optimizer, s.parameters);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(guard.step(s.gradient, 4, 1e-2));
    const StateSnapshot before = s.state.save();
    // Adam's weights move by about the rate, which in double may be 1e307.
    const bool stays =
        s.parameters.dtype() == DType::f64 && dynamic_cast<Adam*>(s.optimizer.get()) != nullptr;
    const double rate = stays ? 1e307 : s.parameters.dtype() == DType::f32 ? 1e60 : 1e308;
    EXPECT_EQ(guard.step(s.gradient, 4, rate), stays);
    EXPECT_EQ(guard.copies(), 1);
    if (stays) continue;
    EXPECT_EQ(s.state.save(), before);
    ASSERT_TRUE(guard.complaint());
    EXPECT_TRUE(guard.complaint()->tensor.starts_with("weights/") ||
                guard.complaint()->tensor.starts_with("optimizer/"));
    EXPECT_TRUE(guard.step(s.gradient, 4, 1e-2));  // and it goes on
    EXPECT_FALSE(guard.complaint());
  }
}

TEST(UpdateGuard, NamesStateThatIsNotFiniteFromOutside) {
  for (Setting& s : settings()) {
    UpdateGuard guard(*s.optimizer, s.parameters);
    EXPECT_TRUE(guard.step(s.gradient, 4, 1e-2));
    EXPECT_FALSE(guard.check());
    StateSnapshot spoilt = s.state.save();
    const bool adam = spoilt.contains("optimizer/second_moment");
    const std::string name = adam ? "optimizer/second_moment" : "optimizer/velocity";
    const double bad = std::numeric_limits<double>::quiet_NaN();
    std::memcpy(&spoilt.at(name).bytes[2 * sizeof bad], &bad, sizeof bad);
    s.state.restore(spoilt);
    guard.state_changed();
    ASSERT_TRUE(guard.check());
    EXPECT_EQ(guard.check()->tensor, name);
    EXPECT_EQ(guard.check()->element, 2);
    EXPECT_FALSE(guard.step(s.gradient, 4, 1e-2));
    EXPECT_EQ(s.state.save(), spoilt);
  }
}

TEST(UpdateGuard, RunningStatisticsBelongToTheStep) {
  ParameterSet parameters(DType::f64);
  parameters.add({.name = "a", .shape = {2}});
  parameters.add({.name = "norm.running_mean", .shape = {3}, .group = "statistics", .frozen = true});
  Sgd sgd(SgdOptions{});
  UpdateGuard guard(sgd, parameters);
  const Tensor gradient = Tensor::from<double>({1, 2, 0, 0, 0}, {5}),
               mean = parameters.view("norm.running_mean");
  guard.begin_step();
  mean.assign(Tensor::from<double>({1, 2, 3}, {3}));  // as a forward pass does
  EXPECT_TRUE(guard.step(gradient, 3, 0.1));
  const std::vector<double> after = parameters.flat().to_vector();
  EXPECT_EQ(after, (std::vector<double>{-0.1, -0.2, 1, 2, 3}));
  // A pass whose step is not made.
  guard.begin_step();
  mean.assign(Tensor::from<double>({7, 8, 9}, {3}));
  guard.abandon_step();
  EXPECT_EQ(parameters.flat().to_vector(), after);
  // A pass that makes a statistic infinite, though its gradient is finite.
  guard.begin_step();
  mean.assign(Tensor::from<double>({7, INFINITY, 9}, {3}));
  EXPECT_TRUE(guard.may_fail(3, 0.1));
  EXPECT_FALSE(guard.step(gradient, 3, 0.1));
  ASSERT_TRUE(guard.complaint());
  EXPECT_TRUE(guard.complaint()->statistics);
  EXPECT_EQ(guard.complaint()->tensor, "weights/norm.running_mean");
  EXPECT_EQ(guard.complaint()->element, 1);
  guard.abandon_step();
  EXPECT_EQ(parameters.flat().to_vector(), after);
  guard.begin_step();
  EXPECT_FALSE(guard.complaint());
  EXPECT_FALSE(guard.may_fail(3, 0.1));
}

TEST(UpdateGuard, AProjectionMayFailToo) {
  Setting s(DType::f64, std::make_unique<Adam>(AdamOptions{}));
  s.parameters.parts()[1].projection = [](const Tensor& part) {
    for (std::int64_t i = 0; i < part.count(); ++i)
      host_update<double>(part)[i] = std::sqrt(host_read<double>(part)[i]);
  };
  UpdateGuard guard(*s.optimizer, s.parameters);
  const StateSnapshot before = s.state.save();
  EXPECT_FALSE(guard.step(s.gradient, 4, 1e-2));  // the root of a negative number
  EXPECT_EQ(guard.complaint()->tensor, "weights/b");
  EXPECT_EQ(s.state.save(), before);
}

}  // namespace
}  // namespace rankine
