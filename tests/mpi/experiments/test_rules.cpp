// What rules that deal blocks to ranks refuse.
#include <gtest/gtest.h>

#include "src/rules/auglocal.hpp"
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

}  // namespace
}  // namespace rankine
