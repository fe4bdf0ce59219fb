// Weights that are expressions of several parameters: what a network computes with them, and what it refuses.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using testing::expect_network_gradient;
using ::testing::HasSubstr;
using testing::moved_parameters;
using testing::network_of;
using testing::refusal_of;

constexpr const char* kBlocks =
    "[{name: dense, units: 6}, {name: layer_norm}, {name: gelu}, {name: dense, units: 5}]";

std::string with(const std::string& items) { return std::string(kBlocks) + "\nparametrise: " + items; }

Tensor drawn(const Shape& shape) {
  std::mt19937 rng(5);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (double& v : values) v = uniform(rng);
  return Tensor::from(values, shape);
}

std::vector<double> output(const Network& network, const ParameterSet& set, const Tensor& x) {
  Pass pass{.shards = local_tile_sum(x.extent(0))};
  return network.forward(set.bind(pass.shards), x, pass).to_vector();
}

TEST(LowRank, GradientsAreDifferences) {
  expect_network_gradient(network_of(with("[{as: low_rank, rank: 2, scale: 0.7}]"), {4}), drawn({2, 3, 4}));
}

TEST(LowRank, AFreshNetworkHasThePlainNetworksBits) {
  const Network plain = network_of(kBlocks, {4}), low = network_of(with("[{as: low_rank, rank: 3}]"), {4});
  const ParameterSet of_plain = plain.initial_parameters(3), of_low = low.initial_parameters(3);
  for (const ParameterInfo& part : of_plain.parts())
    EXPECT_EQ(of_low.view(part.name).to_vector(), of_plain.view(part).to_vector()) << part.name;
  const Tensor x = drawn({2, 3, 4});
  EXPECT_EQ(output(low, of_low, x), output(plain, of_plain, x));
  const Network none = network_of(with("[]"), {4});
  EXPECT_EQ(none.initial_parameters(3).count(), of_plain.count());
}

TEST(LowRank, AddsTheProductToTheMatrix) {
  const Network plain = network_of(kBlocks, {4}),
                low = network_of(with("[{as: low_rank, rank: 2, scale: 0.5, except: [block0*]}]"), {4});
  const ParameterSet of_low = moved_parameters(low);
  const ParameterSet of_plain = plain.initial_parameters(1);
  for (const ParameterInfo& part : of_plain.parts()) of_plain.view(part).assign(of_low.view(part.name));
  const std::vector<double> b = of_low.view("block3.weight.low_rank.out").to_vector(),
                            a = of_low.view("block3.weight.low_rank.in").to_vector();
  const Tensor weight = of_plain.view("block3.weight");
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 6; ++j)
      for (std::size_t r = 0; r < 2; ++r)
        host_update<double>(weight)[static_cast<std::int64_t>(6 * i + j)] +=
            0.5 * b[2 * i + r] * a[6 * r + j];
  const Tensor x = drawn({1, 3, 4});
  const std::vector<double> expected = output(plain, of_plain, x), found = output(low, of_low, x);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-13) << i;
}

TEST(LowRank, TrainsTheUpdateOfMatricesAlone) {
  const Network network = network_of(with("[{as: low_rank, rank: 2}]"), {4});
  std::vector<std::string> trained;
  const ParameterSet set = network.initial_parameters(0);
  for (const ParameterInfo& part : set.parts()) {
    if (!part.frozen) trained.push_back(part.name);
    EXPECT_EQ(network.added(part.name), part.name.find("low_rank") != std::string::npos) << part.name;
  }
  EXPECT_THAT(trained,
              ::testing::ElementsAre("block0.bias", "block0.weight.low_rank.out", "block0.weight.low_rank.in",
                                     "block1.weight", "block1.bias", "block3.bias",
                                     "block3.weight.low_rank.out", "block3.weight.low_rank.in"));
}

TEST(Parametrise, SaysWhatDoesNotFit) {
  const auto refusal = [](const std::string& items) { return refusal_of(with(items), {4}); };
  EXPECT_THAT(refusal("[{as: low_rank, rank: 5}]"), HasSubstr("choose at most 4"));
  EXPECT_THAT(refusal("[{as: low_rank, on: [block1.weight]}]"),
              HasSubstr("these can: block0.weight, block3.weight"));
  EXPECT_THAT(refusal("[{as: low_rank, rank: 2}, {as: low_rank, on: [block3*], rank: 2}]"),
              HasSubstr("another item of `parametrise` names block3.weight"));
  EXPECT_THAT(refusal("[{as: high_rank}]"), HasSubstr("high_rank"));
  EXPECT_THAT(refusal("[{as: low_rank, ranks: 2}]"), HasSubstr("ranks"));
  EXPECT_THAT(refusal("{as: low_rank}"), HasSubstr("must be a list"));
}

}  // namespace
}  // namespace rankine
