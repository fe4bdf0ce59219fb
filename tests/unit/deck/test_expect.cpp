// The grammar of `expect:`, its messages, and what NaN does.
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/deck/expect.hpp"

namespace rankine {
namespace {

const std::vector<std::string> variants{"pi-hc", "pi-hc-moe", "pi-sc"};
const std::vector<std::string> metrics{"rel_l2", "failed", "seconds"};

std::vector<double> lookup(const std::string& metric, const std::string& variant) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (metric == "rel_l2" && variant == "pi-hc") return {4, 1, 3};
  if (metric == "rel_l2" && variant == "pi-hc-moe") return {1, 2};
  if (metric == "failed") return {0, nan};
  if (metric == "seconds" && variant == "pi-hc") return {5};
  return {};
}

Expectation::Outcome outcome(const std::string& text) {
  return Expectation(text, "d.yaml:9:5", variants, metrics).evaluate(lookup);
}
bool verdict(const std::string& text) { return outcome(text).verdict; }

std::string message(const std::string& text, const std::vector<std::string>& names = variants) {
  try {
    Expectation(text, "d.yaml:9:5", names, metrics);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Expect, StatisticsOverSeeds) {
  EXPECT_TRUE(verdict("mean(rel_l2[pi-hc]) == 8/3"));
  EXPECT_TRUE(verdict("median(rel_l2[pi-hc]) == 3"));
  EXPECT_TRUE(verdict("median(rel_l2[pi-hc-moe]) == 1.5"));
  EXPECT_TRUE(verdict("min(rel_l2[pi-hc]) == 1 and max(rel_l2[ pi-hc ]) == 4"));
  EXPECT_TRUE(verdict("abs(std(rel_l2[pi-hc-moe]) - sqrt(0.5)) < 1e-15"));
}

TEST(Expect, ArithmeticBindsAsUsual) {
  EXPECT_TRUE(verdict("1 + 2 * 3 - 4 / 2 == 5"));
  EXPECT_TRUE(verdict("(1 + 2) * 3 == 9"));
  EXPECT_TRUE(verdict("-2 + 3 == 1"));
  EXPECT_TRUE(verdict("2 - -2 == 4"));
  EXPECT_TRUE(verdict("1 - 1 - 1 == -1"));
  EXPECT_TRUE(verdict("1e-3 < .5e+1"));
  EXPECT_TRUE(verdict("8 / 2 / 2 == 2"));
}

TEST(Expect, LogicBindsAsUsual) {
  EXPECT_TRUE(verdict("1 < 2 or 1 > 2 and 1 > 2"));
  EXPECT_FALSE(verdict("(1 < 2 or 1 > 2) and 1 > 2"));
  EXPECT_TRUE(verdict("not 1 > 2 and 1 != 2"));
  EXPECT_TRUE(verdict("not not 1 < 2"));
  EXPECT_TRUE(verdict("not (1 < 2 and 2 >= 3)"));
  EXPECT_TRUE(verdict("2 <= 2"));
}

TEST(Expect, SidesOfAComparisonAreKept) {
  const auto result = outcome("median(rel_l2[pi-hc-moe]) < 0.5 * median(rel_l2[pi-hc])");

  EXPECT_FALSE(result.verdict);
  EXPECT_EQ(result.left, 1.5);
  EXPECT_EQ(result.right, 1.5);
  EXPECT_TRUE(std::isnan(outcome("1 < 2 and 2 < 3").left));
}

TEST(Expect, NanOrMissingValuesMakeItFalseAndSaySo) {
  EXPECT_FALSE(verdict("mean(failed[pi-hc]) != 0"));
  EXPECT_EQ(outcome("mean(failed[pi-hc]) != 0").note, "mean(failed[pi-hc]) is NaN");
  EXPECT_FALSE(verdict("not (mean(failed[pi-hc]) < 1)"));
  EXPECT_FALSE(verdict("1 < 2 or mean(failed[pi-hc]) < 1"));
  EXPECT_EQ(outcome("mean(rel_l2[pi-sc]) < 1").note, "mean(rel_l2[pi-sc]) has no value");
  EXPECT_EQ(outcome("std(seconds[pi-hc]) < 1").note, "std(seconds[pi-hc]) needs two seeds at least");
  EXPECT_EQ(outcome("0 / 0 < 1").note, "0 / 0 is NaN");
  EXPECT_EQ(outcome("sqrt(0 - 1) < 1").note, "sqrt of -1 is NaN");
}

TEST(Expect, TellsWhatItReads) {
  const Expectation both("mean(rel_l2[pi-hc]) < 1 or max(seconds[pi-sc]) < 2", "here", variants, metrics);
  EXPECT_TRUE(both.reads("rel_l2", "pi-hc"));
  EXPECT_TRUE(both.reads("seconds", "pi-sc"));
  EXPECT_FALSE(both.reads("rel_l2", "pi-sc"));
  EXPECT_FALSE(both.reads("failed", "pi-hc"));
}

TEST(Expect, OneVariantNeedsNotBeNamed) {
  const Expectation expectation("mean(rel_l2) < 1", "d", {"default"}, metrics);

  EXPECT_EQ(expectation.variants(), (std::vector<std::string>{"default"}));
}

TEST(Expect, Messages) {
  const std::string start = "d.yaml:9:5: expectation '";
  EXPECT_EQ(
      message("mean(rel_l2[pi-ch]) < 1"),
      start +
          "mean(rel_l2[pi-ch]) < 1', character 13: unknown variant 'pi-ch'; did you mean 'pi-hc'? (variants: "
          "pi-hc, pi-hc-moe, pi-sc)");
  EXPECT_EQ(
      message("mean(rell2[pi-hc]) < 1"),
      start +
          "mean(rell2[pi-hc]) < 1', character 6: unknown metric 'rell2'; did you mean 'rel_l2'? (metrics: "
          "rel_l2, failed, seconds)");
  EXPECT_EQ(message("medain(rel_l2[pi-hc]) < 1"),
            start +
                "medain(rel_l2[pi-hc]) < 1', character 1: unknown function 'medain'; did you mean 'median'? "
                "(functions: mean, median, min, max, std, abs, sqrt)");
  EXPECT_EQ(message("mean(rel_l2) < 1"), start +
                                             "mean(rel_l2) < 1', character 12: say of which variant: "
                                             "mean(rel_l2[variant]) (variants: pi-hc, pi-hc-moe, pi-sc)");
  EXPECT_EQ(message("rel_l2[pi-hc] < 1"),
            start +
                "rel_l2[pi-hc] < 1', character 1: 'rel_l2' needs a statistic over the seeds around it: mean, "
                "median, min, max or std, for example mean(rel_l2[variant])");
  EXPECT_EQ(message("mean(rel_l2[pi-hc])"), start +
                                                "mean(rel_l2[pi-hc])', character 1: this is a number; an "
                                                "expectation must compare, for example mean(...) < 0.1");
  EXPECT_EQ(message("1 < 2 < 3"),
            start + "1 < 2 < 3', character 7: comparisons cannot be chained; write 'a < b and b < c'");
  EXPECT_EQ(message("1 = 2"), start + "1 = 2', character 3: '=' is no comparison; did you mean '=='?");
  EXPECT_EQ(message("(1 < 2"),
            start + "(1 < 2', character 7: ')' was expected after the expression in parentheses");
  EXPECT_EQ(message("1 <"), start + "1 <', character 4: the expression ends where a value was expected");
  EXPECT_EQ(message("1 < 2x"), start + "1 < 2x', character 5: '2x' is not a number");
  EXPECT_EQ(
      message("1 < 2 3"),
      start +
          "1 < 2 3', character 7: an operator was expected here; operators: + - * / < <= > >= == != and or");
  EXPECT_EQ(message("1 and 2 < 3"),
            start + "1 and 2 < 3', character 1: 'and' joins comparisons; this side is a number");
  EXPECT_EQ(message("(1 < 2) + 1 < 3"),
            start + "(1 < 2) + 1 < 3', character 1: '+' needs numbers; this side is a comparison");
  EXPECT_EQ(message("mean < 1"), start + "mean < 1', character 6: '(' was expected after 'mean'");
  EXPECT_EQ(message("mean(rel_l2[pi-hc) < 1"),
            start + "mean(rel_l2[pi-hc) < 1', character 13: ']' is missing");
  EXPECT_EQ(message("$ < 1"), start + "$ < 1', character 1: '$' is not part of any expression");
  EXPECT_EQ(message(""), start + "', character 1: the expression ends where a value was expected");
}

TEST(ExpectFuzz, AnyTextParsesOrIsAnInputError) {
  std::mt19937 random(9);
  const std::vector<std::string> words{"mean(", "rel_l2", "[pi-hc]", ")",   "(",    "<", "==", "and ",
                                       "or ",   "not ",   "1",       ".5e", "+",    "-", "*",  "/",
                                       "abs(",  "]",      "[",       " ",   "\xff", "="};
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text;
    for (std::size_t i = random() % 12; i > 0; --i) text += words[random() % words.size()];
    try {
      static_cast<void>(Expectation(text, "fuzz", variants, metrics).evaluate(lookup));
    } catch (const InputError&) {
      continue;
    }
  }
  EXPECT_THROW(Expectation(std::string(3000, '('), "deep", variants), InputError);
  EXPECT_THROW(Expectation(std::string(3000, '-') + "1", "deep", variants), InputError);
}

}  // namespace
}  // namespace rankine
