// Gates of mixtures and the search over their assignment, against formulas written out for each sample, and
// their gradients against central differences.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/methods/gating/permutation_search.hpp"
#include "src/methods/gating/tree_gates.hpp"
#include "src/nn/network.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;
using Values = std::vector<double>;

constexpr std::int64_t inputs = 3;

/// S of the catalogue, by cases.
double step_function(double z, double g) {
  if (z <= -g / 2) return 0;
  if (z >= g / 2) return 1;
  return -2 * z * z * z / (g * g * g) + 3 * z / (2 * g) + 0.5;
}

class Gates : public ::testing::Test {
 protected:
  std::mt19937 rng{5};

  std::unique_ptr<Gate> make(const std::string& deck, std::int64_t experts) {
    return gates().make(parse_deck_text(deck, "deck.yaml"), {"gate", inputs, experts, DType::f64});
  }
  /// Parameters of a gate, spread wide enough that some steps saturate.
  ParameterSet parameters_of(const GatePart& gate, double low, double high) {
    ParameterSet set(DType::f64);
    gate.add_parameters(set, 1);
    if (set.count() > 0) set.flat().assign(random_tensor({set.count()}, rng, low, high));
    return set;
  }
  /// Weights of x [L, B, inputs], and the gradients of all of them by x and by the parameters.
  void expect_derivatives(const Gate& gate, const ParameterSet& set, const Tensor& x) {
    const Function f = [&](const List& in) {
      SideOutputs side;
      Pass pass{.shards = local_tile_sum(x.extent(0)), .training = true};
      pass.side = &side;
      const Tensor w = gate.weights(set.with_values(in[1]).bind(pass.shards), in[0], pass);
      return side.penalty.defined() ? List{w, side.penalty} : List{w};
    };
    expect_gradient(f, {x, set.flat()}, 1e-6);
  }
};

/// w x + b of output `row`.
double linear(const ParameterSet& set, const std::string& name, std::int64_t row, const double* x) {
  const Values w = set.view(name + ".weight").to_vector(), b = set.view(name + ".bias").to_vector();
  double z = b[static_cast<std::size_t>(row)];
  for (std::int64_t i = 0; i < inputs; ++i) z += w[static_cast<std::size_t>(row * inputs + i)] * x[i];
  return z;
}

TEST_F(Gates, TreesAreProductsAlongTheirPaths) {
  for (const std::int64_t experts : {1, 2, 5, 8}) {
    SCOPED_TRACE(experts);
    const double gamma = 1.5;
    const std::int64_t trees = 2;
    const auto gate = make("{name: comet, trees: 2, gamma: 1.5, entropy: 0.1}", experts);
    const ParameterSet set = parameters_of(*gate, -1, 1);
    const Tensor x = random_tensor({2, 3, inputs}, rng, -1, 1);
    SideOutputs side;
    Pass pass{.shards = local_tile_sum(2)};
    pass.side = &side;
    const Values w = gate->weights(set.bind(pass.shards), x, pass).to_vector(), at = x.to_vector();
    int zeros = 0;
    Values entropy(2);
    for (std::int64_t sample = 0; sample < 6; ++sample) {
      const double* xs = &at[static_cast<std::size_t>(sample * inputs)];
      Values expected(static_cast<std::size_t>(experts));
      double total = 0;
      for (std::int64_t t = 0; t < trees; ++t)
        for (std::int64_t e = 0; e < experts; ++e) {
          // From the leaf up to the root.
          double p = 1;
          for (std::int64_t node = experts - 1 + e; node > 0; node = (node - 1) / 2) {
            const double s =
                step_function(linear(set, "gate.split", t * (experts - 1) + (node - 1) / 2, xs), gamma);
            p *= node % 2 == 1 ? s : 1 - s;
          }
          const double weight = p * std::exp(linear(set, "gate.leaf", t * experts + e, xs));
          expected[static_cast<std::size_t>(e)] += weight;
          total += weight;
          entropy[static_cast<std::size_t>(sample / 3)] -= p * std::log(p + 1e-6) / 3;
        }
      for (std::int64_t e = 0; e < experts; ++e) {
        const double found = w[static_cast<std::size_t>(sample * experts + e)];
        EXPECT_NEAR(found, expected[static_cast<std::size_t>(e)] / total, 1e-14);
        if (expected[static_cast<std::size_t>(e)] > 0) continue;
        EXPECT_EQ(found, 0);
        ++zeros;
      }
    }
    if (experts >= 5) {
      EXPECT_GT(zeros, 0);
    }
    for (const std::size_t shard : {0U, 1U})
      EXPECT_NEAR(side.penalty.to_vector()[shard], 0.1 * entropy[shard], 1e-14);
    expect_derivatives(*gate, set, x);
  }
}

TEST_F(Gates, FreshTreesReachEveryLeaf) {
  const auto gate = make("{name: comet, trees: 2, gamma: 0.1}", 6);
  ParameterSet set(DType::f64);
  gate->add_parameters(set, 4);
  Pass pass{.shards = local_tile_sum(1)};
  const Tensor x = random_tensor({1, 50, inputs}, rng, -3, 3);
  for (const double w : gate->weights(set.bind(pass.shards), x, pass).to_vector()) EXPECT_GT(w, 0);
}

TEST_F(Gates, SelectorsReadBinaryCodes) {
  const auto gate = make("{name: dselect_k, selectors: 2, gamma: 1.5, entropy: 0.1}", 4);
  const ParameterSet set = parameters_of(*gate, -1, 1);
  const Tensor x = random_tensor({1, 4, inputs}, rng, -1, 1);
  Pass pass{.shards = local_tile_sum(1)};
  const Values w = gate->weights(set.bind(pass.shards), x, pass).to_vector(), at = x.to_vector();
  for (std::int64_t sample = 0; sample < 4; ++sample) {
    const double* xs = &at[static_cast<std::size_t>(sample * inputs)];
    const double a = std::exp(linear(set, "gate.mix", 0, xs)), b = std::exp(linear(set, "gate.mix", 1, xs));
    for (std::int64_t e = 0; e < 4; ++e) {
      const auto r = [&](std::int64_t i) {
        const double high = step_function(linear(set, "gate.code", 2 * i, xs), 1.5),
                     low = step_function(linear(set, "gate.code", 2 * i + 1, xs), 1.5);
        return (e / 2 == 0 ? high : 1 - high) * (e % 2 == 0 ? low : 1 - low);
      };
      EXPECT_NEAR(w[static_cast<std::size_t>(4 * sample + e)], (a * r(0) + b * r(1)) / (a + b), 1e-14);
    }
  }
  expect_derivatives(*gate, set, x);
  EXPECT_THROW(make("dselect_k", 6), InputError);
}

TEST_F(Gates, TopKIsTheSoftmaxOfTheLargest) {
  const auto gate = make("{name: top_k, k: 2}", 5);
  const ParameterSet set = parameters_of(*gate, -3, 3);
  const Tensor x = random_tensor({2, 3, inputs}, rng, -1, 1);
  Pass pass{.shards = local_tile_sum(2)};
  const Values w = gate->weights(set.bind(pass.shards), x, pass).to_vector(), at = x.to_vector();
  for (std::int64_t sample = 0; sample < 6; ++sample) {
    Values z;
    for (std::int64_t e = 0; e < 5; ++e)
      z.push_back(linear(set, "gate", e, &at[static_cast<std::size_t>(sample * inputs)]));
    Values sorted = z;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t e = 0; e < 5; ++e)
      EXPECT_NEAR(w[static_cast<std::size_t>(sample * 5) + e],
                  z[e] < sorted[1] ? 0 : std::exp(z[e]) / (std::exp(sorted[0]) + std::exp(sorted[1])), 1e-14);
  }
  expect_derivatives(*gate, set, x);
  EXPECT_THROW(make("{name: top_k, k: 6}", 5), InputError);
  // Of equals the first; and what has no weight may lie as far above as it likes.
  EXPECT_EQ(largest(Tensor::from(Values{1, 2, 2, 2}, {1, 4}), 2).to_vector(), (Values{0, 1, 1, 0}));
  EXPECT_EQ(
      weighted_softmax(Tensor::from(Values{2000, 1, -3000}, {1, 3}), Tensor::from(Values{0, 1, 0}, {1, 3}))
          .to_vector(),
      (Values{0, 1, 0}));
}

TEST_F(Gates, HashesKeepTheirExperts) {
  const auto gate = make("{name: hash, k: 2}", 5);
  const Tensor x = random_tensor({1, 200, inputs}, rng, -1, 1);
  Pass pass{.shards = local_tile_sum(1)};
  for (std::int64_t i = 0; i < 200; ++i) pass.samples.push_back(1000 - i);
  const BoundParameters none = ParameterSet().bind(pass.shards);
  const Values w = gate->weights(none, x, pass).to_vector();
  Values load(5);
  for (std::size_t i = 0; i < w.size(); ++i) load[i % 5] += w[i];
  for (const double l : load) EXPECT_NEAR(l, 40, 20);
  EXPECT_EQ(std::count(w.begin(), w.end(), 0.5), 400);
  // The same ids in another order and another batch.
  Pass other{.shards = local_tile_sum(2)};
  other.samples = {900, 1000};
  const Values again = gate->weights(none, random_tensor({2, 1, inputs}, rng), other).to_vector();
  EXPECT_TRUE(std::equal(again.begin(), again.begin() + 5, w.begin() + 500));
  EXPECT_TRUE(std::equal(again.begin() + 5, again.end(), w.begin()));
}

TEST_F(Gates, SinkhornMakesRowsAndColumnsSumToOne) {
  const Tensor z = random_tensor({2, 4, 4}, rng, -2, 2);
  const Values p = sinkhorn(z, 60).to_vector(), start = z.to_vector();
  for (std::size_t l = 0; l < 2; ++l)
    for (std::size_t i = 0; i < 4; ++i) {
      double row = 0, column = 0;
      for (std::size_t j = 0; j < 4; ++j) row += p[16 * l + 4 * i + j], column += p[16 * l + 4 * j + i];
      EXPECT_NEAR(row, 1, 1e-10);
      EXPECT_NEAR(column, 1, 1e-14);
      // Rows and columns were scaled and nothing else: cross ratios stay.
      const auto cross = [&](const auto& of) { return of(i, 0) + of(0, 1) - of(i, 1) - of(0, 0); };
      EXPECT_NEAR(cross([&](std::size_t r, std::size_t c) { return std::log(p[16 * l + 4 * r + c]); }),
                  cross([&](std::size_t r, std::size_t c) { return start[16 * l + 4 * r + c]; }), 1e-10);
    }
  expect_gradient([](const List& in) { return List{sinkhorn(in[0], 5)}; }, {z}, 1e-7);
}

TEST_F(Gates, TheBestPermutationIsTheBestOfAll) {
  for (const std::size_t n : {1U, 2U, 5U, 6U})
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto extent = static_cast<std::int64_t>(n);
      const Values m = random_tensor({extent, extent}, rng).to_vector();
      std::vector<std::size_t> order(n);
      std::iota(order.begin(), order.end(), 0U);
      const auto value = [&](const std::vector<std::size_t>& columns) {
        double sum = 0;
        for (std::size_t r = 0; r < n; ++r) sum += m[r * n + columns[r]];
        return sum;
      };
      double best = value(order);
      while (std::next_permutation(order.begin(), order.end())) best = std::max(best, value(order));
      std::vector<std::size_t> found = best_permutation(m, n);
      EXPECT_NEAR(value(found), best, 1e-12);
      std::sort(found.begin(), found.end());
      EXPECT_EQ(found, order);  // next_permutation left it in ascending order
    }
}

TEST_F(Gates, TheSearchAnnealsThenFreezes) {
  const auto search = gate_searches().make(
      parse_deck_text(
          "{name: permutation, steps: 10, tau: [0.1, 0.001], sweeps: [5, 40], noise: 0.02, entropy: 1}",
          "deck.yaml"),
      {"search", inputs, 4, DType::f64});
  ParameterSet set(DType::f64);
  search->add_parameters(set, 3);
  const Tensor g = random_tensor({1, 6, 4}, rng, 0, 1), theta = set.view("search.theta").clone();
  const auto assigned = [&](std::int64_t step, bool training, const Tensor& at) {
    SideOutputs side;
    Pass pass{.shards = local_tile_sum(1), .training = training, .seed = 2, .step = step};
    pass.side = &side;
    set.view("search.theta").assign(at);
    const Tensor w = search->assign(set.bind(pass.shards), g, pass);
    return std::pair(w.to_vector(), side.penalty);
  };
  EXPECT_EQ(assigned(0, false, theta).first, g.to_vector());  // the identity, before training
  const auto [soft, penalty] = assigned(0, true, theta);
  EXPECT_GT(penalty.to_vector()[0], 0.1);
  const Values kept = set.view("search.permutation").to_vector();
  const Values expected = sinkhorn(reshape(scale(theta, 10), {1, 4, 4}), 5).to_vector();
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(kept[i], expected[i], 1e-14);
  EXPECT_NE(soft, assigned(0, false, theta).first);  // the noise is for training
  // The gradient by theta, with the noise of the step.
  expect_gradient(
      [&](const List& in) {
        SideOutputs side;
        Pass pass{.shards = local_tile_sum(1), .training = true, .update_statistics = false, .seed = 2};
        pass.side = &side;
        const Tensor w = search->assign(
            set.with_values(concat({in[0], Tensor::zeros({16}, DType::f64)}, 0)).bind(pass.shards), in[1],
            pass);
        return List{w, side.penalty};
      },
      {reshape(theta, {16}), g}, 1e-6);
  const Values before = set.view("search.permutation").to_vector();
  EXPECT_FALSE(assigned(10, true, theta).second.defined());
  const Values hard = set.view("search.permutation").to_vector();
  EXPECT_EQ(std::count(hard.begin(), hard.end(), 1.0), 4);
  EXPECT_EQ(std::count(hard.begin(), hard.end(), 0.0), 12);
  EXPECT_NE(before, hard);
  const Values frozen = assigned(11, true, theta).first;
  EXPECT_EQ(frozen, assigned(500, true, neg(theta)).first);  // theta plays no part any more
  EXPECT_EQ(frozen, assigned(0, false, theta).first);
  Values sums(2);
  for (std::size_t i = 0; i < 24; ++i) sums[0] += frozen[i], sums[1] += g.to_vector()[i];
  EXPECT_NEAR(sums[0], sums[1], 1e-12);
}

/// Output and gradients of a network of one block, by its deck.
List evaluate(const std::string& block, const Tensor& x, std::vector<std::string>* names = nullptr) {
  const Network net =
      read_network(parse_deck_text("precision: float\nblocks: [" + block + "]\n", "deck.yaml"), {inputs});
  const ParameterSet set = net.initial_parameters(9);
  if (names != nullptr)
    for (const ParameterInfo& part : set.parts()) names->push_back(part.name);
  Pass pass{.shards = local_tile_sum(x.extent(0)), .training = true, .seed = 3, .step = 2};
  const BoundParameters bound = set.bind(pass.shards);
  const Tensor in = variable(cast(x, DType::f32)), y = net.forward(bound, in, pass);
  List out = grad({sum(square(y))}, {{}}, {bound.flat(), in});
  out.insert(out.begin(), y.detach());
  return out;
}

TEST_F(Gates, OneExpertHasTheBitsOfItsChain) {
  const std::string blocks =
      "[{name: dense, units: 7}, {name: tanh}, {name: dropout, rate: 0.4}, "
      "{name: dense, units: 2}]";
  const Tensor x = random_tensor({2, 5, inputs}, rng);
  std::vector<std::string> of_chain, of_mixture;
  const List chain = evaluate("{name: chain, blocks: " + blocks + "}", x, &of_chain);
  for (const std::string gate :
       {"softmax", "{name: top_k, k: 1}", "{name: hash, k: 1}", "{name: comet, trees: 1}"}) {
    SCOPED_TRACE(gate);
    of_mixture.clear();
    const List mixture = evaluate("{name: moe, experts: 1, gate: " + gate +
                                      ", search: {name: permutation, steps: 0}, expert: " + blocks + "}",
                                  x, &of_mixture);
    EXPECT_EQ(mixture[0].to_bytes(), chain[0].to_bytes());
    EXPECT_EQ(mixture[2].to_bytes(), chain[2].to_bytes());
    EXPECT_EQ(slice(mixture[1], 0, 0, chain[1].count()).detach().to_bytes(), chain[1].to_bytes());
    of_mixture.resize(of_chain.size());
    EXPECT_EQ(of_mixture, of_chain);
  }
}

TEST_F(Gates, AMixtureIsTheWeightedSumOfItsExperts) {
  const Network net = read_network(
      parse_deck_text(
          "precision: double\nblocks:\n  - {name: moe, experts: 3, gate: {name: comet, entropy: 0.2}, "
          "expert: [{name: dense, units: 4}, {name: tanh}, {name: dense, units: 2}]}\n",
          "deck.yaml"),
      {inputs});
  const ParameterSet set = net.initial_parameters(9);
  const Tensor x = random_tensor({2, 3, inputs}, rng);
  SideOutputs side;
  Pass pass{.shards = local_tile_sum(2)};
  pass.side = &side;
  const Values y = net.forward(set.bind(pass.shards), x, pass).to_vector(), at = x.to_vector(),
               g = side.gates.at("block0").to_vector(), w0 = set.view("block0.0.weight").to_vector(),
               b0 = set.view("block0.0.bias").to_vector(), w2 = set.view("block0.2.weight").to_vector(),
               b2 = set.view("block0.2.bias").to_vector();
  ASSERT_EQ(w0.size(), 36U);
  EXPECT_FALSE(std::equal(w0.begin(), w0.begin() + 12, w0.begin() + 12));  // each is drawn for itself
  for (std::size_t sample = 0; sample < 6; ++sample)
    for (std::size_t o = 0; o < 2; ++o) {
      double expected = 0;
      for (std::size_t e = 0; e < 3; ++e) {
        double f = b2[2 * e + o];
        for (std::size_t h = 0; h < 4; ++h) {
          double z = b0[4 * e + h];
          for (std::size_t i = 0; i < 3; ++i) z += w0[12 * e + 3 * h + i] * at[3 * sample + i];
          f += w2[8 * e + 4 * o + h] * std::tanh(z);
        }
        expected += g[3 * sample + e] * f;
      }
      EXPECT_NEAR(y[2 * sample + o], expected, 1e-14);
    }
  expect_gradient(
      [&](const List& in) {
        SideOutputs asked;
        Pass again{.shards = local_tile_sum(2)};
        again.side = &asked;
        const Tensor out = net.forward(set.with_values(in[1]).bind(again.shards), in[0], again);
        return List{out, asked.penalty};
      },
      {x, set.flat()}, 1e-6);
}

TEST_F(Gates, MixturesRefuseWhatTheyCannotHold) {
  const auto message = [&](const std::string& block) {
    try {
      evaluate(block, random_tensor({1, 2, inputs}, rng));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("{name: moe, experts: 2, expert: [{name: batch_norm}]}"),
              ::testing::HasSubstr("an expert cannot keep statistics of the batch"));
  EXPECT_THAT(message("{name: moe, experts: 2, expert: [{name: moe, expert: [{name: tanh}]}]}"),
              ::testing::HasSubstr("is a mixture itself"));
  EXPECT_THAT(message("{name: moe, experts: 2, expert: [{name: tanh}], gate: {name: top_k, k: 3}}"),
              ::testing::HasSubstr("k = 3 is more than the 2 experts"));
  EXPECT_THAT(
      message("{name: moe, experts: 2, expert: [{name: tanh}], search: {name: permutation, tau: [1, 2, 3]}}"),
      ::testing::HasSubstr("tau: two numbers"));
}

}  // namespace
}  // namespace rankine
