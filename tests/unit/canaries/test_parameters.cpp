// Abilities that families of methods rest on: masks, generated and tied weights, swapped sets, several
// optimisers, replaced gradients.
#include "src/core/random.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/embedding.hpp"
#include "src/optim/optimizer.hpp"
#include "src/tensor/elementary.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using List = std::vector<Tensor>;
using Values = std::vector<double>;

class Parameters : public ::testing::Test {
 protected:
  std::mt19937 rng{22};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

const char* const kNet = "[{name: dense, units: 6}, {name: dense, units: 2}]";

Tensor loss_of(const Network& network, const ParameterSet& set, const Tensor& flat, const Tensor& x) {
  return mean(square(add_scalar(evaluate(network, set, flat, x, {})[0], -0.5)));
}

Tensor gradient_of(const Network& network, const ParameterSet& set, const Tensor& x) {
  const Tensor flat = variable(set.flat());
  return grad({loss_of(network, set, flat, x)}, {}, {flat})[0];
}

TEST_F(Parameters, MaskedWeightsStayZeroUnderAdamAndRestart) {
  const Network network = network_of(kNet, {3});
  const Tensor x = random({1, 4, 3});
  const auto masked_set = [&] {
    ParameterSet set = network.initial_parameters(1);
    ParameterInfo& part = set.parts()[0];
    part.mask = Tensor::full(part.shape, DType::f64, 1);
    for (std::int64_t i = 0; i < part.mask.count(); i += 2) host_update<double>(part.mask)[i] = 0;
    set.project();
    return set;
  };
  const auto steps = [&](ParameterSet& set, Optimizer& optimizer, int count) {
    for (int i = 0; i < count; ++i) optimizer.step(set, gradient_of(network, set, x), 0.01);
  };
  ParameterSet set = masked_set();
  Adam adam({.weight_decay = 0.01});
  StateRegistry registry;
  registry.add("parameters", StateKind::replicated, set.flat());
  adam.register_state(registry, "adam", set);
  steps(set, adam, 5);
  const StateSnapshot saved = registry.save();
  steps(set, adam, 5);

  ParameterSet again = masked_set();
  Adam fresh({.weight_decay = 0.01});
  StateRegistry other;
  other.add("parameters", StateKind::replicated, again.flat());
  fresh.register_state(other, "adam", again);
  other.restore(saved);
  steps(again, fresh, 5);
  EXPECT_EQ(again.flat().to_vector(), set.flat().to_vector());
  const auto weights = set.view("block0.weight").to_vector();
  for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_EQ(weights[i] == 0, i % 2 == 0) << i;
}

TEST_F(Parameters, WeightsGeneratedByAnotherNet) {
  const Network main = network_of(kNet, {3});
  const ParameterSet set = main.initial_parameters(1);
  const Tensor x = random({1, 4, 3}), code = random({1, 1, 2});
  const SharedTileSum shards = local_tile_sum(1);
  // A linear hypernetwork makes the first layer's weight from a code.
  expect_gradient(
      [&](const List& in) {
        BoundParameters bound = set.bind(shards);
        bound.replace("block0.weight", reshape(affine(in[0], in[1]), {1, 6, 3}));
        Pass pass{.shards = shards};
        return List{main.forward(bound, x, pass)};
      },
      {code, random({1, 18, 2})});
}

TEST_F(Parameters, GradientReplacedByAHook) {
  // Feedback alignment: what flows back through the second layer is a fixed matrix instead of its weight.
  const Tensor x = random({5, 3}), feedback = random({2, 4}), error = random({5, 2});
  const Tensor w1 = variable(random({3, 4})), w2 = variable(random({4, 2}));
  const Tensor hidden = tanh(matmul(x, w1));
  on_gradient(hidden, [&](const Tensor&) { return matmul(error, feedback); });
  const List found = grad({matmul(hidden, w2)}, {error}, {w1, w2});
  const Tensor slope = add_scalar(neg(square(hidden.detach())), 1);
  expect_same(found[0], matmul(transpose(x, 0, 1), mul(matmul(error, feedback), slope)), 1e-14);
  expect_same(found[1], matmul(transpose(hidden.detach(), 0, 1), error), 1e-14);
}

TEST_F(Parameters, TwoOptimizersInAnAdversarialStep) {
  // Generator x = g z, discriminator D(x) = tanh(d x): one pass, each net's gradient from its own loss, each
  // with its own optimiser; the other net's values take part but do not move.
  const Tensor z = random({1, 6, 2}), real = random({1, 6, 2}, 0, 1);
  const Network generator = network_of("[{name: dense, units: 2}]", {2}),
                discriminator = network_of("[{name: dense, units: 1}]", {2});
  ParameterSet g = generator.initial_parameters(1), d = discriminator.initial_parameters(2);
  Adam for_g({}), for_d({});
  const auto losses = [&](const Tensor& flat_g, const Tensor& flat_d) {
    const Tensor fake = evaluate(generator, g, flat_g, z, {})[0];
    const auto judge = [&](const Tensor& in) { return tanh(evaluate(discriminator, d, flat_d, in, {})[0]); };
    return List{neg(mean(judge(fake))), sub(mean(judge(fake.detach())), mean(judge(real)))};
  };
  for (int step = 0; step < 3; ++step) {
    const Tensor flat_g = variable(g.flat()), flat_d = variable(d.flat());
    const List both = losses(flat_g, flat_d);
    const Tensor grad_d = grad({both[1]}, {}, {flat_d}, {.retain = true})[0];
    // The discriminator's loss sees the fake samples as data.
    for (const double value : grad({both[1]}, {}, {flat_g}, {.retain = true})[0].to_vector())
      EXPECT_EQ(value, 0);
    const Tensor grad_g = grad({both[0]}, {}, {flat_g})[0];
    // Against losses of one net alone, the other's values being constants.
    expect_gradient([&](const List& in) { return List{losses(in[0], d.flat())[0]}; }, {g.flat().clone()});
    const auto before_g = g.flat().to_vector(), before_d = d.flat().to_vector();
    for_d.step(d, grad_d, 0.05);
    EXPECT_EQ(g.flat().to_vector(), before_g);
    EXPECT_NE(d.flat().to_vector(), before_d);
    for_g.step(g, grad_g, 0.05);
    EXPECT_NE(g.flat().to_vector(), before_g);
  }
}

TEST_F(Parameters, TiedEmbeddingHasTheSumOfBothGradients) {
  const Network tied = network_of(
      "[{name: embedding, vocabulary: 7, units: 3}, {name: dense, units: 3}, {name: tied_head, vocabulary: "
      "7}]",
      {4});
  const Network free = network_of(
      "[{name: embedding, vocabulary: 7, units: 3}, {name: dense, units: 3}, {name: dense, units: 7, bias: "
      "false}]",
      {4});
  const ParameterSet a = moved_parameters(tied);
  ParameterSet b = free.initial_parameters(1);
  for (const char* name : {"block0.weight", "block1.weight", "block1.bias"})
    b.view(name).assign(a.view(name));
  b.view("block2.weight").assign(a.view("block0.weight"));
  const Tensor x = tokens_of({1, 6, 0, 1, 3, 3, 2, 5}, {1, 2, 4}), seed = random({1, 2, 4, 7});
  const Tensor flat_a = variable(a.flat()), flat_b = variable(b.flat());
  const Tensor y = evaluate(tied, a, flat_a, x, {})[0], z = evaluate(free, b, flat_b, x, {})[0];
  expect_same(y, z, 1e-15);
  const ParameterSet ga = a.with_values(grad({y}, {seed}, {flat_a})[0]),
                     gb = b.with_values(grad({z}, {seed}, {flat_b})[0]);
  expect_same(ga.view("block0.weight"), add(gb.view("block0.weight"), gb.view("block2.weight")), 1e-14);
}

TEST_F(Parameters, SwappedSetsLeaveTheBitsUnchanged) {
  const Network network = network_of(kNet, {3});
  const Tensor x = random({1, 4, 3});
  ParameterSet plain = network.initial_parameters(1), swapped = network.initial_parameters(1);
  Adam a({}), b({});
  ParameterSet average = swapped.clone();
  for (int step = 0; step < 6; ++step) {
    a.step(plain, gradient_of(network, plain, x), 0.02);

    // Evaluation with the running average in place of the weights, and back.
    const Tensor kept = swapped.flat().clone();
    swapped.flat().assign(average.flat());
    loss_of(network, swapped, swapped.flat(), x);
    swapped.flat().assign(kept);
    // Sharpness-aware minimisation moves to the worst point nearby, takes a gradient there, and moves back.
    const Tensor here = gradient_of(network, swapped, x);
    const double norm = std::sqrt(dot(here, here).item());
    swapped.flat().assign(add(swapped.flat(), scale(here, 0.05 / norm)));
    const Tensor there = gradient_of(network, swapped, x);
    EXPECT_NE(there.to_vector(), here.to_vector());
    swapped.flat().assign(kept);
    b.step(swapped, gradient_of(network, swapped, x), 0.02);
    average.flat().assign(add(scale(average.flat(), 0.9), scale(swapped.flat(), 0.1)));
    ASSERT_EQ(plain.flat().to_vector(), swapped.flat().to_vector());
  }
  EXPECT_NE(average.flat().to_vector(), swapped.flat().to_vector());
}

TEST_F(Parameters, StraightThroughAndQuantisedWeights) {
  // Raw weights are trained, effective ones are used: binary in the first layer, on a grid in the second.
  const Network network =
      network_of("[{name: dense, units: 6, bias: false}, {name: dense, units: 2, bias: false}]", {3});
  const ParameterSet set = moved_parameters(network, 0.5);
  const Tensor x = random({1, 4, 3}), seed = random({1, 4, 2});
  const SharedTileSum shards = local_tile_sum(1);
  const auto run = [&](const Tensor& flat, bool effective) {
    BoundParameters bound = set.with_values(flat).bind(shards);
    if (effective) {
      const Tensor raw = bound["block0.weight"];
      bound.replace("block0.weight", straight_through(raw, sign(raw)));
      bound.replace("block1.weight", fake_quantise(bound["block1.weight"], 0.25, -8, 7));
    }
    Pass pass{.shards = shards};
    return network.forward(bound, x, pass);
  };
  const Tensor raw = variable(set.flat());
  const Tensor found = grad({run(raw, true)}, {seed}, {raw})[0];
  // The same as the gradient at the effective values, taken as free ones.
  ParameterSet replaced = set.clone();
  for (const char* name : {"block0.weight", "block1.weight"}) {
    const Tensor view = replaced.view(name);
    const bool binary = std::string(name) == "block0.weight";
    view.assign(binary ? sign(view) : fake_quantise(view, 0.25, -8, 7));
  }
  const Tensor values = variable(replaced.flat());
  const Tensor expected = grad({run(values, false)}, {seed}, {values})[0];
  expect_same(found, expected, 1e-14);
}

// Each sample's numbers follow from its id alone, so dealing samples to ranks in any way gives the same.
TEST_F(Parameters, GammaSamplerIsIndependentOfRanks) {
  const RandomStream stream(5, "gamma");
  const std::int64_t samples = 24;
  const auto drawn_by = [&](std::int64_t ranks) {
    Values all(static_cast<std::size_t>(samples));
    for (std::int64_t rank = ranks - 1; rank >= 0; --rank)
      for (std::int64_t id = samples * rank / ranks; id < samples * (rank + 1) / ranks; ++id)
        all[static_cast<std::size_t>(id)] = stream.gamma(0.7, 3, id, 2);
    return all;
  };
  for (const std::int64_t ranks : {2, 3, 4}) EXPECT_EQ(drawn_by(ranks), drawn_by(1));
  // Mean and variance are the shape; the standard error of the mean of n is sqrt(shape / n).
  const int n = 40000;
  for (const double shape : {0.3, 1.0, 2.5, 30.0}) {
    double total = 0, squares = 0, logs = 0;
    for (int i = 0; i < n; ++i) {
      const double x = stream.gamma(shape, 0, 1, i);
      ASSERT_GT(x, 0);
      total += x;
      squares += (x - shape) * (x - shape);
      logs += std::log(x);
    }
    EXPECT_NEAR(total / n, shape, 5 * std::sqrt(shape / n)) << shape;
    // Fourth central moment: 3 shape^2 + 6 shape.
    EXPECT_NEAR(squares / n, shape, 5 * std::sqrt((2 * shape * shape + 6 * shape) / n)) << shape;
    // E log x is the digamma function, here by a difference of lgamma; its variance by a second one.
    const double h = 1e-4;
    const double digamma = (std::lgamma(shape + h) - std::lgamma(shape - h)) / (2 * h);
    const double trigamma =
        (std::lgamma(shape + h) - 2 * std::lgamma(shape) + std::lgamma(shape - h)) / (h * h);
    EXPECT_NEAR(logs / n, digamma, 5 * std::sqrt(trigamma / n) + 1e-4) << shape;
  }
}

}  // namespace
}  // namespace rankine
