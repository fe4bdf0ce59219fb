// The grammar of `expect:`, its messages, and what NaN does.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
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
bool verdict(const std::string& text) { return outcome(text).holds; }

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

  EXPECT_FALSE(result.holds);
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
  EXPECT_EQ(message("mean(rel_l2[pi-ch]) < 1"),
            start +
                "mean(rel_l2[pi-ch]) < 1', character 13: unknown variant 'pi-ch'; did you mean 'pi-hc'? "
                "(variants: pi-hc, pi-hc-moe, pi-sc)");
  EXPECT_EQ(message("mean(rell2[pi-hc]) < 1"),
            start +
                "mean(rell2[pi-hc]) < 1', character 6: unknown metric 'rell2'; did you mean 'rel_l2'? "
                "(metrics: rel_l2, failed, seconds)");
  EXPECT_EQ(message("medain(rel_l2[pi-hc]) < 1"),
            start +
                "medain(rel_l2[pi-hc]) < 1', character 1: unknown function 'medain'; did you mean 'median'? "
                "(functions: mean, median, min, max, std, abs, sqrt, log, exp, slope, r2, pearson, spearman, "
                "monotone, all, "
                "p, holm, time_to, censored)");
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
  EXPECT_EQ(message("1 = 2"), start + "1 = 2', character 3: '=' is not a comparison; did you mean '=='?");
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

// Five variants of a sweep over a width, two of another family, and eight seeds.
const std::vector<std::string> nets{"net-16",  "net-32",  "net-64",  "net-128",
                                    "net-256", "wide-16", "wide-32", "plain"};

std::vector<double> noise(std::size_t shift) {
  std::vector<double> values{0.3, -0.1, 0.2, -0.4, 0.1, 0.4, -0.2, -0.3};
  std::rotate(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(shift % values.size()),
              values.end());
  return values;
}

/// error = 4 / sqrt(width); accuracy = 1 (plain), 1.001 (net-16), 1.002 (net-32) ... with noise that seeds
/// share; validation is best for net-64; `loud` has noise alone, other noise for each variant.
std::vector<double> of_nets(const std::string& metric, const std::string& variant) {
  const auto at = std::find(nets.begin(), nets.end(), variant) - nets.begin();
  const double width = variant == "plain" ? 8 : std::stod(variant.substr(variant.find('-') + 1));
  if (metric == "error") return std::vector<double>(8, 4 / std::sqrt(width));
  std::vector<double> values = noise(metric == "loud" ? static_cast<std::size_t>(3 * at) : 0);
  for (double& v : values) {
    v = 0.01 * v;
    if (metric == "accuracy") v += 1 + (variant == "plain" ? 0 : 0.001 * static_cast<double>(at + 1));
    if (metric == "validation") v += variant == "net-64" ? 2 : 1;
    if (metric == "time_to(validation >= 2)") v = variant == "net-64" ? 30 : 100;
    if (metric == "censored(validation >= 2)") v = variant == "net-64" ? 0 : 1;
  }
  // Differences that vary from seed to seed.
  if (metric == "accuracy" && variant != "plain") values.front() += 1e-4 * static_cast<double>(at + 1);
  return values;
}

std::optional<double> width_of(const std::string& variant, const std::string& path) {
  if (path == "model.blocks[dense].units" || path == "model.width") {
    const std::size_t dash = variant.find('-');
    return dash == std::string::npos ? std::nullopt : std::optional(std::stod(variant.substr(dash + 1)));
  }
  if (path == "train.rate") return 0.1;
  return std::nullopt;
}

Expectation of_sweep(const std::string& text) {
  return {text, "d", nets, {"error", "accuracy", "validation", "loud"}, width_of};
}
Expectation::Outcome swept(const std::string& text) { return of_sweep(text).evaluate(of_nets); }
std::string verdict_of(const std::string& text) { return verdict_name(swept(text).verdict); }
std::string swept_message(const std::string& text) {
  try {
    of_sweep(text);
  } catch (const InputError& error) {
    const std::string what = error.what();
    return what.substr(what.find("character"));
  }
  return "no error";
}

TEST(ExpectVerdicts, AMarginBelowItsStandardErrorIsUndecided) {
  EXPECT_EQ(verdict_of("mean(accuracy[plain]) > 0.9"), "pass");
  EXPECT_EQ(verdict_of("mean(accuracy[plain]) > 1.1"), "fail");
  EXPECT_EQ(verdict_of("mean(accuracy[plain]) > 0.9995"), "undecided");
  EXPECT_TRUE(swept("mean(accuracy[plain]) > 0.9995").holds);
  EXPECT_EQ(verdict_of("mean(accuracy[plain]) > 1.0005"), "undecided");
  EXPECT_FALSE(swept("mean(accuracy[plain]) > 1.0005").holds);
}

TEST(ExpectVerdicts, LogicKnowsUndecided) {
  const std::string pass = "1 < 2", fail = "1 > 2", open = "mean(accuracy[plain]) > 0.9995";
  EXPECT_EQ(verdict_of(pass + " and " + open), "undecided");
  EXPECT_EQ(verdict_of(open + " and " + pass), "undecided");
  EXPECT_EQ(verdict_of(open + " and " + fail), "fail");
  EXPECT_EQ(verdict_of(fail + " and " + open), "fail");
  EXPECT_EQ(verdict_of(pass + " or " + open), "pass");
  EXPECT_EQ(verdict_of(open + " or " + pass), "pass");
  EXPECT_EQ(verdict_of(fail + " or " + open), "undecided");
  EXPECT_EQ(verdict_of("not " + open), "undecided");
  EXPECT_EQ(verdict_of("not " + fail), "pass");
  EXPECT_EQ(verdict_of("not " + pass), "fail");
}

TEST(ExpectPairs, SeedsArePairedBeforeTheStatistic) {
  EXPECT_TRUE(swept("min(accuracy[net-16] - accuracy[plain]) > 0.0009").holds) << "their noise is the same";
  EXPECT_FALSE(swept("min(accuracy[net-16]) - max(accuracy[plain]) > 0").holds);
  EXPECT_TRUE(swept("mean(2 * accuracy[plain] + 1) == 2 * mean(accuracy[plain]) + 1").holds);
  EXPECT_TRUE(swept("max(abs(loud[plain] / 0.01)) >= 0.39").holds);
  EXPECT_LT(swept("mean(accuracy[net-16] - accuracy[plain]) > 0").standard_error, 1e-4);
  const Expectation uneven("mean(rel_l2[pi-hc] - rel_l2[pi-hc-moe]) > 0", "d", variants, metrics);
  EXPECT_EQ(uneven.evaluate(lookup).note, "mean(rel_l2[pi-hc] - rel_l2[pi-hc-moe]) pairs 3 seeds with 2");
}

TEST(ExpectFamilies, FitsOverAKey) {
  EXPECT_NEAR(swept("slope(log(mean(error[net-*])), log(model.width)) < 0").left, -0.5, 1e-12);
  EXPECT_NEAR(swept("r2(log(mean(error[net-*])), log(model.blocks[dense].units)) > 0").left, 1, 1e-12);
  EXPECT_LT(swept("r2(mean(error[net-*]), model.width) > 0").left, 0.8);
  EXPECT_EQ(swept("spearman(mean(error[net-*]), model.width) == -1").left, -1);
  EXPECT_NEAR(swept("pearson(mean(error[net-*]), 2 / sqrt(model.width)) > 0").left, 1, 1e-12);
  EXPECT_EQ(swept("slope(mean(error[net-*]), train.rate) < 0").note,
            "slope: the key has the same everywhere");
  EXPECT_EQ(verdict_of("slope(mean(loud[net-*]), log(model.width)) > 0"), "undecided");
}

TEST(ExpectFamilies, MonotoneIsTheSmallestStep) {
  EXPECT_EQ(verdict_of("monotone(mean(error[net-*]), model.width, decreasing)"), "pass");
  EXPECT_EQ(verdict_of("monotone(mean(error[net-*]), decreasing)"), "pass") << "in the order of the deck";
  EXPECT_EQ(verdict_of("monotone(mean(error[net-*]), -model.width, increasing)"), "pass");
  EXPECT_EQ(verdict_of("monotone(mean(error[net-*]), model.width, increasing)"), "fail");
  EXPECT_NEAR(swept("monotone(mean(error[net-*]), decreasing)").left, 4 / std::sqrt(128) - 4 / 16.0, 1e-12);
  EXPECT_EQ(verdict_of("monotone(mean(loud[net-*]), increasing)"), "undecided");
}

TEST(ExpectFamilies, AllBindsOneTextToTheStar) {
  EXPECT_EQ(verdict_of("all(mean(error[net-*]) > 0.2)"), "pass");
  EXPECT_EQ(verdict_of("all(mean(error[net-*]) > 0.4)"), "fail");
  const Expectation both =
      of_sweep("all(mean(accuracy[net-*] - accuracy[plain]) > 0 and mean(error[net-*]) < 2)");
  EXPECT_TRUE(both.evaluate(of_nets).holds);
  EXPECT_EQ(both.variants().size(), 6U);
  EXPECT_TRUE(both.reads("accuracy", "net-64"));
  EXPECT_EQ(
      swept_message("all(mean(error[net-*]) < mean(error[wide-*]))"),
      "character 37: '*' is the same text everywhere here: there is 'net-64', but no variant 'wide-64'");
  EXPECT_EQ(
      swept_message("all(mean(error[wide-*]) < mean(error[net-*]))"),
      "character 38: '*' is the same text everywhere here: there is 'net-64', but no variant 'wide-64'");
}

TEST(ExpectTests, StudentsTOfPairedDifferences) {
  // scipy.stats.ttest_1samp(d, m, alternative=...) of d = 0.001 + (1e-4, 0, 0, 0, 0, 0, 0, 0).
  const auto p = [](const std::string& claim) { return swept("p(" + claim + ") <= 0.05").left; };
  const std::string d = "mean(accuracy[net-16] - accuracy[plain])";
  EXPECT_NEAR(p(d + " > 0.001"), 0.1753084, 2e-6);
  EXPECT_NEAR(p(d + " < 0.001"), 1 - 0.1753084, 2e-6);
  EXPECT_NEAR(p(d + " != 0.001"), 2 * 0.1753084, 4e-6);
  EXPECT_NEAR(p("abs(" + d + ") < 0.00103"), 0.1021205, 2e-6) << "only the nearer bound counts";
  EXPECT_LT(p(d + " > 0"), 1e-10);
  EXPECT_EQ(verdict_of("p(" + d + " > 0) <= 0.05"), "pass");
  EXPECT_EQ(verdict_of("p(" + d + " > 0.001) <= 0.05"), "undecided");
  EXPECT_EQ(verdict_of("p(" + d + " < 0) <= 0.05"), "fail") << "the opposite is shown";
  EXPECT_EQ(verdict_of("p(" + d + " != 0.001) <= 0.05"), "undecided");
  EXPECT_EQ(swept("p(mean(error[plain]) > 4 / sqrt(8)) < 0.05").left, 0.5) << "equal without spread";
  EXPECT_EQ(swept("p(mean(error[plain]) > 1) < 0.05").left, 0) << "no spread";
}

TEST(ExpectTests, EquivalenceIsTwoOneSidedTests) {
  const std::string d = "mean(accuracy[net-16] - accuracy[plain])";
  EXPECT_EQ(verdict_of("p(abs(" + d + ") < 0.01) <= 0.05"), "pass");
  EXPECT_EQ(verdict_of("p(abs(" + d + ") < 0.0005) <= 0.05"), "fail");
  EXPECT_EQ(verdict_of("p(abs(" + d + ") < 0.00102) <= 0.05"), "undecided");
}

TEST(ExpectTests, HolmCorrectsForSeveral) {
  const auto p = [](const std::string& text) { return swept(text + " <= 0.05").left; };
  const double one = p("p(mean(loud[net-16]) > 0)"), two = p("p(mean(loud[net-16] - 0.002) < 0)");
  ASSERT_NE(one, two);
  const double low = std::min(one, two), high = std::max(one, two);
  EXPECT_DOUBLE_EQ(p("holm(p(mean(loud[net-16]) > 0), p(mean(loud[net-16] - 0.002) < 0))"),
                   std::max(std::min(1.0, 2 * low), high));
  EXPECT_EQ(verdict_of("holm(p(mean(accuracy[net-*] - accuracy[plain]) > 0)) <= 0.05"), "pass");
  EXPECT_EQ(verdict_of("holm(p(mean(loud[net-*]) > 0), p(mean(accuracy[net-16]) > 0)) <= 0.05"), "undecided");
  EXPECT_EQ(verdict_of("holm(p(mean(loud[net-*]) > 0), p(mean(accuracy[net-16]) < 0)) <= 0.05"), "fail");
  EXPECT_EQ(
      verdict_of("holm(p(pearson(mean(error[net-*]), model.width) != 0), p(spearman(mean(error[net-*]), "
                 "model.width) < 0)) <= 0.1"),
      "pass");
}

TEST(ExpectChoice, IsMadeOnOneMetricAndJudgedOnAnother) {
  const auto chosen = swept("mean(accuracy[argmax(validation, net-*)]) > 1");
  EXPECT_NEAR(chosen.left, 1.003 + 3e-4 / 8, 1e-12);
  EXPECT_EQ(chosen.remark, "argmax(validation) is net-64");
  EXPECT_EQ(swept("mean(accuracy[argmin(error, net-16, wide-32)]) > 1").remark, "argmin(error) is wide-32");
  EXPECT_TRUE(of_sweep("mean(accuracy[argmax(validation, net-*)]) > 1").reads("validation", "net-16"));
}

TEST(ExpectTimes, AreMetricsOfTheirOwn) {
  const Expectation expectation =
      of_sweep("mean(time_to(validation >= 2.0)[net-64]) <= 0.5 * mean(time_to(validation >= 2)[plain])");
  ASSERT_EQ(expectation.times().size(), 2U);
  EXPECT_EQ(expectation.times()[0].name, "time_to(validation >= 2)");
  EXPECT_EQ(expectation.times()[1].name, "censored(validation >= 2)");
  EXPECT_TRUE(expectation.reads("time_to(validation >= 2)", "plain"));
  const auto outcome = expectation.evaluate(of_nets);
  EXPECT_TRUE(outcome.holds);
  EXPECT_EQ(outcome.remark, "8 of 16 runs: censored(validation >= 2)");
  EXPECT_TRUE(swept("max(censored(validation >= 2)[net-64]) == 0").holds);
}

TEST(ExpectTimes, TheFirstStepOrTheLastOne) {
  TimeTo time{"a", ">=", 0.5, false, "time_to(a >= 0.5)"};
  const std::vector<std::pair<std::int64_t, double>> series{{10, 0.1}, {20, 0.6}, {30, 0.4}};
  EXPECT_EQ(time.of(series), 20);
  time.value = 0.7;
  EXPECT_EQ(time.of(series), 30);
  time.censored = true;
  EXPECT_EQ(time.of(series), 1);
  EXPECT_TRUE(std::isnan(time.of({})));
}

TEST(ExpectVoid, IsACondition) {
  EXPECT_TRUE(of_sweep("void unless mean(accuracy[plain]) >= 0.99").is_void_condition());
  EXPECT_FALSE(of_sweep("mean(accuracy[plain]) >= 0.99").is_void_condition());
}

TEST(Expect, MessagesOfFamiliesAndTests) {
  EXPECT_EQ(swept_message("mean(error[net-*]) < 1"),
            "character 12: 'net-*' stands for several variants; put all, monotone, slope, r2, pearson, "
            "spearman or holm around it");
  EXPECT_EQ(swept_message("all(mean(error[nat-*]) < 1)"),
            "character 16: unknown variant 'nat-*'; (variants: net-16, net-32, net-64, net-128, net-256, "
            "wide-16, wide-32, plain)");
  EXPECT_EQ(swept_message("slope(mean(error[net-*]), model.with) < 1"),
            "character 27: variant 'net-16' has no number at 'model.with'; a key is a path such as "
            "train.learning_rate");
  EXPECT_EQ(swept_message("slope(mean(error[plain]), model.width) < 1"),
            "character 1: slope needs 2 variants at least, such as those of a sweep: net-*");
  EXPECT_EQ(swept_message("r2(mean(error[wide-*]), model.width) < 1"),
            "character 1: r2 needs 3 variants at least, such as those of a sweep: net-*");
  EXPECT_EQ(swept_message("all(slope(mean(error[net-*]), model.width) < 1)"),
            "character 5: 'slope' cannot stand within another family of variants");
  EXPECT_EQ(swept_message("monotone(mean(error[net-*]), falling)"),
            "character 30: variant 'net-16' has no number at 'falling'; a key is a path such as "
            "train.learning_rate");
  EXPECT_EQ(swept_message("monotone(mean(error[net-*]), model.width, falling)"),
            "character 43: 'increasing' or 'decreasing' was expected");
  EXPECT_EQ(swept_message("p(mean(error[plain]) > 0) >= 0.05"),
            "character 1: a p-value is compared with its level: p(...) <= 0.05");
  EXPECT_EQ(swept_message("1 - p(mean(error[plain]) > 0) <= 0.05"),
            "character 1: a p-value is compared with its level: p(...) <= 0.05");
  EXPECT_EQ(swept_message("p(max(error[plain]) > 0) <= 0.05"),
            "character 1: p needs a comparison with a mean over the seeds or of a correlation: p(mean(a[x] - "
            "a[y]) > 0), "
            "p(abs(mean(a[x] - a[y])) < 0.01), p(pearson(...) != 0)");
  EXPECT_EQ(swept_message("holm(0.1) <= 0.05"),
            "character 6: holm takes p-values: holm(p(...), p(...)) <= 0.05");
  EXPECT_EQ(swept_message("mean(mean(error[plain])) < 1"), "character 6: 'mean' cannot stand within mean");
  EXPECT_EQ(swept_message("mean(3) < 1"), "character 6: a metric was expected in mean(metric[variant])");
  EXPECT_EQ(swept_message("mean(error[argmax(error)]) < 1"),
            "character 12: it needs a metric and variants: argmax(validation_accuracy, a, b)");
  EXPECT_EQ(swept_message("mean(error[argmax(error, x)]) < 1"),
            "character 12: unknown variant 'x'; (variants: net-16, net-32, net-64, net-128, net-256, "
            "wide-16, wide-32, plain)");
  EXPECT_EQ(swept_message("mean(time_to(validation)[plain]) < 1"),
            "character 14: time_to needs a metric of the evaluations, a comparison and a number: "
            "time_to(validation_accuracy >= 0.8)");
  EXPECT_EQ(swept_message("mean(time_to(validatoin > 1)[plain]) < 1"),
            "character 14: unknown metric 'validatoin'; did you mean 'validation'? (metrics: error, "
            "accuracy, validation, loud)");
  EXPECT_EQ(swept_message("void mean(error[plain]) < 1"),
            "character 6: 'unless' was expected after 'void': void unless mean(...) >= 0.99");
}

TEST(ExpectFuzz, AnyTextOfTheWholeLanguageParsesOrIsAnInputError) {
  std::mt19937 random(10);
  const std::vector<std::string> words{"mean(",
                                       "std(",
                                       "error",
                                       "accuracy[net-*]",
                                       "[plain]",
                                       ")",
                                       ")",
                                       "(",
                                       "<= ",
                                       ">",
                                       "and ",
                                       "slope(",
                                       "monotone(",
                                       "all(",
                                       "p(",
                                       "holm(",
                                       ", ",
                                       "abs(",
                                       "log(",
                                       "model.width",
                                       "-",
                                       "*",
                                       "0.05",
                                       "increasing",
                                       "void unless ",
                                       "[argmax(validation, net-*)]",
                                       "time_to(validation > 1)"};
  int parsed = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::string text;
    for (std::size_t i = random() % 14; i > 0; --i) text += words[random() % words.size()];
    try {
      static_cast<void>(of_sweep(text).evaluate(of_nets));
      ++parsed;
    } catch (const InputError&) {
      continue;
    }
  }
  EXPECT_GT(parsed, 0);
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
