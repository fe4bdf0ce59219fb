// Transformed networks have the outputs of the network that they come from.
#include <cmath>

#include <gmock/gmock.h>

#include "src/nn/counts.hpp"
#include "src/nn/transforms.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using testing::moved_parameters;
using testing::random_tensor;

struct Case {
  DeckNode model;
  Shape input;
  ParameterSet parameters;
  Network network;

  Case(const std::string& blocks, const Shape& in)
      : model(parse_deck_text("precision: double\nblocks: " + blocks + "\n", "test.yaml")),
        input(in),
        network(read_network(model, in)) {
    parameters = moved_parameters(network);
    for (const ParameterInfo& part : parameters.parts())  // variances are positive
      if (part.name.ends_with("variance")) parameters.view(part).assign(square(parameters.view(part)));
  }
  void set(const std::string& part, const std::function<double(std::int64_t entry, double value)>& f) {
    std::vector<double> values = parameters.view(part).to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = f(static_cast<std::int64_t>(i), values[i]);
    parameters.view(part).assign(Tensor::from(values, parameters.part(part).shape));
  }
};

Tensor outputs(const Network& network, const ParameterSet& parameters) {
  std::mt19937 rng(9);
  Shape shape = network.input();
  shape.insert(0, 4);
  shape.insert(0, 1);
  Pass pass{.shards = local_tile_sum(1)};
  return network.forward(parameters.bind(pass.shards), random_tensor(shape, rng), pass);
}

/// Applies the transforms and compares; 1e-12: sums of some hundred terms of size 1, in another order.
Counts expect_same_outputs(const Case& c, const std::vector<const NetworkTransform*>& all,
                           std::uint64_t seed = 3) {
  FinishedNetwork finished(c.model, c.input, c.parameters);
  for (const NetworkTransform* transform : all) transform->apply(finished, seed);
  const Network after = finished.network();
  const ParameterSet parameters = finished.parameters(after);
  testing::expect_same(outputs(c.network, c.parameters), outputs(after, parameters), 1e-12);
  return count_network(after, parameters, {}, 0).back();
}

const std::string images =
    "[{name: conv2d, channels: 6, bias: false}, {name: batch_norm}, {name: relu}, {name: conv2d, channels: 5, "
    "padding: valid}, {name: batch_norm, affine: false, epsilon: 0.01}, {name: gelu}, {name: max_pool}, flatten, "
    "{name: dense, units: 7}, {name: batch_norm}, {name: tanh}, {name: dense, units: 7, repeat: 2}, {name: dense, "
    "units: 3}]";

TEST(Transforms, FoldNormTakesEveryNormAway) {
  const Case c(images, {2, 8, 8});
  const FoldNorm fold;
  const Counts after = expect_same_outputs(c, {&fold});
  FinishedNetwork finished(c.model, c.input, c.parameters);
  EXPECT_EQ(finished.blocks().size(), 14u);
  fold.apply(finished, 0);
  EXPECT_EQ(finished.blocks().size(), 11u);
  for (const FinishedNetwork::Block& block : finished.blocks()) EXPECT_NE(block.kind, "batch_norm");
  EXPECT_EQ(after.parameters, 6 * 2 * 9 + 6 + 5 * 6 * 9 + 5 + 45 * 7 + 7 + 2 * (49 + 7) + 21 + 3);
  // A norm whose channels are positions stays, and so does one behind another block.
  const Case other("[{name: dense, units: 4}, {name: batch_norm}, {name: relu}, {name: batch_norm}]", {3, 5});
  FinishedNetwork kept(other.model, other.input, other.parameters);
  fold.apply(kept, 0);
  EXPECT_EQ(kept.blocks().size(), 4u);
}

TEST(Transforms, PermuteMovesUnitsAndNothingElse) {
  const Case c(images, {2, 8, 8});
  for (const char* by : {"norm", "random"}) {
    SCOPED_TRACE(by);
    const PermuteUnits permute(PermuteUnits::Options{by});
    expect_same_outputs(c, {&permute});
    FinishedNetwork finished(c.model, c.input, c.parameters);
    permute.apply(finished, 3);
    EXPECT_NE(finished.blocks()[0].parts.at(".weight").values,
              c.parameters.view("block0.weight").to_vector());
  }
  FinishedNetwork finished(c.model, c.input, c.parameters);
  PermuteUnits(PermuteUnits::Options{}).apply(finished, 3);
  const std::vector<double> w = finished.blocks()[3].parts.at(".weight").values;
  std::vector<double> norms(5);
  for (std::size_t i = 0; i < w.size(); ++i) norms[i / 54] += w[i] * w[i];
  EXPECT_TRUE(std::is_sorted(norms.rbegin(), norms.rend()));
}

TEST(Transforms, ActThroughDepthwiseConvolutions) {
  Case c(
      "[{name: conv2d, channels: 6, kernel: 1, bias: false}, {name: batch_norm}, {name: relu}, {name: conv2d, "
      "depthwise: true, bias: false}, {name: batch_norm}, {name: relu}, {name: conv2d, channels: 5, kernel: 1}]",
      {3, 5, 5});
  const PermuteUnits permute(PermuteUnits::Options{});
  const Widen widen(Widen::Options{1.5});
  const FoldNorm fold;
  expect_same_outputs(c, {&permute});
  expect_same_outputs(c, {&widen, &fold});
  c.set("block6.weight", [](std::int64_t i, double w) { return i % 6 == 2 || i % 6 == 3 ? 0 : w; });
  const Compact compact;
  EXPECT_EQ(expect_same_outputs(c, {&fold, &compact}).parameters, 4 * 3 + 4 + 4 * 9 + 4 + 4 * 5 + 5);
}

// What blocks of four outputs keep of half of their columns, before and after units are put into groups.
TEST(Transforms, GroupsOfUnitsKeepMore) {
  Case c("[{name: dense, units: 32}, {name: relu}, {name: dense, units: 3}]", {24});
  // Units take up one half of the inputs or the other, in turn, and a little of the rest.
  c.set("block0.weight", [](std::int64_t i, double w) { return (i / 24 + i) % 2 == 0 ? w : w / 4; });
  const auto kept = [](const std::vector<double>& w) {
    double sum = 0;
    for (std::size_t g = 0; g < 8; ++g) {
      std::vector<double> columns(24);
      for (std::size_t i = 0; i < 96; ++i) columns[i % 24] += std::abs(w[g * 96 + i]);
      std::sort(columns.rbegin(), columns.rend());
      for (std::size_t j = 0; j < 12; ++j) sum += columns[j];
    }
    return sum;
  };
  const PermuteUnits permute(PermuteUnits::Options{.by = "groups", .group = 4, .density = 0.5});
  expect_same_outputs(c, {&permute});
  FinishedNetwork finished(c.model, c.input, c.parameters);
  const double before = kept(finished.blocks()[0].parts.at(".weight").values);
  permute.apply(finished, 0);
  const double after = kept(finished.blocks()[0].parts.at(".weight").values);
  double all = 0;
  for (const double w : finished.blocks()[0].parts.at(".weight").values) all += std::abs(w);
  EXPECT_LT(before, 0.7 * all);
  EXPECT_GT(after, 0.75 * all);
}

TEST(Transforms, WriteMovesMasksWithTheirWeights) {
  Case c("[{name: dense, units: 6}, {name: relu}, {name: dense, units: 3}]", {4});
  c.set("block0.weight", [](std::int64_t i, double w) { return i % 5 == 0 ? 0 : w; });
  ParameterSet parameters = c.parameters.clone();
  std::vector<double> mask(24, 1.0);
  for (std::size_t i = 0; i < mask.size(); i += 5) mask[i] = 0;
  for (ParameterInfo& part : parameters.parts())
    if (part.name == "block0.weight") part.mask = Tensor::from(mask, {6, 4});
  FinishedNetwork finished(c.model, c.input, parameters);
  PermuteUnits(PermuteUnits::Options{.by = "random"}).apply(finished, 3);
  finished.write(parameters);
  testing::expect_same(outputs(c.network, c.parameters), outputs(c.network, parameters), 1e-12);
  const std::vector<double> weights = parameters.view("block0.weight").to_vector(),
                            masks = parameters.part("block0.weight").mask.to_vector();
  EXPECT_NE(masks, mask);
  for (std::size_t i = 0; i < masks.size(); ++i) EXPECT_EQ(masks[i] == 0, weights[i] == 0);
}

TEST(Transforms, WidenCopiesUnits) {
  const Case c(images, {2, 8, 8});
  const Widen widen(Widen::Options{1.5});
  const Counts after = expect_same_outputs(c, {&widen});
  // 6, 5, 7, 7, 7 units become 9, 8, 11, 11, 11; three outputs stay.
  EXPECT_EQ(after.parameters,
            9 * 2 * 9 + 2 * 9 + 8 * 9 * 9 + 8 + 8 * 9 * 11 + 11 + 2 * 11 + 2 * (121 + 11) + 33 + 3);
}

TEST(Transforms, CompactRemovesWhatIsHeldAtZero) {
  Case c(images, {2, 8, 8});
  const Compact compact;
  const Counts before = expect_same_outputs(c, {&compact});
  EXPECT_EQ(before.parameters, count_network(c.network, c.parameters, {}, 0).back().parameters);
  // Channels 1 and 4 of the first convolution feed nothing; those of the second, 0 and 3, have no weights, and
  // their constant goes into the biases behind; unit 2 of the dense block has none, and unit 5 feeds nothing.
  c.set("block3.weight", [](std::int64_t i, double w) {
    return i / 9 % 6 == 1 || i / 9 % 6 == 4 || i / 54 == 0 || i / 54 == 3 ? 0 : w;
  });
  c.set("block8.weight", [](std::int64_t i, double w) { return i / 45 == 2 ? 0 : w; });
  c.set("block11.weight", [](std::int64_t i, double w) { return i % 7 == 5 ? 0 : w; });
  const Counts after = expect_same_outputs(c, {&compact});
  EXPECT_EQ(after.parameters,
            4 * 2 * 9 + 2 * 4 + 3 * 4 * 9 + 3 + 3 * 9 * 5 + 5 + 2 * 5 + 7 * 5 + 7 + 7 * 7 + 7 + 21 + 3);
  EXPECT_LT(after.forward_multiply_adds, before.forward_multiply_adds / 1.5);
  const FoldNorm fold;
  expect_same_outputs(c, {&fold, &compact});
}

TEST(Transforms, CompactKeepsConstantsThatAZeroBorderCuts) {
  const std::string padded = "[{name: conv2d, channels: 3}, {name: relu}, {name: conv2d, channels: 2}]";
  Case c(padded, {1, 5, 5});
  c.set("block0.weight", [](std::int64_t i, double w) { return i / 9 == 2 ? w : 0; });
  // relu makes channel 0 zero, which may go; channel 1 is a constant that the border does not have.
  c.set("block0.bias", [](std::int64_t i, double) { return i == 0 ? -1 : 1; });
  const Compact compact;
  EXPECT_EQ(expect_same_outputs(c, {&compact}).parameters, 2 * 9 + 2 + 2 * 2 * 9 + 2);
}

TEST(Transforms, CompactLeavesOneUnit) {
  // With a default that resolved decks spell out.
  Case c("[{name: dense, units: 4, parametrisation: standard}, {name: relu}, {name: dense, units: 2}]", {3});
  c.set("block0.weight", [](std::int64_t, double) { return 0; });
  const Compact compact;
  EXPECT_EQ(expect_same_outputs(c, {&compact}).parameters, 3 + 1 + 2 + 2);
}

TEST(Transforms, SparseKeepsWeightsInBlocksOrOneByOne) {
  Case c(
      "[{name: conv2d, channels: 8, kernel: 1}, {name: relu}, {name: conv2d, channels: 16, kernel: 1, bias: "
      "false}, {name: relu}, {name: conv2d, channels: 4}, flatten, {name: dense, units: 8}, {name: dense, "
      "units: 10}, {name: dense, units: 3}]",
      {6, 3, 3});
  // The first convolution has 4 x 1 blocks, the second 8 x 1, the first dense block a third of its weights, the
  // second half of them, and the last none.
  c.set("block0.weight", [](std::int64_t i, double w) { return (i / 6 / 4 + i % 6) % 3 == 0 ? w : 0; });
  c.set("block2.weight", [](std::int64_t i, double w) { return (i / 8 / 8 + i % 8) % 4 != 0 ? w : 0; });
  c.set("block4.weight", [](std::int64_t i, double w) { return i % 9 == 0 ? w : 0; });
  c.set("block6.weight", [](std::int64_t i, double w) { return (i / 36 + i) % 3 == 0 ? w : 0; });
  c.set("block7.weight", [](std::int64_t i, double w) { return i % 2 == 0 ? w : 0; });
  c.set("block8.weight", [](std::int64_t, double) { return 0; });
  const KeepNonZeros sparse({});
  const Counts after = expect_same_outputs(c, {&sparse});
  EXPECT_EQ(after.parameters, 16 + 8 + 96 + 4 * 16 * 9 + 4 + 96 + 8 + 80 + 10 + 30 + 3);
  FinishedNetwork finished(c.model, c.input, c.parameters);
  sparse.apply(finished, 0);
  const auto block = [&](std::size_t b) { return finished.blocks()[b]; };
  EXPECT_EQ(block(0).kind, "sparse_conv2d");
  EXPECT_EQ(block(0).parts.at(".weight").shape.text(), "[4, 4]");
  EXPECT_EQ(block(2).parts.at(".weight").shape.text(), "[12, 8]");
  EXPECT_EQ(block(4).kind, "conv2d");  // 3 x 3
  EXPECT_EQ(block(6).kind, "sparse_dense");
  EXPECT_EQ(block(6).parts.at(".weight").shape.text(), "[96, 1]");
  EXPECT_EQ(block(7).kind, "dense");
  EXPECT_EQ(block(8).kind, "dense");
  const KeepNonZeros more({.density = 0.5, .block_density = 0.5});
  expect_same_outputs(c, {&more});
  FinishedNetwork other(c.model, c.input, c.parameters);
  more.apply(other, 0);
  EXPECT_EQ(other.blocks()[2].kind, "conv2d");
  EXPECT_EQ(other.blocks()[7].kind, "sparse_dense");
}

TEST(Transforms, UnitsThatOtherBlocksMixStay) {
  // Layer norm, groups, depthwise convolutions, residual blocks and sequences: nothing is selected.
  for (
      const auto& [blocks, input] : std::vector<std::pair<std::string, Shape>>{
          {"[{name: dense, units: 4}, {name: layer_norm}, {name: dense, units: 2}]", {3}},
          {"[{name: conv2d, channels: 4}, {name: conv2d, channels: 4, groups: 2}, {name: conv2d, channels: 4}]",
           {2, 4, 4}},
          {"[{name: conv2d, channels: 4}, {name: residual, channels: 4}, {name: conv2d, channels: 2}]",
           {2, 4, 4}},
          {"[{name: conv2d, channels: 4}, {name: dense, units: 4}]", {2, 4, 4}},
          {"[{name: dense, units: 4}, {name: relu}, {name: dense, units: 2}]", {3, 5}}}) {
    SCOPED_TRACE(blocks);
    const Case c(blocks, input);
    EXPECT_TRUE(FinishedNetwork(c.model, c.input, c.parameters).edges().empty());
  }
}

}  // namespace
}  // namespace rankine
