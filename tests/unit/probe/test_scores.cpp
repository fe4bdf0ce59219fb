// Scores of classifiers against their definitions.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "src/core/random.hpp"
#include "src/probe/distance.hpp"
#include "src/probe/moments.hpp"
#include "src/probe/scores.hpp"

namespace rankine {
namespace {

/// Numbers with many equal ones among them.
std::vector<double> drawn(std::int64_t count, std::int64_t stream) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(0.1 * static_cast<double>(RandomStream(1, "scores").integer(11, 0, stream, i)));
  return out;
}

TEST(Scores, JudgementsAreThoseOfTheSoftmax) {
  const std::vector<double> scores{1, 2, 0, 3, 3, -1};
  const std::vector<Judgement> found =
      judge(Tensor::from(scores, {1, 2, 3}), Tensor::from(std::vector<std::int32_t>{1, 1}, {1, 2}));
  ASSERT_EQ(found.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    double sum = 0, brier = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += std::exp(scores[3 * i + c]);
    for (std::size_t c = 0; c < 3; ++c)
      brier += std::pow(std::exp(scores[3 * i + c]) / sum - (c == 1 ? 1 : 0), 2);
    EXPECT_NEAR(found[i].confidence, std::exp(scores[3 * i + 1]) / sum, 1e-15);
    EXPECT_NEAR(found[i].log_loss, -std::log(std::exp(scores[3 * i + 1]) / sum), 1e-15);
    EXPECT_NEAR(found[i].brier, brier, 1e-15);
  }
  EXPECT_TRUE(found[0].right);
  EXPECT_FALSE(found[1].right) << "the first of two equal scores is another class";
}

TEST(Scores, CalibrationErrorByHand) {
  // Bins (0, 0.5]: mean confidence 0.4, accuracy 1/2. (0.5, 1]: 0.8 and 2/3.
  const std::vector<double> confidence{0.6, 0.8, 0.3, 0.5, 1.0}, right{1, 0, 1, 0, 1};
  EXPECT_NEAR(calibration_error(confidence, right, 2), 2 / 5.0 * 0.1 + 3 / 5.0 * (0.8 - 2 / 3.0), 1e-15);
  EXPECT_NEAR(calibration_error(confidence, right, 1), std::abs(0.64 - 0.6), 1e-15);
}

TEST(Scores, RankingProbabilityCountsPairs) {
  const std::vector<double> above = drawn(40, 0), below = drawn(23, 1);
  double pairs = 0;
  for (const double a : above)
    for (const double b : below) pairs += a > b ? 1 : a == b ? 0.5 : 0;
  EXPECT_NEAR(ranking_probability(above, below), pairs / (40 * 23), 1e-14);
}

TEST(Scores, RiskCoverageAreaIsTheMeanRiskOfAllCoverages) {
  std::vector<double> confidence, right = drawn(30, 2);
  for (std::size_t i = 0; i < right.size(); ++i) {
    confidence.push_back(std::fmod(0.37 * static_cast<double>(i), 1.0));  // all different
    right[i] = right[i] > 0.3 ? 1 : 0;
  }
  const auto area = [&](const std::vector<double>& order_by) {
    double sum = 0;
    for (std::size_t k = 1; k <= right.size(); ++k) {
      std::vector<double> sorted = order_by;
      std::sort(sorted.rbegin(), sorted.rend());
      double errors = 0;
      for (std::size_t i = 0; i < right.size(); ++i)
        if (order_by[i] >= sorted[k - 1]) errors += 1 - right[i];
      sum += errors / static_cast<double>(k);
    }
    return sum / static_cast<double>(right.size());
  };
  std::vector<double> best;  // right ones first
  for (std::size_t i = 0; i < right.size(); ++i) best.push_back(confidence[i] + 2 * right[i]);
  const RiskCoverageArea found = risk_coverage_area(confidence, right);
  EXPECT_NEAR(found.area, area(confidence), 1e-14);
  EXPECT_NEAR(found.excess, area(confidence) - area(best), 1e-14);
  EXPECT_GT(found.excess, 0.01);
}

TEST(Scores, LineExplainsTheSquareOfTheCorrelation) {
  const std::vector<double> x{1, 2, 3, 4}, line{3, 5, 7, 9}, bent{1, 4, 9, 16};
  EXPECT_NEAR(line_r2(x, line), 1, 1e-14);
  // The line 5 x - 5 leaves 1 + 1 + 1 + 1 of the variance 129.
  EXPECT_NEAR(line_r2(x, bent), 1 - 4 / 129.0, 1e-14);
  EXPECT_TRUE(std::isnan(line_r2(std::span(x).first(2), std::span(line).first(2))));
}

TEST(Moments, AreThoseThatTheDeckNames) {
  using Steps = std::vector<std::int64_t>;
  EXPECT_EQ(moments("start", 7), (Steps{0}));
  EXPECT_EQ(moments("end", 7), (Steps{7}));
  EXPECT_EQ(moments("ends", 7), (Steps{0, 7}));
  EXPECT_EQ(moments("3", 7), (Steps{0, 3, 6, 7}));
  EXPECT_EQ(moments("log", 20), (Steps{0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20}));
  EXPECT_EQ(moments("ends", 0), (Steps{0}));
}

}  // namespace
}  // namespace rankine
