// The same bits on any number of ranks: a network of blocks whose shards are dealt to ranks is compared with
// all shards on one rank, computed in the same process.
#include <cstring>

#include "src/nn/network.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

constexpr std::int64_t kShards = 5, kBatch = 4;

const char* const kDeck =
    "precision: float\n"
    "blocks:\n"
    "  - {name: conv2d, channels: 6}\n"
    "  - {name: batch_norm}\n"
    "  - {name: relu}\n"
    "  - {name: residual, channels: 8, stride: 2}\n"
    "  - {name: dropout, rate: 0.3}\n"
    "  - {name: max_pool}\n"
    "  - {name: conv2d, channels: 8, depthwise: true}\n"
    "  - {name: batch_norm, statistics: shard}\n"
    "  - {name: batch_norm, ghosts: 10}\n"
    "  - {name: group_norm, groups: 4}\n"
    "  - {name: sparse_conv2d, channels: 8, block: 4, pattern: [9c, '36']}\n"
    "  - {name: global_average_pool}\n"
    "  - {name: moe, experts: 3, expert: [{name: dense, units: 5}, {name: dropout, rate: 0.2}],\n"
    "     gate: {name: comet, gamma: 0.1}, search: {name: permutation, steps: 20, noise: 0.01}}\n"
    "  - {name: dense, units: 3}\n";

struct Result {
  Tensor output, gradient, input_gradient, parameters;
};

Result run(const Tensor& x, const Tensor& seed, std::int64_t begin, std::int64_t end,
           const SharedTileSum& shards) {
  const Network net = read_network(parse_deck_text(kDeck, "deck.yaml"), {2, 9, 8});
  const ParameterSet parameters = net.initial_parameters(7);
  Pass pass{.shards = shards, .training = true, .seed = 3, .step = 11};
  for (std::int64_t i = begin * kBatch; i < end * kBatch; ++i) pass.samples.push_back(100 + i);
  const BoundParameters bound = parameters.bind(shards);
  const Tensor in = variable(cast(slice(x, 0, begin, end), DType::f32));
  const Tensor y = net.forward(bound, in, pass);
  const auto g = grad({y}, {cast(slice(seed, 0, begin, end), DType::f32)}, {bound.flat(), in});
  return {y, g[0], g[1], parameters.flat()};
}

void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape().text(), b.shape().text()) << what;
  EXPECT_TRUE(a.detach().to_bytes() == b.detach().to_bytes()) << what;
}

TEST(LayersOnRanks, HaveTheBitsOfOneRank) {
  const Communicator world = Communicator::world();
  std::mt19937 rng(1);
  const Tensor x = testing::random_tensor({kShards, kBatch, 2, 9, 8}, rng);
  const Tensor seed = testing::random_tensor({kShards, kBatch, 3}, rng);
  const BlockPartition blocks(kShards, world.size());
  const std::int64_t begin = blocks.begin(world.rank()), end = blocks.end(world.rank());
  const Result shared = run(x, seed, begin, end, distributed_tile_sum(TileTree(world, blocks)));
  const Result alone = run(x, seed, 0, kShards, local_tile_sum(kShards));
  expect_same_bits(shared.output, slice(alone.output, 0, begin, end), "output");
  expect_same_bits(shared.gradient, alone.gradient, "gradient");
  expect_same_bits(shared.input_gradient, slice(alone.input_gradient, 0, begin, end), "input gradient");
  expect_same_bits(shared.parameters, alone.parameters, "running moments");
}

}  // namespace
}  // namespace rankine
