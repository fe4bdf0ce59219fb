// Rules that deal blocks to ranks, against backpropagation and against themselves on one rank.
#include <gtest/gtest.h>

#include "src/nn/layers/dense.hpp"
#include "src/rules/auglocal.hpp"
#include "src/rules/backprop.hpp"
#include "src/rules/lbfgs.hpp"
#include "src/rules/pipeline.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/support/rule_problem.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

constexpr std::int64_t shards = 4, batch = 3;

Network perceptron() {
  return testing::network_from(
      "[{name: dense, units: 7}, {name: relu}, {name: dense, units: 6}, {name: relu}, "
      "{name: dense, units: 5}, {name: relu}, {name: dense, units: 4}]",
      {8});
}

Tensor drawn(const Shape& shape, std::int64_t step) {
  Tensor x = Tensor::empty(shape, DType::f64);
  const HostWrite<double> values(x);
  RandomStream(7, "inputs")
      .fill_normal(std::span(values.get(), static_cast<std::size_t>(x.count())), step, 0);
  return x;
}

/// Trains for `steps` and returns all parameters; `spread`: all shards are on every rank.
struct Trained {
  std::vector<double> parameters, losses, norms;
};
Trained train(LearningRule& rule, const Network& network, const Communicator& communicator, int steps,
              double clip, int together = 1) {
  const bool spread = rule.spreads_blocks();
  const BlockPartition dealt(shards, communicator.size());
  const SharedTileSum sum =
      spread ? local_tile_sum(shards) : distributed_tile_sum(TileTree(communicator, dealt));
  const std::int64_t first = spread ? 0 : dealt.begin(communicator.rank()), local = sum->local_tiles();
  const CrossEntropy loss({});
  const auto make_optimizer = [] {
    return std::make_unique<Sgd>(SgdOptions{.momentum = 0.9, .weight_decay = 1e-3});
  };
  const RuleSetup setup{.communicator = communicator,
                        .shards = sum,
                        .shard_count = shards,
                        .seed = 3,
                        .steps = steps,
                        .network = &network,
                        .inputs = DType::f64,
                        .loss = &loss,
                        .make_optimizer = make_optimizer};
  rule.check(setup);
  ParameterSet parameters = network.initial_parameters(3);
  rule.begin(setup, parameters);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer();
  struct Made {
    NetworkBatch batch;
    Pass pass;
    std::unique_ptr<RuleContext> context;
  };
  const StepMaker make = [&](std::int64_t step) {
    auto made = std::make_shared<Made>();
    Shape shape{shards, batch};
    for (const std::int64_t extent : network.input()) shape.push_back(extent);
    Tensor targets = Tensor::empty({shards, batch}, DType::i32);
    for (std::int64_t i = 0; i < targets.count(); ++i)
      host_update<std::int32_t>(targets)[i] =
          static_cast<std::int32_t>((i + step) % network.output().count());
    made->batch = {slice(drawn(shape, step), 0, first, first + local).clone(),
                   slice(targets, 0, first, first + local).clone(),
                   std::vector<std::int64_t>(static_cast<std::size_t>(local * batch))};
    made->pass = {.shards = sum};
    made->pass.training = true;
    made->context = std::make_unique<RuleContext>(RuleContext{
        [&, data = made.get()](const BoundParameters& bound) {
          return mean_loss(setup, network.forward(bound, data->batch.inputs, data->pass), data->batch);
        },
        parameters, *optimizer, sum, 0.1, clip, step, &made->batch, &made->pass});
    return std::shared_ptr<RuleContext>(made, made->context.get());
  };
  Trained out;
  for (std::int64_t step = 0; step < steps; step += together)
    for (const StepOutcome& outcome :
         rule.steps(step, std::min<std::int64_t>(together, steps - step), make)) {
      EXPECT_TRUE(outcome.updated);
      out.losses.push_back(outcome.loss);
      out.norms.push_back(outcome.gradient_norm);
    }
  rule.synchronise();
  out.parameters = parameters.flat().to_vector();
  return out;
}

TEST(Pipeline, TrainsLikeBackpropagationBitForBit) {
  const Communicator world = Communicator::world(), self = Communicator::self();
  const Network network = perceptron();
  for (const double clip : {0.0, 0.05}) {
    Backprop backprop;
    Pipeline pipeline;
    const Trained expected = train(backprop, network, self, 5, clip);
    const Trained found = train(pipeline, network, world, 5, clip);
    EXPECT_EQ(found.parameters, expected.parameters) << "clip " << clip;
    EXPECT_EQ(found.losses, expected.losses);
    EXPECT_EQ(found.norms, expected.norms);
  }
}

TEST(AugLocal, DoesNotDependOnRanksNorOnStepsTakenTogether) {
  const Communicator world = Communicator::world(), self = Communicator::self();
  const Network network = perceptron();
  const AugLocalOptions options{.depth = 2, .classifier = 1};
  AugLocal alone(options), shared(options), windowed(options);
  const Trained expected = train(alone, network, self, 7, 0.5);
  for (LearningRule* rule : {static_cast<LearningRule*>(&shared), static_cast<LearningRule*>(&windowed)}) {
    const Trained found = train(*rule, network, world, 7, 0.5, rule == &shared ? 1 : 5);
    EXPECT_EQ(found.parameters, expected.parameters);
    EXPECT_EQ(found.losses, expected.losses);
  }
}

TEST(AugLocal, RefusesMoreRanksThanModulesAndEdgesWithoutAuxiliaryNetworks) {
  const Communicator world = Communicator::world();
  const Network small = testing::network_from("[{name: dense, units: 3}, {name: dense, units: 3}]", {4});
  const CrossEntropy loss({});
  const RuleSetup setup{.communicator = world,
                        .shards = local_tile_sum(1),
                        .network = &small,
                        .inputs = DType::f64,
                        .loss = &loss,
                        .make_optimizer = [] { return std::make_unique<Sgd>(SgdOptions{}); }};
  EXPECT_THROW(AugLocal({}).check(setup), InputError);
}

TEST(Pipeline, RefusesBlocksThatShareParameters) {
  const Communicator self = Communicator::self();
  const Network tied = testing::network_from(
      "[{name: embedding, vocabulary: 5, units: 4}, {name: tied_head, embedding: block0, vocabulary: 5}]",
      {3});
  const CrossEntropy loss({});
  const RuleSetup setup{.communicator = self,
                        .shards = local_tile_sum(1),
                        .network = &tied,
                        .inputs = DType::i32,
                        .loss = &loss,
                        .make_optimizer = {}};
  try {
    Pipeline().check(setup);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("block1 to block1 cannot be trained apart"), std::string::npos)
        << error.what();
  }
}

TEST(Lbfgs, MinimisesAlikeOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world(), self = Communicator::self();
  const Network network = perceptron();
  Lbfgs alone({.iterations = 40}), shared({.iterations = 40});
  const Trained expected = train(alone, network, self, 3, 0);
  const Trained found = train(shared, network, world, 3, 0);
  EXPECT_EQ(found.parameters, expected.parameters);
  EXPECT_EQ(found.losses, expected.losses);
  EXPECT_EQ(found.norms, expected.norms);
  EXPECT_GE(shared.measured().at(0), 40);
}

}  // namespace
}  // namespace rankine
