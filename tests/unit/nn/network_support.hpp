// Networks from a deck's text, and their gradients against differences.
#pragma once

#include <string>

#include "src/deck/node.hpp"
#include "src/nn/network.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine::testing {

/// The network of a list of blocks in YAML, in double.
inline Network network_of(const std::string& blocks, const Shape& input) {
  const DeckNode node = parse_deck_text("precision: double\nblocks: " + blocks + "\n", "test.yaml");
  return read_network(node, input);
}

/// What making it says.
inline std::string refusal_of(const std::string& blocks, const Shape& input) {
  try {
    network_of(blocks, input);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

/// Parameters drawn from the seed, then moved, so that none is at a special value such as 0.
inline ParameterSet moved_parameters(const Network& network, double by = 0.3, std::uint64_t seed = 1) {
  ParameterSet set = network.initial_parameters(seed);
  std::mt19937 rng(17);
  std::uniform_real_distribution<double> uniform(-by, by);
  for (std::int64_t i = 0; i < set.count(); ++i) host_update<double>(set.flat())[i] += uniform(rng);
  return set;
}

/// network(x) as a function of the flat parameters (input 0) and, if real, of x (input 1).
inline std::vector<Tensor> evaluate(const Network& network, const ParameterSet& set, const Tensor& flat,
                                    const Tensor& x, Pass pass) {
  if (!pass.shards) pass.shards = local_tile_sum(x.extent(0));
  return {network.forward(set.with_values(flat).bind(pass.shards), x, pass)};
}

/// Gradients to all parameters, and to x where it is real, against differences.
inline void expect_network_gradient(const Network& network, const Tensor& x, const Pass& pass = {},
                                    double tolerance = 1e-7) {
  const ParameterSet set = moved_parameters(network);
  if (is_differentiable(x.dtype())) {
    expect_gradient([&](const std::vector<Tensor>& in) { return evaluate(network, set, in[0], in[1], pass); },
                    {set.flat(), x}, tolerance);
  } else {
    expect_gradient([&](const std::vector<Tensor>& in) { return evaluate(network, set, in[0], x, pass); },
                    {set.flat()}, tolerance);
  }
}

inline Tensor tokens_of(const std::vector<std::int32_t>& values, const Shape& shape) {
  return Tensor::from(values, shape);
}

inline void expect_same(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.shape().text(), b.shape().text());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

}  // namespace rankine::testing
