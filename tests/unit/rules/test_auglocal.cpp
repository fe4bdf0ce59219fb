// What the paper of AugLocal fixes: depths, mirrored blocks, and gradients that stay inside their module.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/rules/auglocal.hpp"

namespace rankine {
namespace {

using testing::ElementsAre;

TEST(AugLocal, DepthsFormAPyramid) {
  // ResNet-110: 55 hidden blocks, budget 3, taper 0.5: from 3 down to 3 (1 - 0.5) + 0.5 = 2.
  EXPECT_EQ(auxiliary_depth(0, 55, 3, 0.5), 3);
  EXPECT_EQ(auxiliary_depth(50, 55, 3, 0.5), 2);
  // Budget 4 on 16 blocks: 4 at the first, 2.5 (rounded up) at the last but one module; never increasing.
  int before = 4;
  for (int l = 0; l <= 10; ++l) {
    const int d = auxiliary_depth(l, 16, 4, 0.5);
    EXPECT_LE(d, before);
    before = d;
  }
  EXPECT_EQ(before, 3);
  EXPECT_EQ(auxiliary_depth(7, 16, 4, 0), 4);
  EXPECT_EQ(auxiliary_depth(9, 16, 1, 1), 1);
}

TEST(AugLocal, MirroredBlocksAreSpreadEvenlyAndEndWithTheLast) {
  EXPECT_THAT(auxiliary_blocks(0, 8, 3), ElementsAre(2, 5, 7));        // 0 + 7/3 j = 2.33, 4.67, 7
  EXPECT_THAT(auxiliary_blocks(1, 16, 4), ElementsAre(5, 8, 12, 15));  // 4.5 and 11.5 round up
  EXPECT_THAT(auxiliary_blocks(5, 8, 3), ElementsAre(6, 7));
  EXPECT_THAT(auxiliary_blocks(7, 8, 3), ElementsAre());
}

TEST(AugLocal, CostsAreDealtSoThatTheDearestRankIsCheapest) {
  EXPECT_THAT(balanced_ends({5, 1, 1, 1, 4}, 2), ElementsAre(2, 5));
  EXPECT_THAT(balanced_ends({1, 1, 1, 9}, 2), ElementsAre(3, 4));
  EXPECT_THAT(balanced_ends({2, 2, 2, 2, 2, 2}, 3), ElementsAre(2, 4, 6));
  EXPECT_THAT(balanced_ends({3}, 1), ElementsAre(1));
}

}  // namespace
}  // namespace rankine
