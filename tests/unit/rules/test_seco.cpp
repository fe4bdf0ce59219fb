// What SeCO and SpaCO claim: the gradient of backpropagation from one chunk's graph at a time, and estimates
// of it without bias from a few.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/rules/seco.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using testing::distance;
using testing::largest;

constexpr std::int64_t kShards = testing::rule_shards, kBatch = 2, kVocabulary = 11;

std::string transformer(const std::string& block) {
  return "[{name: embedding, vocabulary: 11, units: 16, deviation: 0.5}, " + block + ", " + block +
         ", {name: dense, units: 11}]";
}

const char* const kRotary = "{name: transformer, heads: 4, rotary: true}";

struct Problem : testing::RuleProblem {
  Problem(const std::string& blocks, std::int64_t length, const SecoOptions& options)
      : RuleProblem(blocks, {length}), rule(options) {
    batch.inputs = drawn_integers({kShards, kBatch, length}, kVocabulary, 0);
    batch.targets = drawn_integers({kShards, kBatch, length}, kVocabulary, 1);
    rule.begin(setup(), parameters);
  }
  Seco::Gradient chunked(const Seco::Plan& plan) const {
    return rule.gradient(parameters, tiles, batch, pass, plan);
  }
  /// Backpropagation through all tokens at once.
  Seco::Gradient whole() {
    const BoundParameters bound = parameters.bind(tiles);
    const TapeLoss found = mean_loss(setup(), network.forward(bound, batch.inputs, pass), batch);
    return {grad(found.outputs, found.seeds, {bound.flat()}).front(), found.value};
  }

  Seco rule;
};

SecoOptions chunks_of(int chunk) {
  SecoOptions options;
  options.chunk = chunk;
  return options;
}

Seco::Plan all_of(std::size_t count) { return {std::vector<bool>(count, true)}; }

TEST(Seco, GradientIsBackpropagations) {
  const std::string blocks[] = {
      transformer(kRotary),
      transformer("{name: transformer, heads: 2, rotary: true, norm: post, activation: relu}"),
      transformer("{name: transformer, heads: 1, lora_rank: 3, rotary: true}"),
      "[{name: embedding, vocabulary: 11, units: 8}, {name: position}, {name: attention, heads: 2}, "
      "{name: tied_head, vocabulary: 11}]"};
  for (const std::string& text : blocks)
    for (const int chunk : {1, 4, 5, 8, 24}) {
      Problem p(text, 24, chunks_of(chunk));
      p.rule.check(p.setup());
      const Seco::Gradient exact = p.whole();
      const Seco::Gradient found = p.chunked(all_of(static_cast<std::size_t>((24 + chunk - 1) / chunk)));
      const std::vector<double> g = exact.flat.to_vector();
      EXPECT_GT(largest(g), 1e-4);
      EXPECT_LE(distance(found.flat.to_vector(), g), 1e-12 * largest(g)) << text << " chunk " << chunk;
      EXPECT_NEAR(found.loss.read(), exact.loss.read(), 1e-13);
    }
}

// With dropout the second pass must draw what the first has drawn: only then is the gradient that of the
// loss.
TEST(Seco, DropoutRepeatsInTheSecondPass) {
  Problem p(transformer("{name: transformer, heads: 2, rotary: true, dropout: 0.3}"), 24, chunks_of(8));
  const std::vector<double> g = p.chunked(all_of(3)).flat.to_vector();
  const RandomStream random(7, "direction");
  double slope = 0;
  for (std::size_t i = 0; i < g.size(); ++i)
    slope += g[i] * random.normal(0, 0, static_cast<std::int64_t>(i));
  const auto loss_at = [&](double distance) {
    Tensor moved = p.parameters.flat().clone();
    for (std::int64_t i = 0; i < moved.count(); ++i)
      host_update<double>(moved)[i] += distance * random.normal(0, 0, i);
    return p.rule.gradient(p.parameters.with_values(moved), p.tiles, p.batch, p.pass, all_of(3)).loss.read();
  };
  const double step = 1e-5, difference = (loss_at(step) - loss_at(-step)) / (2 * step);
  EXPECT_GT(std::abs(slope), 1e-2);
  EXPECT_NEAR(slope, difference, 1e-6 * std::abs(difference));
}

// Summed over all draws with their probabilities, exactly; no Monte Carlo.
TEST(Seco, BernoulliDrawsAreUnbiasedWithAFactorForEachChunkOnAPath) {
  constexpr int count = 4;
  Problem p(transformer(kRotary), 16, chunks_of(4));
  const std::vector<double> g = p.whole().flat.to_vector();
  const double share = 0.5;
  const auto expectation = [&](double loss_factor, double cache_factor, bool fixed) {
    std::vector<double> sum(g.size(), 0);
    int draws = 0;
    for (unsigned mask = 0; mask < 1u << count; ++mask) {
      if (fixed && __builtin_popcount(mask) != 2) continue;
      ++draws;
      Seco::Plan plan{std::vector<bool>(count), loss_factor, cache_factor};
      for (unsigned i = 0; i < count; ++i) plan.kept[i] = (mask >> i & 1u) != 0;
      const std::vector<double> one = p.chunked(plan).flat.to_vector();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
    }
    for (double& v : sum) v /= draws;  // share 1/2: all masks are equally likely
    return sum;
  };
  EXPECT_LE(distance(expectation(1 / share, 1 / share, false), g), 1e-12 * largest(g));
  EXPECT_GT(distance(expectation(1 / share, 1, false), g), 1e-3 * largest(g));
  EXPECT_GT(distance(expectation(1, 1, false), g), 0.4 * largest(g));
  EXPECT_GT(distance(expectation(1 / share, 1 / share, true), g), 1e-3 * largest(g));
}

TEST(Seco, DrawsWhatItSays) {
  SecoOptions options = chunks_of(4);
  options.keep = 2;
  Problem p(transformer(kRotary), 32, options);
  int kept = 0, draws = 2000;
  for (int d = 0; d < draws; ++d) {
    const Seco::Plan plan = p.rule.plan("paths", "test", d);
    kept += static_cast<int>(std::count(plan.kept.begin(), plan.kept.end(), true));
    EXPECT_EQ(plan.loss_factor, 4);
    EXPECT_EQ(plan.cache_factor, 4);
  }
  EXPECT_NEAR(kept, 2 * draws, 4 * std::sqrt(draws * 8 * 0.25 * 0.75));
  EXPECT_EQ(p.rule.plan("loss", "test", 0).cache_factor, 1);
  EXPECT_EQ(p.rule.plan("none", "test", 0).loss_factor, 1);
  options.draw = "fixed";
  Problem q(transformer(kRotary), 32, options);
  for (int d = 0; d < 50; ++d) {
    const Seco::Plan plan = q.rule.plan("paths", "test", d);
    EXPECT_EQ(std::count(plan.kept.begin(), plan.kept.end(), true), 2);
  }
}

TEST(Seco, KeepsOneChunksGraphAlive) {
  const auto peak = [](Problem& p, bool whole) {
    const std::size_t live = memory_account().live;
    reset_memory_peak();
    if (whole) {
      p.whole();
    } else {
      p.chunked(all_of(16));
    }
    return static_cast<double>(memory_account().peak - live);
  };
  // Long enough that activations outweigh the gradients of weights that are under way.
  Problem p(transformer(kRotary), 512, chunks_of(32));
  EXPECT_LE(peak(p, false), 0.35 * peak(p, true));
}

TEST(Seco, RefusesWhatChunksCannotCross) {
  const auto refusal = [](const std::string& blocks, SecoOptions options) {
    const Problem p(blocks, 24, options);
    try {
      p.rule.check(p.setup());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using ::testing::HasSubstr;
  EXPECT_EQ(refusal(transformer(kRotary), chunks_of(8)), "");
  EXPECT_THAT(refusal(transformer("{name: transformer, heads: 2, causal: false}"), chunks_of(8)),
              HasSubstr("block1 gives other values chunk by chunk"));
  EXPECT_THAT(
      refusal("[{name: embedding, vocabulary: 11, units: 8}, {name: flatten}, {name: dense, units: 11}]",
              chunks_of(8)),
      HasSubstr("the edge after block1 carries"));
  SecoOptions options = chunks_of(8);
  options.keep = 4;
  EXPECT_THAT(refusal(transformer(kRotary), options), HasSubstr("have 3 chunks of 8"));
}

}  // namespace
}  // namespace rankine
