#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "src/run/driver.hpp"

namespace rankine {
namespace {

TEST(Deal, TheLongestGoFirstToWhoHasLeast) {
  const std::vector<double> seconds{1, 5, 1, 4, 1};
  EXPECT_EQ(deal(seconds, 2), (std::vector<int>{1, 0, 0, 1, 1}));  // 6 s and 6 s
  EXPECT_EQ(deal(seconds, 1), (std::vector<int>{0, 0, 0, 0, 0}));
}

TEST(Deal, EqualOnesAreSpreadInTurn) {
  EXPECT_EQ(deal(std::vector<double>(5, 2.0), 2), (std::vector<int>{0, 1, 0, 1, 0}));
  EXPECT_EQ(deal(std::vector<double>(4, 0.0), 2), (std::vector<int>{0, 1, 0, 1}));  // nobody knows how long
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(deal(std::vector<double>{unknown, unknown}, 2), (std::vector<int>{0, 1}));
}

TEST(Deal, WhatIsDoneIsLeftOut) {
  EXPECT_EQ(deal(std::vector<double>{3, -1, 2}, 2), (std::vector<int>{0, -1, 1}));
  EXPECT_EQ(deal(std::vector<double>{-1}, 3), (std::vector<int>{-1}));
}

TEST(PathOfTask, StandsBeforeTheEnding) {
  EXPECT_EQ(path_of_task("a.d/results.h5", {.task = 2, .tasks = 8}), "a.d/results.task_2_of_8.h5");
  EXPECT_EQ(path_of_task("results", {.task = 1, .tasks = 1}), "results.task_1_of_1");
  EXPECT_EQ(path_of_task("results.h5", {}), "results.h5");
}

}  // namespace
}  // namespace rankine
