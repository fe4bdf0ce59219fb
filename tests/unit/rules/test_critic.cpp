// Critics: their losses and optima against closed forms, and what a turn leaves behind.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/deck/node.hpp"
#include "src/nn/network.hpp"
#include "src/train/critic.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Ten targets and ten outputs that are one of three symbols, one-hot, and a critic that is free to give each symbol
/// a score: for p and q of them its optimum is a function of p / q alone.
struct Problem {
  explicit Problem(const std::string& options)
      : deck(parse_deck_text("{precision: double, blocks: [{name: dense, units: 3}]}", "judged.yaml")),
        judged(read_network(deck, {3})),
        given(parse_deck_text(
            "{model: {precision: double, blocks: [{name: dense, units: 1, bias: false}]}, "
            "weight: 0.5, " +
                options + (options.find("optimizer") == std::string::npos ? ", optimizer: sgd}" : "}"),
            "test.yaml")),
        critic(given, judged, DType::f64, 10, 1),
        turns(critic, {.communicator = world, .shards = tiles, .batch = 10, .seed = 3, .steps = 9},
              [this](std::int64_t number, std::int64_t) {
                numbers.push_back(number);
                NetworkBatch batch{symbols({5, 3, 2}), symbols({5, 3, 2}), {}};
                for (std::int64_t i = 0; i < 10; ++i) batch.ids.push_back(i);
                return std::pair{batch, outputs};
              }),
        outputs(symbols({2, 3, 5})) {
    turns.register_state(state);
  }
  static Tensor symbols(const std::vector<int>& counts) {
    std::vector<double> values;
    for (std::size_t k = 0; k < counts.size(); ++k)
      for (int i = 0; i < counts[k]; ++i)
        for (std::size_t j = 0; j < counts.size(); ++j) values.push_back(j == k ? 1 : 0);
    return Tensor::from(values, {1, 10, 3});
  }
  StepOutcome turn(std::int64_t key = 0, double factor = 1) {
    Pass pass{.shards = tiles};
    pass.step = key;
    ParameterSet none(DType::f64);
    Sgd unused{SgdOptions{}};
    RuleContext context{{}, none, unused, tiles, 0, 0, key, nullptr, &pass};
    context.rate_factor = factor;
    return turns.turn(context);
  }
  std::vector<double> weights() const {
    const StateSnapshot now = state.save();
    const StateValue& value = now.at("critic/weights/critic0.weight");
    return Tensor::from_bytes(value.bytes, Shape(value.shape), value.type).to_vector();
  }

  Communicator world = Communicator::self();
  SharedTileSum tiles = local_tile_sum(1);
  DeckNode deck;
  Network judged;
  DeckNode given;
  Critic critic;
  CriticTurns turns;
  Tensor outputs;
  StateRegistry state;
  std::vector<std::int64_t> numbers;
};

// Gradient descent converges linearly here: 4000 steps leave less than 1e-9.
TEST(Critic, FindsTheOptimumForAFixedGenerator) {
  Problem logistic("objective: logistic, learning_rate: 2"),
      squares("objective: least_squares, learning_rate: 1");
  for (int i = 0; i < 4000; ++i) {
    ASSERT_TRUE(logistic.turn().updated);
    ASSERT_TRUE(squares.turn().updated);
  }
  const double p[] = {0.5, 0.3, 0.2}, q[] = {0.2, 0.3, 0.5};
  double divergence = 0;  // of Jensen and Shannon
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(logistic.weights()[k], std::log(p[k] / q[k]), 1e-9);
    EXPECT_NEAR(squares.weights()[k], p[k] / (p[k] + q[k]), 1e-9);
    divergence += (p[k] * std::log(2 * p[k] / (p[k] + q[k])) + q[k] * std::log(2 * q[k] / (p[k] + q[k]))) / 2;
  }
  EXPECT_NEAR(logistic.turns.loss(), 2 * std::log(2) - 2 * divergence, 1e-9);
}

TEST(Critic, LossesAreThoseOfTheFormulas) {
  const double t = 0.3, y = 1.4;
  const auto losses = [&](const std::string& objective) {
    const Problem problem("objective: " + objective);
    const Tensor targets = Tensor::full({1, 2, 2}, DType::f64, t),
                 outputs = Tensor::full({1, 2, 2}, DType::f64, y);
    const Tensor own = problem.critic.own_loss(targets, outputs),
                 other = problem.critic.loss_of_network(outputs);
    EXPECT_EQ(own.shape(), Shape({1, 2}));
    return std::pair{own.to_vector()[1], other.to_vector()[1]};
  };
  const auto near = [](double own, double other) {
    return ::testing::Pair(::testing::DoubleNear(own, 1e-14), ::testing::DoubleNear(other, 1e-14));
  };
  EXPECT_THAT(losses("logistic"),
              near(std::log1p(std::exp(-t)) + std::log1p(std::exp(y)), std::log1p(std::exp(-y))));
  EXPECT_THAT(losses("least_squares"), near(((t - 1) * (t - 1) + y * y) / 2, (y - 1) * (y - 1) / 2));
  EXPECT_THAT(losses("hinge"), near(1 - t + 1 + y, -y));
  EXPECT_THAT(losses("wasserstein"), near(y - t, -y));
}

// The network's gradient passes through the critic, whose weights w it leaves alone: of mean log(1 + e^-(w x)) by x
// it is -weight w / (1 + e^(w x)) / samples.
TEST(Critic, TheNetworksGradientPassesThroughIt) {
  Problem problem("objective: logistic");
  const std::vector<double> w = problem.weights();
  const Tensor x = variable(problem.outputs.clone());
  const Tensor loss = problem.turns.loss_of_network(Tensor(), x, Pass{.shards = problem.tiles});
  const std::vector<double>
      g = grad({loss}, {Tensor::full(loss.shape(), DType::f64, 1)}, {x}).front().to_vector(),
      at = problem.outputs.to_vector();
  for (std::size_t i = 0; i < g.size(); ++i) {
    double score = 0;
    for (std::size_t k = 0; k < 3; ++k) score += w[k] * at[i / 3 * 3 + k];
    EXPECT_NEAR(g[i], -0.5 * w[i % 3] / (1 + std::exp(score)) / 10, 1e-15);
  }
}

TEST(Critic, TakesItsStepsOnBatchesOfTheirOwnAtItsOwnRate) {
  Problem three(
      "steps: 3, objective: wasserstein, learning_rate: 0.1, schedule: {name: steps, at: ['4'], factor: 0.5}");
  const std::vector<double> before = three.weights();
  three.turn(2, 0.25);
  EXPECT_THAT(three.numbers, ElementsAre(6, 7, 8));
  // The gradient of D(y) - D(t) is q - p.
  EXPECT_NEAR(three.weights()[0] - before[0], 3 * 0.1 * 0.25 * 0.3, 1e-14);
  three.turn(5);
  EXPECT_NEAR(three.weights()[0] - before[0], 3 * 0.1 * 0.25 * 0.3 + 3 * 0.05 * 0.3, 1e-14);
}

TEST(Critic, ATurnIsUndoneWhereOneOfItsStepsFails) {
  Problem problem(
      "steps: 2, objective: wasserstein, learning_rate: 1, optimizer: {name: sgd, momentum: 0.5}");
  problem.turn();
  const StateSnapshot good = problem.state.save();
  const auto same = [&] {
    const StateSnapshot now = problem.state.save();
    return std::all_of(good.begin(), good.end(),
                       [&](const auto& entry) { return now.at(entry.first).bytes == entry.second.bytes; });
  };
  EXPECT_TRUE(problem.turn().updated);
  EXPECT_FALSE(same());
  problem.turns.take_back();
  EXPECT_TRUE(same());

  const StepOutcome failed = problem.turn(0, 1e308 * 10);
  EXPECT_FALSE(failed.updated);
  EXPECT_FALSE(failed.gradient.defined()) << "it would be taken for the network's";
  EXPECT_TRUE(same());
  ASSERT_TRUE(problem.turns.complaint());
  EXPECT_EQ(problem.turns.complaint()->tensor, "weights/critic0.weight");

  problem.outputs = scale(problem.outputs, std::nan(""));
  EXPECT_FALSE(problem.turn().updated);
  EXPECT_TRUE(same());
  EXPECT_FALSE(problem.turns.complaint());
}

TEST(Critic, BoundsItsWeightsAfterItsSteps) {
  Problem problem(
      "objective: wasserstein, learning_rate: 1, after_step: [{name: clip, low: -0.1, high: 0.1}]");
  problem.turn();
  problem.turn();
  EXPECT_THAT(problem.weights(), ElementsAre(0.1, ::testing::_, -0.1));
}

TEST(Critic, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::string& blocks, const std::string& options, DType inputs = DType::f64) {
    const DeckNode deck = parse_deck_text("{precision: double, blocks: [{name: dense, units: 3}]}",
                                          "judged.yaml"),
                   given = parse_deck_text(
                       "{weight: 1, model: {precision: double, blocks: " + blocks + "}" + options + "}",
                       "test.yaml");
    try {
      const Critic made(given, read_network(deck, {2, 4}), inputs, 10, 1);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string dense = "[{name: dense, units: 1}]";
  EXPECT_EQ(refused(dense, ", conditional: false"), "");
  EXPECT_THAT(refused(dense, ", conditional: true"), HasSubstr("cannot be joined along their first axis"));
  EXPECT_THAT(refused("[relu]", ""), HasSubstr("none of the critic's blocks has parameters"));
  EXPECT_THAT(refused("[{name: graph_conv, units: 2}]", ""), HasSubstr("graph"));
  EXPECT_THAT(refused(dense, ", optimizer: {name: sgd, groups: [{on: block0.weight}]}"),
              HasSubstr("block0.weight"));
  EXPECT_THAT(refused(dense, ", pace: 1"), HasSubstr("unknown key 'pace'"));
}

}  // namespace
}  // namespace rankine
