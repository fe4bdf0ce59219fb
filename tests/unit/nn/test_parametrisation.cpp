// Weights that are expressions of several parameters: what a network computes with them, and what it refuses.
#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/nn/parametrisation/largest.hpp"
#include "src/rules/backprop.hpp"
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

/// Output and gradient by the parameters of a pass that counts as training.
struct Trained {
  std::vector<double> output, gradient;
};
Trained trained(const Network& network, const ParameterSet& set, const Tensor& x, std::int64_t step = 0) {
  Pass pass{.shards = local_tile_sum(x.extent(0))};
  pass.training = true;
  pass.seed = 9;
  pass.step = step;
  const BoundParameters bound = set.bind(pass.shards);
  const Tensor y = network.forward(bound, x, pass);
  return {y.to_vector(), grad({sum(square(y))}, {Tensor()}, {bound.flat()}).front().to_vector()};
}

TEST(Quantisers, PassesSeeRoundedWeightsWhoseGradientGoesStraightThrough) {
  const auto fixed = [](double w) { return std::clamp(std::nearbyint(w * 16), -8.0, 7.0) / 16; };
  const auto e2m1 = [](double w) {  // 0, 0.5, 1, 1.5, 2, 3
    const double grid[] = {0, 0.5, 1, 1.5, 2, 3};
    double best = 0;
    for (const double g : grid)
      if (std::abs(std::abs(w) - g) < std::abs(std::abs(w) - best)) best = g;
    return std::copysign(best, w);
  };
  const auto power = [](double w) {
    return std::copysign(std::pow(2.0, std::nearbyint(std::log2(std::abs(w)))), w);
  };
  const std::vector<std::pair<std::string, std::function<double(double)>>> all{
      {"fixed_point, word: 4, fraction: 4", fixed},
      {"float_format, exponent: 2, mantissa: 1", e2m1},
      {"power_of_two, terms: 1", power}};
  const Tensor x = drawn({2, 3, 4});
  const Network plain = network_of(kBlocks, {4});
  for (const auto& [as, round] : all) {
    SCOPED_TRACE(as);
    const Network network = network_of(with("[{as: " + as + "}]"), {4});
    const ParameterSet set = moved_parameters(network, 1), rounded = set.clone();
    bool changed = false;
    for (const ParameterInfo& part : set.parts()) {
      if (!part.name.ends_with(".weight")) continue;
      std::vector<double> values = rounded.view(part).to_vector();
      for (double& w : values) {
        changed = changed || w != round(w);
        w = round(w);
      }
      rounded.view(part).assign(Tensor::from(values, part.shape));
    }
    EXPECT_TRUE(changed);
    const Trained a = trained(network, set, x), b = trained(plain, rounded, x);
    EXPECT_EQ(a.output, b.output);
    EXPECT_EQ(a.gradient, b.gradient);
    EXPECT_EQ(output(network, set, x), output(plain, rounded, x));
  }
}

TEST(Quantisers, StochasticRoundingIsThatOfTrainingAndKeyedByTheStep) {
  const char* nearest = "[{as: fixed_point, word: 5, fraction: 3}]";
  const Network network =
                    network_of(with("[{as: fixed_point, word: 5, fraction: 3, rounding: stochastic}]"), {4}),
                other = network_of(with(nearest), {4});
  const ParameterSet set = moved_parameters(network, 1);
  const Tensor x = drawn({2, 3, 4});
  EXPECT_EQ(output(network, set, x), output(other, set, x));
  const Trained first = trained(network, set, x, 4);
  EXPECT_EQ(trained(network, set, x, 4).output, first.output);
  EXPECT_NE(trained(network, set, x, 5).output, first.output);
  EXPECT_NE(trained(other, set, x, 4).output, first.output);
}

TEST(Quantisers, SwitchedOffTheyAreNotThere) {
  const Tensor x = drawn({2, 3, 4});
  const Network plain = network_of(kBlocks, {4});
  for (const char* as : {"fixed_point, word: 32, rounding: stochastic", "power_of_two, terms: 0"}) {
    const Network network = network_of(with(std::string("[{as: ") + as + "}]"), {4});
    const ParameterSet set = moved_parameters(network);
    EXPECT_EQ(trained(network, set, x).output, trained(plain, set, x).output) << as;
    EXPECT_EQ(trained(network, set, x).gradient, trained(plain, set, x).gradient) << as;
  }
}

std::vector<double> rounded_to(const std::vector<double>& scores, std::int64_t keep) {
  std::vector<double> sorted = scores, mask;
  std::sort(sorted.rbegin(), sorted.rend());
  for (const double s : scores) mask.push_back(s >= sorted[static_cast<std::size_t>(keep - 1)] ? 1 : 0);
  return mask;
}

TEST(Scores, ChooseFrozenWeightsAndGetTheGradientOfTheirMask) {
  const Network plain = network_of(kBlocks, {4});
  for (const char* start : {"random", "magnitude"}) {
    SCOPED_TRACE(start);
    const Network network = network_of(
        with(std::string("[{as: scores, density: 0.3, on: [block3.weight], start: ") + start + "}]"), {4});
    const ParameterSet set = moved_parameters(network);
    EXPECT_TRUE(set.part("block3.weight").frozen);
    const std::vector<double> w = set.view("block3.weight").to_vector();
    std::vector<double> scores = set.view("block3.weight.scores").to_vector();
    if (start == std::string("magnitude"))
      for (std::size_t i = 0; i < w.size(); ++i) scores[i] += std::abs(w[i]);
    const std::vector<double> mask = rounded_to(scores, 9);  // of 30
    const ParameterSet chosen = plain.initial_parameters(1);
    for (const ParameterInfo& part : chosen.parts()) chosen.view(part).assign(set.view(part.name));
    std::vector<double> left = w;
    for (std::size_t i = 0; i < w.size(); ++i) left[i] *= mask[i];
    chosen.view("block3.weight").assign(Tensor::from(left, {5, 6}));
    const Tensor x = drawn({2, 3, 4});
    const Trained a = trained(network, set, x), b = trained(plain, chosen, x);
    EXPECT_EQ(a.output, b.output);
    const auto of = [](const Trained& t, const ParameterSet& parameters, const std::string& name) {
      const auto begin = t.gradient.begin() + static_cast<std::ptrdiff_t>(parameters.part(name).offset);
      return std::vector<double>(begin, begin + 30);
    };
    const std::vector<double> of_scores = of(a, set, "block3.weight.scores"),
                              of_weights = of(b, chosen, "block3.weight");
    for (std::size_t i = 0; i < w.size(); ++i) EXPECT_DOUBLE_EQ(of_scores[i], of_weights[i] * w[i]) << i;
  }
}

TEST(Scores, FreshSizesKeepTheLargestWeightsOfAllParts) {
  const Network network = network_of(
      with("[{as: scores, density: 0.25, start: magnitude, layer_density: magnitude, except: [block1*]}]"),
      {4});
  const ParameterSet set = network.initial_parameters(4),
                     chosen = network_of(kBlocks, {4}).initial_parameters(4);
  std::vector<double> sizes;
  for (const char* name : {"block0.weight", "block3.weight"})
    for (const double w : set.view(name).to_vector()) sizes.push_back(std::abs(w));
  const std::vector<double> mask = rounded_to(sizes, 14);  // of 54: of 24 and of 30
  auto at = mask.begin();
  for (const char* name : {"block0.weight", "block3.weight"}) {
    std::vector<double> values = chosen.view(name).to_vector();
    for (double& w : values) w *= *at++;
    chosen.view(name).assign(Tensor::from(values, chosen.part(name).shape));
  }
  const Tensor x = drawn({2, 3, 4});
  EXPECT_EQ(output(network, set, x), output(network_of(kBlocks, {4}), chosen, x));
}

TEST(Largest, AreWhatPassesSeeWhileTheOthersFade) {
  const Largest structure({.n = 1, .m = 8, .from = 10, .to = 50, .fade = "structure"});
  std::vector<int> kept;
  for (const std::int64_t step : {9, 10, 19, 20, 30, 40, 50}) kept.push_back(structure.left(step).n);
  EXPECT_THAT(kept, ::testing::ElementsAre(8, 7, 7, 4, 2, 1, 1));
  const Largest linear({.n = 1, .m = 2, .from = 10, .to = 50, .fade = "linear"});
  EXPECT_EQ(linear.left(9).b, 1);
  EXPECT_DOUBLE_EQ(linear.left(20).b, 0.75);
  EXPECT_EQ(linear.left(50).b, 0);

  for (const std::string gradient : {"chain", "through"}) {
    const Network network = network_of(
        "[{name: dense, units: 2, bias: false}]\nparametrise: [{as: n_m, n: 1, m: 2, fade: exponential, "
        "rate: 2, from: 10, to: 50, gradient: " +
            gradient + "}]",
        {4});
    const ParameterSet set = network.initial_parameters(1);
    set.flat().assign(Tensor::from(std::vector<double>{1, -3, 0.5, 0.5, 2, 1, -4, 5}, {8}));
    const std::vector<double> mask{0, 1, 1, 0, 1, 0, 0, 1}, weights = set.flat().to_vector();
    const Tensor x = drawn({1, 1, 4}), seed = drawn({1, 1, 2});
    for (const bool training : {true, false}) {
      const double b = training ? std::exp(-2 * 0.5) : 0;
      Pass pass{.shards = local_tile_sum(1)};
      pass.training = training;
      pass.step = 30;
      const BoundParameters bound = set.bind(pass.shards);
      const Tensor y = network.forward(bound, x, pass);
      const std::vector<double> slope = grad({y}, {seed}, {bound.flat()}).front().to_vector(),
                                in = x.to_vector(), out = y.to_vector(), s = seed.to_vector();
      for (std::size_t o = 0; o < 2; ++o) {
        double expected = 0;
        for (std::size_t i = 0; i < 4; ++i) {
          const double factor = mask[4 * o + i] + b * (1 - mask[4 * o + i]);
          expected += weights[4 * o + i] * factor * in[i];
          EXPECT_NEAR(slope[4 * o + i], s[o] * in[i] * (gradient == "chain" ? factor : 1), 1e-14) << gradient;
        }
        EXPECT_NEAR(out[o], expected, 1e-14);
      }
    }
  }
}

TEST(Gaussian, GradientsAreDifferencesOfOneDraw) {
  Pass pass;
  pass.training = true;
  pass.seed = 5;
  pass.step = 3;
  expect_network_gradient(network_of(with("[{as: gaussian, sigma: 0.2}]"), {4}), drawn({2, 3, 4}), pass);
}

TEST(Gaussian, WeightsHaveTheirMeansAndVariances) {
  // One linear unit that sees unit vectors, so that outputs are weights.
  const Network network =
      network_of("[{name: dense, units: 1, bias: false}]\nparametrise: [{as: gaussian, sigma: 0.5}]", {3});
  ParameterSet set = network.initial_parameters(1);
  set.view("block0.weight.gaussian.log_variance")
      .assign(Tensor::from(std::vector<double>{2 * std::log(0.5), 2 * std::log(0.1), 0}, {1, 3}));
  for (ParameterInfo& part : set.parts())
    if (part.name == "block0.weight") part.mask = Tensor::from(std::vector<double>{1, 1, 0}, {1, 3});
  set.project();
  const std::vector<double> mean = set.view("block0.weight").to_vector();
  const Tensor x = Tensor::from(std::vector<double>{1, 0, 0, 0, 1, 0, 0, 0, 1}, {1, 3, 3});
  EXPECT_EQ(output(network, set, x), mean);
  constexpr int n = 4000;
  double first[2] = {0, 0}, second[2] = {0, 0};
  for (int step = 0; step < n; ++step) {
    const std::vector<double> w = trained(network, set, x, step).output;
    EXPECT_EQ(w[2], 0);  // masked
    for (int i : {0, 1}) {
      first[i] += (w[i] - mean[i]) / n;
      second[i] += (w[i] - mean[i]) * (w[i] - mean[i]) / n;
    }
  }
  // Within four standard errors.
  EXPECT_NEAR(first[0], 0, 4 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(first[1], 0, 4 * 0.1 / std::sqrt(n));
  EXPECT_NEAR(second[0], 0.25, 4 * 0.25 * std::sqrt(2.0 / n));
  EXPECT_NEAR(second[1], 0.01, 4 * 0.01 * std::sqrt(2.0 / n));
}

TEST(Gaussian, EvaluationsTakeTheMeanOverDraws) {
  const auto of = [](int draws) {
    return network_of(with("[{as: gaussian, sigma: 0.3, draws: " + std::to_string(draws) + "}]"), {4});
  };
  const Network means = of(0), three = of(3);
  const ParameterSet set = moved_parameters(means);
  const Tensor x = drawn({2, 3, 4});
  Backprop rule;
  for (const bool classes : {false, true}) {
    Pass pass{.shards = local_tile_sum(2)};
    const BoundParameters bound = set.bind(pass.shards);
    const std::vector<double> found = predict_mean(rule, three, bound, x, pass, classes).to_vector();
    std::vector<double> mean(found.size(), 0.0);
    for (const std::int64_t draw : {1, 2, 3}) {
      pass.draw = draw;
      const std::vector<double> y = means.forward(bound, x, pass).to_vector();
      for (std::size_t i = 0; i < y.size(); ++i) {
        double of_row = 0;
        for (std::size_t k = i / 5 * 5; k < i / 5 * 5 + 5; ++k) of_row += std::exp(y[k]);
        mean[i] += (classes ? std::exp(y[i]) / of_row : y[i]) / 3;
      }
    }
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], classes ? std::log(mean[i]) : mean[i], 1e-13);
    EXPECT_NE(found, output(means, set, x));
    pass.draw = 0;
    EXPECT_EQ(predict_mean(rule, means, bound, x, pass, classes).to_vector(), output(means, set, x));
  }
}

TEST(Gaussian, WithoutDeviationItIsNotThere) {
  const Network plain = network_of(kBlocks, {4}),
                network = network_of(with("[{as: gaussian, sigma: 0}]"), {4});
  const ParameterSet set = moved_parameters(plain);
  EXPECT_EQ(network.initial_parameters(1).count(), set.count());
  EXPECT_EQ(trained(network, set, drawn({2, 3, 4})).gradient, trained(plain, set, drawn({2, 3, 4})).gradient);
}

TEST(Orthogonal, PreservesLengths) {
  // Unit vectors at the input give the matrix; 7 x 4 is tall, 3 x 4 is wide.
  std::vector<double> identity(16, 0.0);
  for (const std::size_t i : {0, 5, 10, 15}) identity[i] = 1;
  const Tensor x = Tensor::from(identity, {1, 4, 4});
  for (const std::size_t units : {7, 4, 3}) {
    const Network network =
        network_of(fmt::format("[{{name: dense, units: {}, bias: false}}]\nparametrise: [{{as: "
                               "orthogonal, gain: 3}}]",
                               units),
                   {4});
    const std::vector<double> w = output(network, moved_parameters(network), x);  // [input][unit]
    const bool tall = units >= 4;
    for (std::size_t a = 0; a < std::min<std::size_t>(units, 4); ++a)
      for (std::size_t b = 0; b <= a; ++b) {
        double product = 0;
        for (std::size_t k = 0; k < std::max<std::size_t>(units, 4); ++k)
          product += tall ? w[a * units + k] * w[b * units + k] : w[k * units + a] * w[k * units + b];
        EXPECT_NEAR(product, a == b ? 9 : 0, 1e-12) << units;
      }
  }
}

TEST(Orthogonal, GradientsAreDifferences) {
  expect_network_gradient(network_of(with("[{as: orthogonal, on: [block0.weight, block3.weight]}]"), {4}),
                          drawn({2, 3, 4}));
}

TEST(Tied, IsTheOtherParameterWithBothGradients) {
  const char* blocks = "[{name: dense, units: 6}, {name: tanh}, {name: dense, units: 4}]";
  const Network plain = network_of(blocks, {4}),
                tied = network_of(std::string(blocks) +
                                      "\nparametrise: [{as: tied, on: [block2.weight], to: block0.weight, "
                                      "transpose: true}]",
                                  {4});
  const ParameterSet set = moved_parameters(tied), other = set.clone();
  EXPECT_TRUE(set.part("block2.weight").frozen);
  other.view("block2.weight").assign(transpose(set.view("block0.weight"), 0, 1));
  const Tensor x = drawn({2, 3, 4});
  const Trained a = trained(tied, set, x), b = trained(plain, other, x);
  EXPECT_EQ(a.output, b.output);
  const std::int64_t first = set.part("block0.weight").offset, last = set.part("block2.weight").offset;
  for (std::int64_t o = 0; o < 6; ++o)
    for (std::int64_t i = 0; i < 4; ++i)
      EXPECT_NEAR(a.gradient[static_cast<std::size_t>(first + o * 4 + i)],
                  b.gradient[static_cast<std::size_t>(first + o * 4 + i)] +
                      b.gradient[static_cast<std::size_t>(last + i * 6 + o)],
                  1e-12);
}

TEST(Parametrise, SaysWhatDoesNotFit) {
  const auto refusal = [](const std::string& items) { return refusal_of(with(items), {4}); };
  EXPECT_THAT(refusal("[{as: low_rank, rank: 5}]"), HasSubstr("choose at most 4"));
  EXPECT_THAT(refusal("[{as: low_rank, on: [block1.weight]}]"),
              HasSubstr("these can: block0.weight, block3.weight"));
  EXPECT_THAT(refusal("[{as: low_rank, rank: 2}, {as: low_rank, on: [block3*], rank: 2}]"),
              HasSubstr("another item of `parametrise` names block3.weight"));
  EXPECT_THAT(refusal("[{as: high_rank}]"), HasSubstr("high_rank"));
  EXPECT_THAT(refusal("[{as: tied, on: [block0.weight], to: block3.weight}]"),
              HasSubstr("no parameter 'block3.weight' before block0.weight"));
  EXPECT_THAT(refusal("[{as: tied, on: [block3.weight], to: block0.weight}]"),
              HasSubstr("block3.weight [5, 6] cannot be block0.weight [6, 4]"));
  EXPECT_THAT(refusal("[{as: low_rank, ranks: 2}]"), HasSubstr("ranks"));
  EXPECT_THAT(refusal("{as: low_rank}"), HasSubstr("must be a list"));
}

}  // namespace
}  // namespace rankine
