#include <gtest/gtest.h>

#include "src/comm/rank_groups.hpp"

namespace rankine {
namespace {

TEST(RankGroups, AreConsecutiveAndOfEqualSizes) {
  const Communicator world = Communicator::world();
  for (int wanted = 1; wanted <= world.size() + 2; ++wanted) {
    const RankGroups groups(world, wanted);
    EXPECT_EQ(groups.count(), std::min(wanted, world.size()));
    const auto sizes = world.all_gather(groups.group().size());
    const auto indices = world.all_gather(groups.index());
    for (int r = 0; r < world.size(); ++r) {
      const auto i = static_cast<std::size_t>(r);
      EXPECT_NEAR(sizes[i], world.size() / groups.count(), 1);
      if (r > 0) {
        EXPECT_TRUE(indices[i] == indices[i - 1] || indices[i] == indices[i - 1] + 1);
      }
    }
    EXPECT_EQ(indices.front(), 0);
    EXPECT_EQ(indices.back(), groups.count() - 1);
    EXPECT_EQ(groups.group().is_root(), world.rank() == groups.root_of(groups.index()));
  }
}

TEST(RankGroups, WhatOneRankTellsReachesAllRoots) {
  const Communicator world = Communicator::world();
  RankGroups groups(world, world.size());
  EXPECT_EQ(groups.told(), 0);
  world.barrier();
  if (world.rank() == world.size() - 1) {
    groups.tell(7);
    groups.tell(9);  // too late
  }
  while (groups.told() == 0) {
  }
  EXPECT_EQ(groups.told(), 7);
  EXPECT_EQ(groups.meet([] {}), 7);
}

TEST(RankGroups, MeetingTakesInWhatNobodyAskedFor) {
  const Communicator world = Communicator::world();
  for (int round = 0; round < 4; ++round) {
    RankGroups groups(world, 2);
    bool first = true;
    const std::int64_t value = 10 + world.rank();
    // All tell something, some before the meeting, some in it; none asks.
    if ((world.rank() + round) % 2 == 0) groups.tell(value);
    const std::int64_t largest = groups.meet([&] {
      if (first) groups.tell(value);
      first = false;
    });
    EXPECT_LE(largest, 9 + world.size());
    if (round % 2 == 0) {
      EXPECT_GE(largest, 10);
    }
  }
}

}  // namespace
}  // namespace rankine
