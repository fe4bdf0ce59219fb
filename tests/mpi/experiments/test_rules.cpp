// What rules that deal blocks to ranks refuse, and what backpropagation sends.
#include <gtest/gtest.h>

#include "src/optim/optimizer.hpp"
#include "src/rules/auglocal.hpp"
#include "src/rules/backprop.hpp"
#include "src/rules/pipeline.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

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

// The gradient of all parameters is one sum over ranks, whatever their number, and the loss another.
TEST(Backprop, AStepSendsTwoSums) {
  constexpr std::int64_t shard_count = 5;
  const Communicator world = Communicator::world();
  const SharedTileSum shards = distributed_tile_sum({world, BlockPartition(shard_count, world.size())});
  const std::int64_t local = shards->local_tiles();
  const auto messages = [](const auto& work) {
    const std::int64_t before = traffic().messages;
    work();
    return traffic().messages - before;
  };
  const std::int64_t of_a_sum = messages([&] { sum_over_tiles(Tensor::zeros({local}, DType::f64), shards); });
  EXPECT_EQ(world.any(of_a_sum > 0), world.size() > 1);
  const std::string block = "{name: transformer, heads: 2, norm: pre}";
  const std::string networks[] = {
      "[{name: embedding, vocabulary: 7, units: 6}, {name: dense, units: 9}, {name: relu}, {name: dense, "
      "units: 4}]",
      "[{name: embedding, vocabulary: 7, units: 8}, " + block + ", " + block + ", {name: dense, units: 7}]"};
  for (const std::string& blocks : networks) {
    testing::RuleProblem p(blocks, {6});
    p.batch.inputs = p.drawn_integers({local, 3, 6}, 7, 0);
    p.batch.targets = p.drawn_integers({local, 3, 6}, 4, 1);
    p.pass.shards = shards;
    RuleSetup setup = p.setup();
    setup.shards = shards;
    setup.shard_count = shard_count;
    Adam adam{AdamOptions{}};
    Backprop rule;
    RuleContext context{[&](const BoundParameters& bound) {
                          return mean_loss(setup, p.network.forward(bound, p.batch.inputs, p.pass), p.batch);
                        },
                        p.parameters,
                        adam,
                        shards,
                        1e-3,
                        0.1,
                        0};
    context.batch = &p.batch;
    context.pass = &p.pass;
    for (int step = 0; step < 2; ++step) {
      const std::int64_t reads = device_counters().host_reads;
      EXPECT_EQ(messages([&] { EXPECT_TRUE(rule.step(context).updated); }), 2 * of_a_sum) << blocks;
      // One read of the report, and one of each message where host and device share no memory.
      EXPECT_EQ(device_counters().host_reads - reads, 1 + (separate_memory() ? 2 * of_a_sum : 0)) << blocks;
    }
  }
}

}  // namespace
}  // namespace rankine
