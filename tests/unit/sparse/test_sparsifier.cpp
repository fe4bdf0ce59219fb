#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/core/pattern.hpp"
#include "src/sparse/sparsifier.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// a.weight [4, 5], b.weight [5, 2] and biases, with weights 1, -2, 3, ... in their order.
ParameterSet small_set() {
  ParameterSet set(DType::f64);
  set.add({.name = "a.weight", .shape = {4, 5}});
  set.add({.name = "a.bias", .shape = {5}});
  set.add({.name = "b.weight", .shape = {5, 2}});
  std::vector<double> values(static_cast<std::size_t>(set.count()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = (i % 2 == 0 ? 1.0 : -1.0) * static_cast<double>(i + 1);
  set.flat().assign(Tensor::from(values, {set.count()}));
  return set;
}

Sparsifier sparsifier(const std::string& text, const ParameterSet& set) {
  return Sparsifier(parse_deck_text(text, "deck.yaml"), set);
}

std::vector<double> mask(const ParameterSet& set, const std::string& name) {
  return set.part(name).mask.to_vector();
}

double sum(const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0); }

TEST(Pattern, StarsStandForAnyText) {
  EXPECT_TRUE(matches("*.weight", "block0.weight"));
  EXPECT_TRUE(matches("block*.conv*.weight", "block12.conv2.weight"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_FALSE(matches("*.weight", "block0.weights"));
  EXPECT_FALSE(matches("block1", "block12"));
  EXPECT_TRUE(matches("a*b*c", "abbbc"));
  EXPECT_FALSE(matches("a*b*c", "acb"));
}

TEST(Sparsifier, MagnitudeKeepsTheLargestOfEachLayer) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{density: 0.3}", set);
  s.attach(set);
  s.prune(set, 0.3, {});
  const std::vector<double> a = mask(set, "a.weight"), b = mask(set, "b.weight");
  EXPECT_EQ(sum(a), 6);
  EXPECT_EQ(sum(b), 3);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(a[i], i >= 14 ? 1 : 0) << i;
  // Removed weights are zero, others are what they were; biases stay.
  EXPECT_EQ(set.view("a.weight").to_vector()[13], 0);
  EXPECT_EQ(set.view("a.weight").to_vector()[14], 15);
  EXPECT_THAT(set.view("a.bias").to_vector(), ElementsAre(21, -22, 23, -24, 25));
  EXPECT_EQ(s.remaining(set), 9);
  EXPECT_EQ(s.judged(), 30);
}

TEST(Sparsifier, GlobalScopeComparesLayers) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{scope: global, density: 0.3}", set);
  s.attach(set);
  s.prune(set, 0.3, {});
  EXPECT_EQ(sum(mask(set, "a.weight")), 0);  // all of b's are larger
  EXPECT_EQ(sum(mask(set, "b.weight")), 9);
}

TEST(Sparsifier, WhatIsRemovedStaysRemoved) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{criterion: random}", set);
  s.attach(set);
  s.prune_rate(set, 0.5, {.seed = 3, .number = 0});
  const std::vector<double> before = mask(set, "a.weight");
  EXPECT_EQ(sum(before), 10);
  s.prune_rate(set, 0.2, {.seed = 3, .number = 1});
  const std::vector<double> after = mask(set, "a.weight");
  EXPECT_EQ(sum(after), 8);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_LE(after[i], before[i]);
}

TEST(Sparsifier, RatesOfLayers) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{rates: [{on: [b*], factor: 0.5}]}", set);
  s.attach(set);
  s.prune_rate(set, 0.4, {});
  EXPECT_EQ(sum(mask(set, "a.weight")), 12);
  EXPECT_EQ(sum(mask(set, "b.weight")), 8);
}

TEST(Sparsifier, SnipScoresWeightTimesGradient) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{criterion: snip, scope: global, batches: 2}", set);
  s.attach(set);
  std::vector<double> slope(static_cast<std::size_t>(set.count()), 0);
  slope[2] = -100;  // weight 3
  slope[27] = 5;    // of b, weight -28
  int asked = 0;
  s.prune(set, 2.0 / 30, {.evidence = [&](Evidence, int batches) {
            asked = batches;
            return Tensor::from(slope, {set.count()});
          }});
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(mask(set, "a.weight")[2], 1);
  EXPECT_EQ(mask(set, "b.weight")[2], 1);
  EXPECT_EQ(s.remaining(set), 2);
}

TEST(Sparsifier, SnrScoresMeansOverDeviations) {
  ParameterSet set(DType::f64);
  set.add({.name = "w", .shape = {4}});
  set.add({.name = "w.gaussian.log_variance", .shape = {4}});
  set.flat().assign(
      Tensor::from(std::vector<double>{1, -2, 3, 4, -4, 0, 4, 1}, {8}));  // e^2, 2, 3 e^-2, 4 e^-1/2
  const Sparsifier s = sparsifier("{on: [w], criterion: snr}", set);
  s.attach(set);
  s.prune(set, 0.5, {});
  EXPECT_THAT(mask(set, "w"), ElementsAre(1, 0, 0, 1));
}

/// Inputs of a.weight and b.weight, [out, in] as masks are laid out: the norms of features.
InputStatistics inputs_of(const std::vector<double>& a, const std::vector<double>& b) {
  InputStatistics out;
  out.see("a.weight", Tensor::from(a, {1, static_cast<std::int64_t>(a.size())}), 1);
  out.see("b.weight", Tensor::from(b, {1, static_cast<std::int64_t>(b.size())}), 1);
  return out;
}

TEST(Sparsifier, WandaScoresWeightTimesNormOfItsInput) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{criterion: wanda, batches: 3}", set);
  s.attach(set);
  // a.weight [4, 5] holds 1 .. 20 in size: feature 1 counts a hundred times as much as the others.
  const InputStatistics seen = inputs_of({1, -100, 1, 1, 1}, {1, 1});
  std::vector<int> asked;
  s.prune(set, 0.2, {.inputs = [&](int batches) {
            asked.push_back(batches);
            return seen;
          }});
  EXPECT_THAT(mask(set, "a.weight"), ElementsAre(0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0));
  EXPECT_THAT(asked, ElementsAre(3, 3));  // once a block
}

TEST(Sparsifier, InputsOfABlockComeFromPrunedBlocks) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{criterion: wanda}", set);
  s.attach(set);
  std::vector<double> left;  // of a, each time that inputs are asked for
  s.prune(set, 0.5, {.inputs = [&](int) {
            left.push_back(sum(mask(set, "a.weight")));
            return inputs_of({1, 1, 1, 1, 1}, {1, 1});
          }});
  EXPECT_THAT(left, ElementsAre(20, 10));
}

TEST(Sparsifier, ScopeRowKeepsAsManyOfEachOutput) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{scope: row}", set);
  s.attach(set);
  s.prune(set, 0.4, {});
  EXPECT_THAT(mask(set, "a.weight"), ElementsAre(0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1));
  s.prune_rate(set, 0.25, {});  // 6 of 8 are dealt to 4 rows
  EXPECT_THAT(mask(set, "a.weight"), ElementsAre(0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1));
}

TEST(Sparsifier, CountsAheadWhatPruningLeaves) {
  for (const char* options :
       {"{density: 0.3}", "{layer_density: erdos_renyi}", "{scope: row, layer_density: erdos_renyi}",
        "{structure: filter}", "{structure: {name: block, outputs: 2}, on: [a.weight]}"}) {
    SCOPED_TRACE(options);
    ParameterSet set = small_set();
    const Sparsifier s = sparsifier(options, set);
    s.attach(set);
    s.prune(set, 0.3, {});
    EXPECT_EQ(s.kept_at(0.3), s.kept(set));
  }
  const ParameterSet set = small_set();
  EXPECT_FALSE(sparsifier("{}", set).scores_share_out());
  EXPECT_TRUE(sparsifier("{scope: global}", set).scores_share_out());
  EXPECT_TRUE(sparsifier("{layer_density: snip}", set).scores_share_out());
}

TEST(Sparsifier, RoundsScoreAnew) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{criterion: synflow, scope: global, rounds: 3}", set);
  s.attach(set);
  std::vector<std::int64_t> left;
  s.prune(set, 0.1, {.evidence = [&](Evidence, int) {
            left.push_back(s.remaining(set));
            return Tensor::full({set.count()}, DType::f64, 1);
          }});
  EXPECT_THAT(left, ElementsAre(30, 14, 6));  // 30 * 0.1^(1/3), 30 * 0.1^(2/3)
  EXPECT_EQ(s.remaining(set), 3);
  EXPECT_EQ(mask(set, "b.weight")[9], 1);  // the largest weights
}

TEST(Sparsifier, OfManyDrawsTheLeastLossStays) {
  const auto drawn = [](const std::string& draws, double sign) {
    ParameterSet set = small_set();
    const Sparsifier s = sparsifier("{criterion: random, density: 0.3" + draws + "}", set);
    s.attach(set);
    const auto loss = [&](int batches) {
      EXPECT_EQ(batches, 1);
      return sign * sum(mul(set.view("a.weight"), set.view("a.weight")).to_vector());
    };
    s.prune(set, 0.3, {.seed = 5, .loss = loss});
    EXPECT_EQ(sum(mask(set, "a.weight")), 6);
    EXPECT_EQ(set.view("a.weight").to_vector(),
              mul(small_set().view("a.weight"), set.part("a.weight").mask).to_vector());
    return std::pair(mask(set, "a.weight"), loss(1));
  };
  const auto one = drawn("", 1), least = drawn(", draws: 50", 1), most = drawn(", draws: 50", -1);
  EXPECT_LT(least.second, one.second);
  EXPECT_GT(-most.second, one.second);
  EXPECT_EQ(drawn(", draws: 1", 1), one);
  ParameterSet set = small_set();
  EXPECT_THROW(sparsifier("{density: 0.3, draws: 2}", set), InputError);
}

TEST(Sparsifier, RefusesWeightsWithoutInputs) {
  const ParameterSet set = small_set();
  const DeckNode node = parse_deck_text("{criterion: wanda}", "deck.yaml");
  const Sparsifier s(node, set);
  InputStatistics seen;
  seen.see("a.weight", Tensor::from(std::vector<double>{1, 2}, {1, 2}), 1);
  try {
    s.check_inputs(node, seen);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("there are none of 'b.weight'"));
  }
}

TEST(Sparsifier, PermutedMasksHaveTheSameCounts) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{}", set);
  s.attach(set);
  s.prune(set, 0.5, {});
  const std::vector<double> before = mask(set, "a.weight");
  s.permute(set, {.seed = 1, .number = 4});
  const std::vector<double> after = mask(set, "a.weight");
  EXPECT_EQ(sum(after), sum(before));
  EXPECT_NE(after, before);
}

TEST(Sparsifier, RescaleKeepsTheVarianceOfActivations) {
  ParameterSet set = small_set();
  const Sparsifier s = sparsifier("{density: 0.25, rescale: true}", set);
  s.attach(set);
  s.prune(set, 0.25, {});
  EXPECT_DOUBLE_EQ(set.view("a.weight").to_vector()[19], -20 / std::sqrt(0.25));
}

TEST(Sparsifier, DensityOneChangesNothing) {
  ParameterSet set = small_set();
  const std::vector<double> before = set.flat().to_vector();
  const Sparsifier s = sparsifier("{density: 1}", set);
  s.attach(set);
  EXPECT_TRUE(s.events().empty());
  s.prune(set, 1, {});
  EXPECT_EQ(set.flat().to_vector(), before);
}

TEST(Sparsifier, CubicSchedule) {
  const Sparsifier s =
      sparsifier("{density: 0.1, schedule: {name: cubic, from: 10, to: 25, every: 10}}", small_set());
  const auto events = s.events();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].first, 10);
  EXPECT_EQ(events[1].first, 20);
  EXPECT_EQ(events[2].first, 25);
  EXPECT_DOUBLE_EQ(events[0].second, 1);
  EXPECT_DOUBLE_EQ(events[1].second, 0.1 + 0.9 * std::pow(1.0 / 3, 3));
  EXPECT_DOUBLE_EQ(events[2].second, 0.1);
}

/// c.weight [4, 6, 2], of sizes in no order, and c.bias [4].
ParameterSet kernel_set() {
  ParameterSet set(DType::f64);
  set.add({.name = "c.weight", .shape = {4, 6, 2}});
  set.add({.name = "c.bias", .shape = {4}});
  std::vector<double> values(52);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(1.7 * static_cast<double>(i * i) + 0.3);
  set.flat().assign(Tensor::from(values, {52}));
  return set;
}

/// The mask of c.weight at density 1/2.
std::vector<double> half_kept(const std::string& structure, ParameterSet& set) {
  const Sparsifier s = sparsifier("{density: 0.5, structure: " + structure + "}", set);
  s.attach(set);
  s.prune(set, 0.5, {});
  EXPECT_EQ(s.remaining(set), 24);
  return mask(set, "c.weight");
}

std::size_t at(std::size_t o, std::size_t i, std::size_t k) { return (o * 6 + i) * 2 + k; }

/// That of each list of units the half with the largest sums of sizes stays, each unit as a whole.
void expect_best_halves(const std::vector<std::vector<std::vector<std::size_t>>>& groups,
                        const std::vector<double>& kept) {
  const std::vector<double> w = kernel_set().view("c.weight").to_vector();
  for (const auto& group : groups) {
    std::vector<double> sizes;
    for (const auto& unit : group) {
      double size = 0;
      for (const std::size_t i : unit) size += std::abs(w[i]);
      sizes.push_back(size);
    }
    std::vector<double> sorted = sizes;
    std::sort(sorted.rbegin(), sorted.rend());
    const double bound = sorted[group.size() / 2 - 1];
    for (std::size_t u = 0; u < group.size(); ++u)
      for (const std::size_t i : group[u]) EXPECT_EQ(kept[i], sizes[u] >= bound ? 1 : 0) << i;
  }
}

TEST(Structures, KeepTheBestOfEachGroup) {
  using Groups = std::vector<std::vector<std::vector<std::size_t>>>;
  ParameterSet set = kernel_set();
  Groups filters(1), blocks(1), few;
  for (std::size_t o = 0; o < 4; ++o) {
    std::vector<std::size_t> filter;
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t k = 0; k < 2; ++k) {
        filter.push_back(at(o, i, k));
        if (o % 2 == 0) blocks[0].push_back({at(o, i, k), at(o + 1, i, k)});
        if (i % 2 == 0) few.push_back({{at(o, i, k)}, {at(o, i + 1, k)}});
      }
    filters[0].push_back(filter);
  }
  expect_best_halves(filters, half_kept("filter", set = kernel_set()));
  expect_best_halves(blocks, half_kept("{name: block, outputs: 2}", set = kernel_set()));
  expect_best_halves(few, half_kept("{name: n_m, m: 2}", set = kernel_set()));
}

TEST(Structures, UnitsTakeTheirBiasWithThem) {
  ParameterSet set = kernel_set();
  const std::vector<double> kept = half_kept("unit", set), bias = mask(set, "c.bias");
  EXPECT_EQ(sum(bias), 2);
  for (std::size_t o = 0; o < 4; ++o) {
    EXPECT_EQ(kept[at(o, 3, 1)], bias[o]);
    EXPECT_EQ(set.view("c.bias").to_vector()[o] == 0, bias[o] == 0);
  }
}

TEST(Structures, GlobalScopeCountsTheWeightsOfUnits) {
  ParameterSet set = small_set();  // rows of 5 and of 2 weights, those of b are larger
  const Sparsifier s = sparsifier("{scope: global, density: 0.5, structure: filter}", set);
  s.attach(set);
  s.prune(set, 0.5, {});
  EXPECT_EQ(sum(mask(set, "b.weight")), 10);
  EXPECT_EQ(sum(mask(set, "a.weight")), 5);
}

TEST(Regrowth, ExchangesTheWorstForTheSteepest) {
  ParameterSet set = small_set();
  const Sparsifier s =
      sparsifier("{on: [a.weight], regrow: {name: gradient, fraction: 0.5, decay: none, every: 10}}", set);
  EXPECT_THAT(s.regrowth_steps(50), ElementsAre(10, 20, 30));  // before 37.5
  s.attach(set);
  s.prune(set, 0.4, {});  // of 1, -2, ... 20 the last eight stay
  std::vector<double> slope(static_cast<std::size_t>(set.count()), 0.1);
  slope[3] = -7;
  slope[5] = 6;
  slope[12] = 5;  // removed with the others that go
  slope[19] = 9;  // there already
  slope[0] = slope[7] = 4;
  const Tensor keep =
      s.regrow(set, 10, 50, {.evidence = [&](Evidence, int) { return Tensor::from(slope, {set.count()}); }});
  const std::vector<double> now = mask(set, "a.weight"), same = keep.to_vector();
  for (std::size_t i = 0; i < 20; ++i) {
    const bool grown = i == 0 || i == 3 || i == 5 || i == 7 || i == 12;
    EXPECT_EQ(now[i], (grown && i != 7) || i >= 16 ? 1 : 0) << i;
    EXPECT_EQ(same[i], grown && i < 12 && i != 7 ? 0 : 1) << i;
  }
  EXPECT_EQ(set.view("a.weight").to_vector()[3], 0);  // begins at zero
  EXPECT_EQ(s.remaining(set), 8);
}

TEST(Regrowth, FallsAlongHalfACosine) {
  const std::unique_ptr<Regrowth> r =
      regrowths().make(parse_deck_text("{name: random, fraction: 0.4, until: 0.5}", "deck.yaml"));
  EXPECT_DOUBLE_EQ(r->fraction(0, 200), 0.4);
  EXPECT_DOUBLE_EQ(r->fraction(50, 200), 0.2);
  EXPECT_NEAR(r->fraction(100, 200), 0, 1e-15);
}

TEST(Regrowth, AnyWeightsComeBackInEachGroup) {
  ParameterSet set = kernel_set();
  const Sparsifier s =
      sparsifier("{density: 0.5, structure: {name: n_m, m: 2}, regrow: {name: random, fraction: 1}}", set);
  s.attach(set);
  s.prune(set, 0.5, {});
  const std::vector<double> before = mask(set, "c.weight");
  s.regrow(set, 0, 1000, {.seed = 3, .number = 1});
  const std::vector<double> after = mask(set, "c.weight");
  EXPECT_NE(after, before);
  for (std::size_t o = 0; o < 4; ++o)
    for (std::size_t i = 0; i < 6; i += 2)
      for (std::size_t k = 0; k < 2; ++k) EXPECT_EQ(after[at(o, i, k)] + after[at(o, i + 1, k)], 1);
}

TEST(LayerDensity, SharesOutWhatACapLeaves) {
  const std::vector<Shape> shapes{{100, 100}, {100, 10}, {10, 10}};
  for (const LayerDensity kind : {LayerDensity::uniform, LayerDensity::erdos_renyi}) {
    const std::vector<double> d = layer_densities(kind, 0.2, shapes);
    EXPECT_NEAR(10000 * d[0] + 1000 * d[1] + 100 * d[2], 2220, 1e-9);
    for (const double x : d) EXPECT_LE(x, 1);
  }
  const std::vector<double> er = layer_densities(LayerDensity::erdos_renyi, 0.2, shapes);
  EXPECT_EQ(er[2], 1);                                                  // capped
  EXPECT_NEAR(er[1] / er[0], (110.0 / 1000) / (200.0 / 10000), 1e-12);  // in proportion
  // Kernels count in the one and not in the other.
  const std::vector<Shape> kernels{{64, 64, 3, 3}, {64, 64, 1, 1}};
  const std::vector<double> plain = layer_densities(LayerDensity::erdos_renyi, 0.05, kernels),
                            with = layer_densities(LayerDensity::erdos_renyi_kernel, 0.05, kernels);
  EXPECT_NEAR(plain[1] / plain[0], 1, 1e-12);
  EXPECT_NEAR(with[1] / with[0], (130.0 / 4096) / (134.0 / 36864), 1e-9);
}

TEST(Sparsifier, MistakesAreNamed) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      sparsifier(text, small_set());
    } catch (const InputError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(message("{on: [c*]}"),
              HasSubstr("'c*' is the name of no parameter; the parameters are a.weight"));
  EXPECT_THAT(message("{except: ['*']}"), HasSubstr("leaves no parameter"));
  EXPECT_THAT(message("{scope: global, layer_density: erdos_renyi}"), HasSubstr("is for scope: layer"));
  EXPECT_THAT(message("{criterion: size}"), HasSubstr("magnitude"));
  EXPECT_THAT(
      message("{structure: {name: block, outputs: 3}}"),
      HasSubstr("a.weight [4, 5] has 4 outputs, which 3 does not divide; leave it out with `except`"));
  EXPECT_THAT(message("{structure: {name: n_m, m: 5}, density: 0.5, on: [a.weight]}"),
              HasSubstr("choose a multiple of 1/5"));
  EXPECT_THAT(message("{structure: {name: n_m, m: 2}, scope: global, on: [b.weight]}"),
              HasSubstr("scope: layer"));
  EXPECT_THAT(message("{regrow: {name: gradient, drop: size}}"), HasSubstr("magnitude"));
  EXPECT_THAT(message("{structure: filter, scope: row}"), HasSubstr("compared within one output"));
  EXPECT_THAT(message("{criterion: snr}"), HasSubstr("a.weight has no variance"));
  EXPECT_THAT(message("{schedule: {name: cubic, from: 5, to: 5}}"), HasSubstr("not after"));
}

}  // namespace
}  // namespace rankine
