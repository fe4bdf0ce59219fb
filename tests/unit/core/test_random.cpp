#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "src/core/random.hpp"

namespace rankine {
namespace {

TEST(Philox, GivesTheKnownAnswers) {  // the vectors for philox4x32 with 10 rounds of Random123's distribution
  struct Answer {
    philox4x32_ctr_t counter;
    philox4x32_key_t key;
    std::array<std::uint32_t, 4> words;
  };
  const std::uint32_t ones = 0xffffffff;
  for (const Answer& answer : {
           Answer{{{0, 0, 0, 0}}, {{0, 0}}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
           Answer{
               {{ones, ones, ones, ones}}, {{ones, ones}}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
           Answer{{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
                  {{0xa4093822, 0x299f31d0}},
                  {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
       }) {
    const auto words = philox4x32(answer.counter, answer.key);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(words.v[i], answer.words[i]);
  }
}

// Computed once from the header's description by a program in another language. If these change, so does
// every result.
TEST(RandomStream, KeysAsDocumented) {
  const RandomStream stream(42, "init");
  EXPECT_EQ(stream.key(), 0x914c01efe213b297u);
  EXPECT_EQ(stream.uniform(0, 0, 0), 0x1.23268077c4ac4p-3);
  EXPECT_EQ(stream.uniform(0, 0, 1), 0x1.bec61e380c2bep-2);
  EXPECT_EQ(stream.uniform(7, 3, 10), 0x1.87da7e6e17ff3p-1);
  EXPECT_EQ(stream.uniform(4294967295, 4294967295, (std::int64_t{1} << 56) - 1), 0x1.7b3b70c599069p-1);
  EXPECT_NEAR(stream.normal(7, 3, 10), 0.006156381717616253, 1e-15);
  EXPECT_NEAR(stream.normal(7, 3, 11), -0.6620540053444136, 1e-15);
  std::vector<std::int64_t> integers;
  for (int i = 0; i < 6; ++i) integers.push_back(stream.integer(1000, 7, 3, i));
  EXPECT_EQ(integers, (std::vector<std::int64_t>{364, 275, 883, 871, 415, 891}));
  EXPECT_EQ(stream.permutation(8, 7), (std::vector<std::int64_t>{6, 7, 2, 3, 5, 4, 0, 1}));
}

TEST(RandomStream, EveryPartOfTheKeyCounts) {
  std::set<double> values;
  for (const std::uint64_t seed : {0u, 1u}) {
    for (const char* name : {"", "init", "points"}) {
      for (const std::int64_t step : {0, 1}) {
        for (const std::int64_t id : {0, 1}) {
          for (const std::int64_t index : {0, 1, 2}) {
            values.insert(RandomStream(seed, name).uniform(step, id, index));
          }
        }
      }
    }
  }
  EXPECT_EQ(values.size(), 2u * 3 * 2 * 2 * 3);
}

TEST(RandomStream, FillsWithTheSameNumbersAsOneByOne) {
  const RandomStream stream(3, "fill");
  for (const std::size_t n : {0, 1, 2, 7}) {
    std::vector<double> uniform(n), normal(n);
    std::vector<float> single(n);
    stream.fill_uniform(std::span<double>(uniform), 5, 6);
    stream.fill_normal(std::span<double>(normal), 5, 6);
    stream.fill_normal(std::span<float>(single), 5, 6);
    for (std::size_t i = 0; i < n; ++i) {
      const auto index = static_cast<std::int64_t>(i);
      EXPECT_EQ(uniform[i], stream.uniform(5, 6, index));
      EXPECT_EQ(normal[i], stream.normal(5, 6, index));
      EXPECT_EQ(single[i], static_cast<float>(stream.normal(5, 6, index)));
    }
  }
}

// The bounds below are 5 standard errors of the mean of n draws.
TEST(RandomStream, HasTheRightMoments) {
  const RandomStream stream(1, "moments");
  const std::size_t n = 100000;
  std::vector<double> u(n), z(n);
  stream.fill_uniform(std::span<double>(u), 0, 0);
  stream.fill_normal(std::span<double>(z), 0, 0);
  double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0, lag = 0;
  for (std::size_t i = 0; i < n; ++i) {
    u1 += u[i];
    u2 += u[i] * u[i];
    z1 += z[i];
    z2 += z[i] * z[i];
    z4 += std::pow(z[i], 4);
    lag += z[i] * z[(i + 1) % n];
  }
  const double count = static_cast<double>(n), error = 5 / std::sqrt(count);
  EXPECT_NEAR(u1 / count, 0.5, error * std::sqrt(1.0 / 12));
  EXPECT_NEAR(u2 / count, 1.0 / 3, error * std::sqrt(4.0 / 45));
  EXPECT_NEAR(z1 / count, 0, error);
  EXPECT_NEAR(z2 / count, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(z4 / count, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(lag / count, 0, error);
  const auto [low, high] = std::minmax_element(u.begin(), u.end());
  EXPECT_GT(*low, 0);
  EXPECT_LT(*high, 1);
}

TEST(RandomStream, DrawsIntegersEvenly) {
  const RandomStream stream(1, "integers");
  const int n = 7, draws = 70000;
  std::vector<int> counts(n);
  for (int i = 0; i < draws; ++i) ++counts.at(static_cast<std::size_t>(stream.integer(n, 0, 0, i)));
  for (const int count : counts) EXPECT_NEAR(count, draws / n, 5 * std::sqrt(draws / n));
  EXPECT_EQ(stream.integer(1, 0, 0, 0), 0);
}

TEST(RandomStream, ChoosesWithoutReplacement) {
  const RandomStream stream(9, "points");
  auto order = stream.permutation(50, 3, 4);
  for (const std::int64_t k : {0, 1, 20, 50}) {
    const auto chosen = stream.choose(k, 50, 3, 4);
    EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), order.begin())) << k;
    EXPECT_EQ(chosen.size(), static_cast<std::size_t>(k));
  }
  EXPECT_NE(order, stream.permutation(50, 3, 5));
  std::sort(order.begin(), order.end());
  std::vector<std::int64_t> all(50);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
  // Each of 5 things is chosen first equally often: 5 standard errors.
  std::vector<int> first(5);
  for (int id = 0; id < 10000; ++id) ++first.at(static_cast<std::size_t>(stream.choose(2, 5, 0, id)[0]));
  for (const int count : first) EXPECT_NEAR(count, 2000, 5 * std::sqrt(2000.0));
}

TEST(RandomStream, RefusesNumbersOutsideItsCounter) {
  const RandomStream stream(1, "x");
  EXPECT_THROW(stream.uniform(-1, 0, 0), std::logic_error);
  EXPECT_THROW(stream.uniform(0, std::int64_t{1} << 32, 0), std::logic_error);
  EXPECT_THROW(stream.uniform(0, 0, -1), std::logic_error);
  EXPECT_THROW(stream.choose(3, 2, 0), std::logic_error);
}

}  // namespace
}  // namespace rankine
