// Static counts against formulas of their own, and the inputs of weights against plain loops.
#include <cmath>

#include <gmock/gmock.h>

#include "src/nn/counts.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/input_statistics.hpp"
#include "src/nn/synaptic_flow.hpp"
#include "src/tensor/elementary.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using testing::network_of;
using testing::random_tensor;

Counts all_of(const std::string& blocks, const Shape& input, std::int64_t edges = 0,
              const KeptEntries& kept = {}) {
  const Network network = network_of(blocks, input);
  return count_network(network, network.initial_parameters(0), kept, edges).back();
}

double multiply_adds(const std::string& blocks, const Shape& input, std::int64_t edges = 0) {
  return all_of(blocks, input, edges).forward_multiply_adds;
}

/// Outputs of a convolution with zeros around the input, along one axis, one by one.
int places(int size, int kernel, int stride, int padding, int dilation) {
  int count = 0;
  for (int at = -padding; at + dilation * (kernel - 1) < size + padding; at += stride) ++count;
  return count;
}

TEST(Counts, MultiplyAddsOfLayers) {
  EXPECT_EQ(multiply_adds("[{name: dense, units: 7}]", {5}), 5 * 7);
  EXPECT_EQ(multiply_adds("[{name: dense, units: 7}]", {3, 5}), 3 * 5 * 7);
  EXPECT_EQ(multiply_adds("[{name: conv2d, channels: 6, kernel: 3, stride: 2, padding: '1', groups: 2}]",
                          {4, 9, 7}),
            places(9, 3, 2, 1, 1) * places(7, 3, 2, 1, 1) * 6 * (4 / 2) * 3 * 3);
  EXPECT_EQ(multiply_adds("[{name: conv2d, depthwise: true, padding: valid}]", {4, 9, 7}),
            places(9, 3, 1, 0, 1) * places(7, 3, 1, 0, 1) * 4 * 3 * 3);
  EXPECT_EQ(multiply_adds("[{name: conv1d, channels: 6, kernel: 3, dilation: 2, padding: valid}]", {4, 9}),
            places(9, 3, 1, 0, 2) * 6 * 4 * 3);
  // Each input is spread over a kernel.
  EXPECT_EQ(multiply_adds("[{name: conv_transpose2d, channels: 6, stride: 2}]", {4, 3, 5}),
            3 * 5 * 4 * 6 * 3 * 3);
  EXPECT_EQ(multiply_adds("[{name: conv_transpose1d, channels: 6, groups: 2}]", {4, 5}), 5 * 4 * 3 * 3);
  EXPECT_EQ(multiply_adds("[{name: residual, channels: 6, stride: 2}]", {4, 8, 8}),
            4 * 4 * (6 * 4 * 9 + 6 * 6 * 9 + 6 * 4));
  EXPECT_EQ(multiply_adds("[{name: residual, channels: 4}]", {4, 8, 8}), 8 * 8 * 2 * 4 * 4 * 9);
  EXPECT_EQ(multiply_adds("[{name: skip, blocks: [{name: dense, units: 5}, {name: relu}]}]", {5}), 5 * 5);
  for (const auto& [cell, gates] : {std::pair("rnn", 1), {"lstm", 4}, {"gru", 3}})
    EXPECT_EQ(multiply_adds(std::string("[{name: ") + cell + ", units: 6, outputs: last}]", {4, 5}),
              4 * gates * 6 * (5 + 6))
        << cell;
  for (const char* none : {"batch_norm", "layer_norm", "rms_norm", "relu", "max_pool", "average_pool",
                           "global_average_pool", "upsample", "dropout", "flatten"})
    EXPECT_EQ(multiply_adds(std::string("[{name: ") + none + "}]", {4, 6, 6}), 0) << none;
}

TEST(Counts, MultiplyAddsOfAttention) {
  const double T = 5, D = 6;
  double pairs = 0;  // of a query and a key that it sees
  for (int query = 0; query < T; ++query)
    for (int key = 0; key <= query; ++key) ++pairs;
  const double linear = T * 4 * D * D;
  EXPECT_EQ(multiply_adds("[{name: attention, heads: 2}]", {5, 6}), linear + 2 * pairs * D);
  EXPECT_EQ(multiply_adds("[{name: attention, heads: 2, causal: false}]", {5, 6}), linear + 2 * T * T * D);
  const double block = linear + 2 * pairs * D;
  EXPECT_EQ(multiply_adds("[{name: transformer, heads: 2}]", {5, 6}), block + T * 2 * D * 4 * D);
  EXPECT_EQ(multiply_adds("[{name: transformer, heads: 2, hidden: 7, gated: true}]", {5, 6}),
            block + T * 3 * D * 7);
  EXPECT_EQ(multiply_adds("[{name: transformer, heads: 2, lora_rank: 2}]", {5, 6}),
            block + T * 2 * D * 4 * D);
  EXPECT_EQ(
      multiply_adds("[{name: embedding, vocabulary: 9, units: 4}, {name: tied_head, vocabulary: 9}]", {5}),
      T * 4 * 9);
}

TEST(Counts, MultiplyAddsOfGraphsAndMixtures) {
  // The product with the graph comes after the weight where that narrows.
  EXPECT_EQ(multiply_adds("[{name: graph_conv, units: 3}]", {8, 5}, 20), 8 * 5 * 3 + 20 * 3);
  EXPECT_EQ(multiply_adds("[{name: graph_conv, units: 7}]", {8, 5}, 20), 8 * 5 * 7 + 20 * 5);
  EXPECT_EQ(multiply_adds("[{name: graph_attention, units: 3, heads: 2}]", {8, 5}, 20),
            8 * (5 * 6 + 6 + 6) + 20 * 6);
  const std::string expert = "expert: [{name: dense, units: 7}]";
  EXPECT_EQ(multiply_adds("[{name: moe, experts: 4, " + expert + "}]", {5}), 4 * 5 * 7 + 4 * 5 + 4 * 7);
  EXPECT_EQ(multiply_adds("[{name: moe, experts: 4, gate: hash, " + expert + "}]", {5}), 4 * 5 * 7 + 4 * 7);
  EXPECT_EQ(multiply_adds("[{name: moe, experts: 4, gate: {name: comet, trees: 2}, " + expert + "}]", {5}),
            4 * 5 * 7 + 4 * 7 + 2 * 3 * 5 + 2 * 4 * 5);
  EXPECT_EQ(
      multiply_adds("[{name: moe, experts: 4, gate: {name: dselect_k, selectors: 2}, " + expert + "}]", {5}),
      4 * 5 * 7 + 4 * 7 + 2 * 2 * 5 + 2 * 5);
  EXPECT_EQ(multiply_adds("[{name: moe, experts: 4, search: permutation, " + expert + "}]", {5}),
            4 * 5 * 7 + 4 * 5 + 4 * 7 + 4 * 4);
}

TEST(Counts, MasksFrozenPartsAndBytes) {
  const std::string blocks = "[{name: dense, units: 7}, {name: batch_norm}, {name: dense, units: 3}]";
  const Counts dense = all_of(blocks, {5});
  EXPECT_EQ(dense.parameters, 5 * 7 + 7 + 2 * 7 + 7 * 3 + 3);
  EXPECT_EQ(dense.nonzeros, dense.parameters);
  EXPECT_EQ(dense.parameter_bytes, 8 * (dense.parameters + 2 * 7));  // and the running moments
  const Counts sparse = all_of(blocks, {5}, 0, {{"block0.weight", 11}});
  EXPECT_EQ(sparse.parameters, dense.parameters);
  EXPECT_EQ(sparse.nonzeros, dense.nonzeros - 35 + 11);
  EXPECT_EQ(sparse.forward_multiply_adds, 11 + 7 * 3);
  EXPECT_EQ(sparse.parameter_bytes, dense.parameter_bytes - 8 * (35 - 11) + 5);  // 35 bits
  // A mask of ones is not stored.
  EXPECT_EQ(all_of(blocks, {5}, 0, {{"block0.weight", 35}}).parameter_bytes, dense.parameter_bytes);
  const Network network = network_of(blocks, {5});
  const std::vector<Counts> each = count_network(network, network.initial_parameters(0), {}, 0);
  ASSERT_EQ(each.size(), 4u);
  EXPECT_EQ(each[1].name, "block1");
  EXPECT_EQ(each[1].parameters, 14);
  EXPECT_EQ(each[1].forward_multiply_adds, 0);
  EXPECT_EQ(each[3].name, "all");
}

TEST(InputStatistics, MomentsAreThoseOfPlainLoops) {
  std::mt19937 rng(5);
  const Tensor x = random_tensor({2, 3, 4, 5}, rng, -1, 2);  // features along axis 2
  InputStatistics statistics;
  statistics.see("w", x, 2);
  statistics.see("w", x, 2);
  const InputMoments& moments = *statistics.find("w");
  const std::vector<double> values = x.to_vector();
  for (std::size_t c = 0; c < 4; ++c) {
    double sum = 0, squares = 0, spread = 0;
    const auto each = [&](const auto& f) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (i / 5 % 4 == c) f(values[i]);
    };
    each([&](double v) { sum += v, squares += v * v; });
    each([&](double v) { spread += (v - sum / 30) * (v - sum / 30); });
    EXPECT_EQ(moments.count, 60);
    EXPECT_NEAR(moments.mean(c), sum / 30, 1e-14);
    EXPECT_NEAR(moments.variance(c), spread / 30, 1e-14);
    EXPECT_NEAR(moments.norm(c), std::sqrt(2 * squares), 1e-13);
  }
  EXPECT_EQ(statistics.find("v"), nullptr);
}

// d output / d weight entry is the input that the entry multiplies, summed over what it is summed over: the
// input of one position, where there is one only.
TEST(InputStatistics, FeaturesAreThoseThatEntriesMultiply) {
  const std::vector<std::pair<std::string, Shape>> cases{
      {"{name: dense, units: 3}", {4}},
      {"{name: conv2d, channels: 6, kernel: 1, groups: 2}", {4, 1, 1}},
      {"{name: conv2d, channels: 2, kernel: 3, padding: valid}", {4, 3, 3}},
      {"{name: conv_transpose2d, channels: 3, kernel: 2, padding: valid}", {4, 1, 1}},
      {"{name: graph_conv, units: 3}", {1, 4}}};
  std::mt19937 rng(5);
  for (const auto& [block, input] : cases) {
    SCOPED_TRACE(block);
    const Network network = network_of("[" + block + "]", input);
    const ParameterSet set = network.initial_parameters(1);
    Shape shape = input;
    shape.insert(0, 1);
    shape.insert(0, 1);
    Tensor x = random_tensor(shape, rng);
    const bool kernel = input.rank() == 3 && input[1] > 1;
    if (kernel) {  // one value a channel
      Shape one = shape;
      one[3] = one[4] = 1;
      x = contiguous(expand(random_tensor(one, rng), shape));
    }
    InputStatistics statistics;
    Pass pass{.shards = local_tile_sum(1)};
    pass.inputs = &statistics;
    if (block.find("graph") != std::string::npos)
      pass.graph = std::make_shared<Graph>(normalised_graph(1, {}, DType::f64));
    const BoundParameters bound = set.bind(pass.shards);
    const Tensor y = sum(network.forward(bound, x, pass));
    const ParameterInfo& weight = set.part("block0.weight");
    const std::vector<double> slope = grad({y}, {Tensor::full(y.shape(), DType::f64, 1)}, {bound.flat()})
                                          .front()
                                          .view(weight.shape, row_major_strides(weight.shape), weight.offset)
                                          .to_vector();
    const InputMoments& moments = *statistics.find("block0.weight");
    const std::vector<std::size_t> features = moments.features(weight.shape);
    ASSERT_EQ(features.size(), slope.size());
    for (std::size_t i = 0; i < slope.size(); ++i)
      EXPECT_NEAR(slope[i], moments.mean(features[i]), 1e-14) << i;
  }
}

TEST(InputStatistics, EachWeightOfALayerIsSeen) {
  const std::vector<std::pair<std::string, Shape>> cases{
      {"[{name: transformer, heads: 2, gated: true}]", {3, 4}},
      {"[{name: lstm, units: 3}, {name: dense, units: 2}]", {3, 4}},
      {"[{name: residual, channels: 6, stride: 2}, {name: flatten}, {name: dense, units: 2}]", {4, 4, 4}}};
  std::mt19937 rng(5);
  for (const auto& [blocks, input] : cases) {
    SCOPED_TRACE(blocks);
    const Network network = network_of(blocks, input);
    Shape shape = input;
    shape.insert(0, 5);
    shape.insert(0, 1);
    InputStatistics statistics;
    Pass pass{.shards = local_tile_sum(1)};
    pass.inputs = &statistics;
    network.forward(network.initial_parameters(1).bind(pass.shards), random_tensor(shape, rng), pass);
    for (const auto& [weight, times] : network.products().weights) {
      EXPECT_NE(statistics.find(weight), nullptr) << weight;
    }
  }
  // A recurrent weight meets the state before each step: zeros, then all but the last.
  const Network lstm = network_of("[{name: lstm, units: 3}]", {3, 4});
  InputStatistics statistics;
  Pass pass{.shards = local_tile_sum(1)};
  pass.inputs = &statistics;
  const Tensor hidden =
      lstm.forward(lstm.initial_parameters(1).bind(pass.shards), random_tensor({1, 5, 3, 4}, rng), pass);
  const std::vector<double> sums = sum(slice(hidden, 2, 0, 2), {0, 1, 2}).to_vector();
  for (std::size_t u = 0; u < 3; ++u)
    EXPECT_NEAR(statistics.find("block0.recurrent.weight")->mean(u), sums[u] / 15, 1e-14);
}

// With neither biases nor norms, what flows into a unit flows out of it: the scores |w| dR/d|w| of all layers
// have the same sum, R, and those of a unit's inputs that of its outputs (Tanaka et al., theorems 1 and 2).
TEST(SynapticFlow, IsConserved) {
  const Network network = network_of(
      "[{name: dense, units: 7, bias: false}, {name: relu}, {name: dense, units: 6, bias: false}, {name: relu}, "
      "{name: dense, units: 3, bias: false}]",
      {5});
  const ParameterSet set = network.initial_parameters(4);
  const std::vector<double> slope = synaptic_flow(network, set, nullptr).to_vector(),
                            weights = set.flat().to_vector();
  const auto score = [&](const char* part, std::int64_t i) {
    const auto at = static_cast<std::size_t>(set.part(part).offset + i);
    return std::abs(weights[at]) * slope[at];
  };
  double total = 0;
  for (std::int64_t unit = 0; unit < 7; ++unit) {
    double in = 0, out = 0;
    for (std::int64_t i = 0; i < 5; ++i) in += score("block0.weight", unit * 5 + i);
    for (std::int64_t o = 0; o < 6; ++o) out += score("block2.weight", o * 7 + unit);
    EXPECT_NEAR(in, out, 1e-14);
    total += in;
  }
  double last = 0;
  for (std::int64_t i = 0; i < 18; ++i) last += score("block4.weight", i);
  EXPECT_NEAR(total, last, 1e-13);
  Pass pass{.shards = local_tile_sum(1)};
  const ParameterSet sizes = set.with_values(abs(set.flat()));
  const std::vector<double> y =
      network.forward(sizes.bind(pass.shards), Tensor::full({1, 1, 5}, DType::f64, 1), pass).to_vector();
  EXPECT_NEAR(total, y[0] + y[1] + y[2], 1e-13);
}

}  // namespace
}  // namespace rankine
