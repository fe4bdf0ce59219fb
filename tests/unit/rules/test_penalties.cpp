// Weighted sums of losses and penalties against their formulas.
#include <cmath>

#include <gmock/gmock.h>

#include "src/nn/loss.hpp"
#include "src/rules/penalties.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using ::testing::HasSubstr;

DeckNode train(const std::string& text) {
  return parse_deck_text("train: {" + text + "}", "test.yaml").child("train");
}

template <class F>
std::string refusal(const F& make) {
  try {
    make();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

ParameterSet three_parts() {
  ParameterSet set;
  set.add({.name = "a.weight", .shape = {2}});
  set.add({.name = "a.bias", .shape = {1}});
  set.add({.name = "b.weight", .shape = {2, 1}});
  set.add({.name = "b.mean", .shape = {1}, .frozen = true});
  set.flat().assign(Tensor::from(std::vector<double>{1, -2, 3, 0.5, -4, 9}, {6}));
  return set;
}

TEST(Penalties, AreWeightedSumsOverPatterns) {
  const ParameterSet set = three_parts();
  const Penalties list(
      train("penalties: [{name: l1, on: '*.weight', weight: 0.1}, {name: l2, on: 'a*', weight: 2,"
            " schedule: {name: steps, at: [50%], factor: 0.5}}, {name: l1, weight: 0}]"),
      set);
  const SharedTileSum tiles = local_tile_sum(3);
  const double l1 = 1 + 2 + 0.5 + 4, l2 = (1 + 4 + 9) / 2.0;
  for (const auto& [step, factor] : {std::pair{4, 1.0}, std::pair{5, 0.5}}) {
    const Tensor value = list.of(set.bind(tiles), step, 10);
    EXPECT_EQ(value.shape().text(), Shape({3}).text());
    for (const double v : value.to_vector()) EXPECT_NEAR(v, 0.1 * l1 + 2 * factor * l2, 1e-14);
  }
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) {
        return std::vector<Tensor>{list.of(set.with_values(in[0]).bind(tiles), 4, 10)};
      },
      {set.flat()}, 1e-8);
  EXPECT_TRUE(Penalties(train("penalties: [{name: l1, weight: 0}]"), set).none());
  EXPECT_TRUE(Penalties(train("penalties: []"), set).none());
  EXPECT_THAT(refusal([&] { Penalties(train("penalties: [{name: l1, on: b.mean, weight: 1}]"), set); }),
              HasSubstr("'b.mean' fits no parameter that is trained"));
  EXPECT_THAT(refusal([&] { Penalties(train("penalties: [{name: l1}]"), set); }), HasSubstr("weight"));
}

TEST(Penalties, DivergenceOfGaussianWeightsFromTheirPrior) {
  ParameterSet set;
  set.add({.name = "w", .shape = {3}, .mask = Tensor::from(std::vector<double>{1, 0, 1}, {3})});
  set.add({.name = "w.gaussian.log_variance", .shape = {3}});
  set.flat().assign(Tensor::from(std::vector<double>{0.4, 0, -1.2, -2, -1, 0.5}, {6}));
  const Penalties list(train("penalties: [{name: gaussian_kl, weight: 0.5, prior: 0.7}]"), set);
  // The integral of q log(q / p) over a fine grid, of the weights that are there.
  double expected = 0;
  for (const auto& [m, v] : {std::pair{0.4, -2.0}, std::pair{-1.2, 0.5}}) {
    const double s = std::exp(v / 2), h = s / 100;
    for (double x = m - 12 * s; x <= m + 12 * s; x += h) {
      const double q = -0.5 * (x - m) * (x - m) / (s * s) - std::log(s),
                   p = -0.5 * x * x / 0.49 - std::log(0.7);
      expected += h * std::exp(q) / std::sqrt(2 * std::acos(-1.0)) * (q - p);
    }
  }
  const SharedTileSum tiles = local_tile_sum(2);
  for (const double value : list.of(set.bind(tiles), 0, 1).to_vector())
    EXPECT_NEAR(value, 0.5 * expected, 1e-9);
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) {
        return std::vector<Tensor>{list.of(set.with_values(in[0]).bind(tiles), 0, 1)};
      },
      {set.flat()}, 1e-8);
  EXPECT_THAT(
      refusal([&] { Penalties(train("penalties: [{name: gaussian_kl, weight: 1}]"), three_parts()); }),
      HasSubstr("'*' fits no parameter that is trained and that this penalty is of"));
}

TEST(LossSum, IsAWeightedSumOfItsTerms) {
  std::mt19937 rng(3);
  const Tensor scores = testing::random_tensor({2, 3, 4}, rng, -2, 2);
  const Tensor labels = Tensor::from(std::vector<std::int32_t>{0, 3, 2, 1, 1, 0}, {2, 3});
  const auto loss = read_loss(
      train("loss: [{name: cross_entropy, smoothing: 0.1}, {name: entropy, negative: true, weight: 0.5},"
            " {name: mean_squared_error, weight: 0}]"),
      "cross_entropy");
  const auto sums = loss->per_sample(scores, labels, 2).to_vector(),
             first = CrossEntropy({.smoothing = 0.1}).per_sample(scores, labels, 2).to_vector(),
             x = scores.to_vector();
  for (std::size_t i = 0; i < 6; ++i) {
    double total = 0, entropy = 0;
    for (std::size_t c = 0; c < 4; ++c) total += std::exp(x[4 * i + c]);
    for (std::size_t c = 0; c < 4; ++c)
      entropy -= std::exp(x[4 * i + c]) / total * (x[4 * i + c] - std::log(total));
    EXPECT_NEAR(sums[i], first[i] - 0.5 * entropy, 1e-14);
  }
  EXPECT_EQ(loss->scores().front().first, "accuracy");
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) { return std::vector<Tensor>{loss->per_sample(in[0], labels, 2)}; },
      {scores}, 1e-8);
  // One term of weight 1 is that loss itself, and so is a name.
  for (const char* text :
       {"loss: [{name: cross_entropy}, {name: entropy, weight: 0}]", "loss: cross_entropy", ""}) {
    const auto one = read_loss(train(text), "cross_entropy");
    EXPECT_NE(dynamic_cast<const CrossEntropy*>(one.get()), nullptr) << text;
  }
  EXPECT_THAT(refusal([] { read_loss(train("loss: [{name: entropy, weight: 0}]"), "cross_entropy"); }),
              HasSubstr("needs a term with a weight above 0"));
  EXPECT_THROW(loss->check({4}, 0, {}), InputError);
}

TEST(Penalties, PullAllButTheLargestOfEachFew) {
  ParameterSet set;
  set.add({.name = "w.weight", .shape = {2, 4}});
  set.add({.name = "odd.weight", .shape = {2, 3}});
  set.flat().assign(
      Tensor::from(std::vector<double>{1, -3, 0.5, 0.25, 2, -2, 4, -5, 9, 9, 9, 9, 9, 9}, {14}));
  const Penalties list(train("penalties: [{name: l2_of_small, n: 1, m: 2, weight: 3}]"), set);
  const double small = (1 + 0.0625 + 4 + 16) / 2;  // of equals the earlier is the larger
  const BoundParameters bound = set.bind(local_tile_sum(2));
  for (const double v : list.of(bound, 0, 1).to_vector()) EXPECT_NEAR(v, 3 * small, 1e-14);
}

}  // namespace
}  // namespace rankine
