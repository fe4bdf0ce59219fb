// What tests of learning rules train: a network in double precision and a batch on two shards of one rank.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "src/core/random.hpp"
#include "src/rules/learning_rule.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine::testing {

/// A network from the text of its list of blocks.
inline Network network_from(const std::string& blocks, const Shape& input) {
  return Network(parse_deck_text("blocks: " + blocks, "deck").child("blocks").items(), input, DType::f64);
}

inline constexpr std::int64_t rule_shards = 2;

struct RuleProblem {
  RuleProblem(const std::string& blocks, const Shape& input)
      : network(network_from(blocks, input)), parameters(network.initial_parameters(3)) {
    pass.shards = tiles;
    pass.training = true;
  }
  RuleSetup setup() const {
    return {.communicator = communicator,
            .shards = tiles,
            .shard_count = rule_shards,
            .seed = 1,
            .network = &network,
            .inputs = batch.inputs.defined() ? batch.inputs.dtype() : DType::f64,
            .loss = &loss};
  }
  /// Integers from 0 to `end` - 1, of stream `which`.
  Tensor drawn_integers(const Shape& shape, std::int64_t end, std::int64_t which) const {
    const Tensor x = Tensor::empty(shape, DType::i32);
    for (std::int64_t i = 0; i < x.count(); ++i)
      host_update<std::int32_t>(x)[i] = static_cast<std::int32_t>(random.integer(end, 0, which, i));
    return x;
  }

  RandomStream random{5, "test"};
  Communicator communicator = Communicator::self();
  Network network;
  CrossEntropy loss{CrossEntropy::Options{}};
  SharedTileSum tiles = local_tile_sum(rule_shards);
  ParameterSet parameters;
  NetworkBatch batch;
  Pass pass;
};

/// The largest |a[i]|.
inline double largest(const std::vector<double>& a) {
  double m = 0;
  for (const double v : a) m = std::max(m, std::abs(v));
  return m;
}

/// The largest |a[i] - b[i]|.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double m = 0;
  for (std::size_t i = 0; i < a.size(); ++i) m = std::max(m, std::abs(a[i] - b[i]));
  return m;
}

}  // namespace rankine::testing
