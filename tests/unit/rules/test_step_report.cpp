// One report a step: what the host reads of a training step, how often, and what it does with it.
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/experts/constraint_layer.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/rules/backprop.hpp"
#include "src/rules/seco.hpp"
#include "src/rules/sltt.hpp"
#include "tests/support/rule_problem.hpp"
#include "tests/unit/experts/near_solution.hpp"

namespace rankine {
namespace {

void set(const CheckFlag& flag, std::int64_t value) { copy_to_device(flag.device(), &value, 1); }

TEST(StepReport, GathersNumbersAndReadsThemAtOnce) {
  StepReport report;
  const int first = report.add(), second = report.add(Tensor::scalar(2.5));
  const double value = -1;
  copy_to_device(report.number(first), &value, 1);
  const std::int64_t before = device_counters().host_reads;
  report.read();
  EXPECT_EQ(device_counters().host_reads - before, 1);
  EXPECT_EQ(report[first], -1);
  EXPECT_EQ(report[second], 2.5);
}

TEST(StepReport, ChecksWaitForItAndTheFirstBadOneComplains) {
  std::vector<std::int64_t> called;
  const auto complain = [&](int which) {
    return [&called, which](std::int64_t flag) {
      called.push_back(which);
      throw InputError("element " + std::to_string(flag - 1));
    };
  };
  StepReport report;
  for (int i = 0; i < 3; ++i) {
    const CheckFlag flag;
    set(flag, i == 0 ? 0 : 10 + i);
    check_flag(flag, complain(i));
  }
  EXPECT_TRUE(called.empty());
  try {
    report.read();
    FAIL() << "a bad input passed";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "element 10");
  }
  EXPECT_EQ(called, (std::vector<std::int64_t>{1}));
  report.read();  // what has been said is not said again
}

TEST(StepReport, WithoutOneAndBeyondItsRoomChecksSpeakAtOnce) {
  const auto passes = [](std::int64_t value) {
    const CheckFlag flag;
    set(flag, value);
    bool good = true;
    check_flag(flag, [&](std::int64_t) { good = false; });
    return good;
  };
  EXPECT_TRUE(passes(0));
  EXPECT_FALSE(passes(1));
  StepReport report;
  int waiting = 0;
  while (passes(1)) ++waiting;
  EXPECT_GE(waiting, 32);
}

struct Step {
  StepOutcome outcome;
  DeviceCounters before, after;
  std::int64_t reads() const { return after.host_reads - before.host_reads; }
  std::int64_t bridged() const { return after.host_accesses - before.host_accesses; }
};

Step measured(LearningRule& rule, RuleContext& context) {
  Step out;
  out.before = device_counters();
  out.outcome = rule.step(context);
  out.after = device_counters();
  return out;
}

/// A step, of backpropagation where nothing else is said, with Adam, a bound of the gradient and the guard.
struct Trainer : testing::RuleProblem {
  using RuleProblem::RuleProblem;
  Step step(const std::function<TapeLoss(const BoundParameters&)>& loss_of = {}) {
    guard.begin_step();
    RuleContext context{
        loss_of
            ? loss_of
            : [this](
                  const BoundParameters&
                      bound) { return mean_loss(setup(), network.forward(bound, batch.inputs, pass), batch); },
        parameters,
        adam,
        tiles,
        1e-3,
        0.1,
        number++};
    context.batch = &batch;
    context.pass = &pass;
    context.guard = &guard;
    return measured(*rule, context);
  }
  std::unique_ptr<LearningRule> rule = std::make_unique<Backprop>();
  Adam adam{AdamOptions{}};
  UpdateGuard guard{adam, parameters};
  std::int64_t number = 0;
};

void expect_one_read(const std::function<Step()>& step, const std::string& what) {
  for (int i = 0; i < 3; ++i) {
    const Step found = step();
    EXPECT_TRUE(found.outcome.updated) << what;
    EXPECT_GT(found.outcome.gradient_norm, 0) << what;
    if (i == 0) continue;  // what is made once
    EXPECT_EQ(found.bridged(), 0) << what;
    EXPECT_EQ(found.reads(), 1) << what;
  }
}

TEST(StepReport, AStepOfANetworkReadsOnce) {
  struct Case {
    std::string name, blocks;
    Shape input;
    bool tokens;
  };
  const std::string block = "{name: transformer, heads: 2, norm: pre}";
  const Case cases[] = {
      {"perceptron", "[{name: dense, units: 9}, {name: relu}, {name: dense, units: 4}]", {6}, false},
      {"residual network",
       "[{name: conv2d, channels: 4}, {name: batch_norm}, {name: relu}, "
       "{name: residual, channels: 4}, "
       "{name: flatten}, {name: dense, units: 4}]",
       {1, 6, 6},
       false},
      {"transformer",
       "[{name: embedding, vocabulary: 11, units: 8}, {name: position}, " + block + ", " + block +
           ", {name: dense, units: 11}]",
       {12},
       true}};
  for (const Case& c : cases) {
    Trainer p(c.blocks, c.input);
    Shape shape{testing::rule_shards, 3}, labels = shape;
    for (const std::int64_t extent : c.input) shape.push_back(extent);
    if (c.tokens) labels.push_back(c.input[0]);
    p.batch.targets = p.drawn_integers(labels, 4, 1);
    p.batch.inputs = p.drawn_integers(shape, 11, 0);
    if (!c.tokens) p.batch.inputs = cast(p.batch.inputs, DType::f64);
    expect_one_read([&] { return p.step(); }, c.name);
  }
}

// Chunks and time steps check their tokens and labels each by itself: with more than one, far more than once.
TEST(StepReport, AStepInPartsReadsOnce) {
  const auto expect = [](Trainer& p, std::unique_ptr<LearningRule> rule, const std::string& what) {
    p.rule = std::move(rule);
    p.rule->begin(p.setup(), p.parameters);
    expect_one_read([&] { return p.step(); }, what);
  };
  const Shape tokens{testing::rule_shards, 3, 60};
  Trainer text(
      "[{name: embedding, vocabulary: 11, units: 8}, {name: transformer, heads: 2, rotary: true}, "
      "{name: dense, units: 11}]",
      {60});
  text.batch.inputs = text.drawn_integers(tokens, 11, 0);
  text.batch.targets = text.drawn_integers(tokens, 11, 1);
  SecoOptions chunks;
  chunks.chunk = 2;
  expect(text, std::make_unique<Seco>(chunks), "seco");

  Trainer spikes("[{name: dense, units: 9}, {name: batch_norm}, {name: lif}, {name: dense, units: 4}]", {6});
  spikes.batch.inputs = cast(spikes.drawn_integers({testing::rule_shards, 3, 6}, 11, 0), DType::f64);
  spikes.batch.targets = spikes.drawn_integers({testing::rule_shards, 3}, 4, 1);
  for (const char* mode : {"sltt", "bptt"}) {
    SlttOptions options;
    options.mode = mode;
    options.time_steps = 50;
    expect(spikes, std::make_unique<Sltt>(options), mode);
  }
}

TEST(StepReport, AStepWithASoftConstraintReadsOnce) {
  constexpr int cells = 16, frames = 8, samples = 2;
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const TileGrid grid(frames, cells, 1, 4);
  FormulationOptions options;
  options.method = "soft";
  const StorageModel storage(pde, pde.grid({cells}), options.times(500, frames), 0.5, 2, options.march);
  const Communicator communicator = Communicator::self();
  const std::unique_ptr<ConstraintLayer> layer =
      make_constraint_layer(options, storage, communicator, TilePartition(grid, 1, 0), {}, 0);
  PdeBatch batch;
  for (int s = 0; s < samples; ++s) {
    batch.ids.push_back(s);
    batch.initial.insert(batch.initial.end(), cells, testing::initial_state(s));
    batch.parameters.push_back(pde.parameters()[0].value);
  }
  const Fno2d net = testing::small_fno(grid, layer->outputs(), "double");
  const Tensor near = testing::near_solution(storage, grid, samples, layer->outputs(), net.dtype()),
               inputs = testing::inputs(grid, samples, net.dtype());
  const SharedTileSum tiles = local_tile_sum(grid.tiles());
  ParameterSet parameters = net.initial_parameters(4);
  Adam adam{AdamOptions{}};
  UpdateGuard guard(adam, parameters);
  Backprop rule;
  expect_one_read(
      [&] {
        RuleContext context{[&](const BoundParameters& bound) {
                              return layer->loss(add(near, scale(net.forward(bound, inputs), 0.1)), batch);
                            },
                            parameters,
                            adam,
                            tiles,
                            1e-3,
                            0.1,
                            0};
        context.guard = &guard;
        return measured(rule, context);
      },
      "soft constraint");
}

TEST(StepReport, DecidesWhetherThereIsAStep) {
  Trainer p("[{name: dense, units: 5}, {name: batch_norm}, {name: relu}, {name: dense, units: 4}]", {6});
  p.batch.targets = p.drawn_integers({testing::rule_shards, 3}, 4, 1);
  const Tensor good = cast(p.drawn_integers({testing::rule_shards, 3, 6}, 11, 0), DType::f64);
  p.batch.inputs = good;
  EXPECT_TRUE(p.step().outcome.updated);
  const std::vector<double> before = p.parameters.flat().to_vector();

  // A loss that is not finite, while the gradient is.
  const Step no_loss = p.step([&](const BoundParameters& bound) {
    TapeLoss loss = mean_loss(p.setup(), p.network.forward(bound, good, p.pass), p.batch);
    loss.value = LossValue(Tensor::scalar(std::numeric_limits<double>::infinity()), 0.5);
    return loss;
  });
  EXPECT_FALSE(no_loss.outcome.updated);
  EXPECT_TRUE(std::isinf(no_loss.outcome.loss));
  EXPECT_TRUE(std::isfinite(no_loss.outcome.gradient_norm));
  p.guard.abandon_step();
  EXPECT_EQ(p.parameters.flat().to_vector(), before);

  // A gradient that is not.
  std::vector<double> values = good.to_vector();
  values[7] = std::numeric_limits<double>::quiet_NaN();
  p.batch.inputs = Tensor::from(values, good.shape());
  EXPECT_FALSE(p.step().outcome.updated);
  p.guard.abandon_step();
  EXPECT_EQ(p.parameters.flat().to_vector(), before);

  // A running statistic that is not, though loss and gradient are.
  p.batch.inputs = good;
  const Step bad_statistic = p.step([&](const BoundParameters& bound) {
    TapeLoss loss = mean_loss(p.setup(), p.network.forward(bound, good, p.pass), p.batch);
    for (const ParameterInfo& part : p.parameters.parts())
      if (part.group == "statistics")
        p.parameters.view(part).assign(Tensor::full(part.shape, DType::f64, INFINITY));
    return loss;
  });
  EXPECT_FALSE(bad_statistic.outcome.updated);
  ASSERT_TRUE(p.guard.complaint());
  EXPECT_TRUE(p.guard.complaint()->statistics);
  p.guard.abandon_step();
  EXPECT_EQ(p.parameters.flat().to_vector(), before);
  EXPECT_TRUE(p.step().outcome.updated);
}

TEST(StepReport, ABadLabelOrTokenEndsTheStepBeforeTheUpdate) {
  Trainer p("[{name: embedding, vocabulary: 11, units: 8}, {name: dense, units: 4}]", {5});
  const Tensor tokens = p.drawn_integers({testing::rule_shards, 3, 5}, 11, 0),
               labels = p.drawn_integers({testing::rule_shards, 3, 5}, 4, 1);
  p.batch = {tokens, labels, {}};
  EXPECT_TRUE(p.step().outcome.updated);
  const std::vector<double> before = p.parameters.flat().to_vector();
  const auto spoilt = [](const Tensor& x, std::int64_t at, std::int32_t value) {
    const Tensor copy = x.clone();
    copy_to_device(copy.data<std::int32_t>() + at, &value, 1);
    return copy;
  };
  const auto message = [&] {
    try {
      p.step();
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  p.batch.targets = spoilt(labels, 7, 4);
  EXPECT_THAT(message(), ::testing::HasSubstr("4"));
  p.batch.inputs = spoilt(tokens, 3, -2);  // the first that is checked
  EXPECT_THAT(message(), ::testing::HasSubstr("-2"));
  EXPECT_EQ(p.parameters.flat().to_vector(), before);
  p.batch = {tokens, labels, {}};
  EXPECT_TRUE(p.step().outcome.updated);
}

TEST(StepReport, NumbersAreThoseOfTheLossAndTheGradient) {
  Trainer p("[{name: dense, units: 4}]", {6});
  p.batch.targets = p.drawn_integers({testing::rule_shards, 3}, 4, 1);
  p.batch.inputs = cast(p.drawn_integers({testing::rule_shards, 3, 6}, 11, 0), DType::f64);
  const BoundParameters bound = p.parameters.bind(p.tiles);
  const TapeLoss loss = mean_loss(p.setup(), p.network.forward(bound, p.batch.inputs, p.pass), p.batch);
  const double value = loss.value.read();
  const Tensor gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
  const Step found = p.step();
  EXPECT_EQ(found.outcome.loss, value);
  EXPECT_EQ(found.outcome.gradient_norm, gradient_norm(p.adam.live(p.parameters), gradient));
  EXPECT_NEAR(gradient_norm(p.adam.live(p.parameters), found.outcome.gradient), 0.1, 1e-12);
}

}  // namespace
}  // namespace rankine
