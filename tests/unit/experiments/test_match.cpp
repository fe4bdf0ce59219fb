// Widths that `match` finds, against a search over all of them.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/run/match.hpp"

namespace rankine {
namespace {

using testing::HasSubstr;

const std::string model = "model: {blocks: [{units: 3, fixed: 5}, {units: 8}]}\n";
const std::string both = "by: ['blocks[0].units', 'blocks[1].units']";

/// 5 inputs, two layers of dense units, 2 outputs.
double weights_of(long a, long b) { return static_cast<double>(5 * a + a * b + 2 * b); }

VariantCounts count(const DeckNode& variant) {
  EXPECT_FALSE(variant.has("match"));
  const DeckNode of = variant.child("model");
  return {{"parameters", weights_of(*of.integer_at("blocks[0].units"), *of.integer_at("blocks[1].units"))}};
}

Match found(const DeckNode& variant, double target, bool strict = false) {
  return match_widths(
      variant, count,
      [&](const std::string& name) -> VariantCounts {
        EXPECT_EQ(name, "other");
        return {{"parameters", target}};
      },
      strict);
}

std::string refusal(const std::string& match, double target = 100) {
  try {
    found(parse_deck_text(model + "match: " + match, "deck.yaml"), target, true);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Match, IsTheNearestOfAllWidths) {
  for (const double target : {1.0, 7.0, 12.0, 40.0, 55.0, 56.0, 100.0, 333.0, 1000.0, 54321.0}) {
    SCOPED_TRACE(target);
    const DeckNode variant =
        parse_deck_text(model + "match: {parameters: other, times: 2, " + both + "}", "d");
    const Match match = found(variant, target / 2);
    double best = 1e30;
    for (long b = 1; b < 1000; ++b) {
      const long a = std::max(1L, std::lround(3.0 * static_cast<double>(b) / 8));
      if (std::abs(weights_of(a, b) - target) < std::abs(best - target)) best = weights_of(a, b);
    }
    EXPECT_FALSE(variant.has("match"));
    EXPECT_EQ(count(variant).at("parameters"), best);
    EXPECT_NEAR(match.difference, best / target - 1, 1e-12);
    EXPECT_EQ(variant.child("model").integer_at("blocks[0].fixed"), 5);
  }
}

TEST(Match, RefusesWhatItCannotMatch) {
  EXPECT_THAT(refusal("{parameters: other, within: 0.5, " + both + "}"), "");
  EXPECT_THAT(
      refusal("{parameters: other, within: 0.001, " + both + "}"),
      HasSubstr("deck.yaml:2:8: match: blocks[0].units 5, blocks[1].units 12: parameters 109 against 100, "
                "that of 'other': +9.00 %; that is more than within: 0.001"));
  EXPECT_THAT(refusal("{parameters: other, by: ['blocks[0].fixed']}"), HasSubstr("parameters does not grow"));
  EXPECT_THAT(refusal("{parameters: other, by: ['blocks[2].units']}"), HasSubstr("names no whole number"));
  EXPECT_THAT(refusal("{nonzeros: other, " + both + "}"), HasSubstr("not known before training"));
  EXPECT_THAT(refusal("{nonzeros: other, parameters: other, " + both + "}"), HasSubstr("of one count"));
}

}  // namespace
}  // namespace rankine
