// Averages of parameters against their formulas.
#include <algorithm>

#include <gtest/gtest.h>

#include "src/train/average.hpp"

namespace rankine {
namespace {

/// Of the numbers 1, 2, ... 8, one after each step, from 100.
std::vector<double> averages_of(const std::string& text) {
  const auto average = averages().make(parse_deck_text("average: " + text, "test.yaml").child("average"));
  std::vector<double> out;
  double now = 100;
  for (int step = 0; step < 8; ++step) {
    const double share = average->share(step);
    now = (1 - share) * now + share * (step + 1);
    out.push_back(now);
  }
  return out;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-13 * b[i]) << i;
}

TEST(Average, ExponentialForgetsAtItsDecayOrSoonerAtFirst) {
  EXPECT_EQ(averages_of("{name: ema, decay: 0}"), (std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(averages_of("{name: ema, decay: 1}"), std::vector<double>(8, 100));
  std::vector<double> plain, warm;
  double p = 100, w = 100;
  for (int n = 0; n < 8; ++n) {
    const double decay = std::min(0.25, (1.0 + n) / (10 + n));
    plain.push_back(p = 0.25 * p + 0.75 * (n + 1));
    warm.push_back(w = decay * w + (1 - decay) * (n + 1));
  }
  expect_near(averages_of("{name: ema, decay: 0.25}"), plain);
  expect_near(averages_of("{name: ema, decay: 0.25, warm_up: true}"), warm);
}

TEST(Average, UniformIsTheMeanOfTheStepsThatCount) {
  expect_near(averages_of("uniform"), {1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5});
  expect_near(averages_of("{name: uniform, from: 2, every: 3}"), {1, 2, 3, 3, 3, 4.5, 4.5, 4.5});
}

}  // namespace
}  // namespace rankine
