#include <cstddef>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "src/core/clock.hpp"
#include "src/core/memory.hpp"

namespace rankine {
namespace {

TEST(Memory, FollowsAllocations) {
  const std::int64_t before = current_memory_bytes();
  if (before == 0) GTEST_SKIP() << "this system does not say";
  const std::size_t size = std::size_t{64} << 20;
  {
    std::vector<char> block(size, 1);
    EXPECT_EQ(block[size / 2], 1);
    EXPECT_GE(current_memory_bytes() - before, static_cast<std::int64_t>(size * 9 / 10));
  }
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed, to notice its use
  EXPECT_LE(current_memory_bytes() - before, static_cast<std::int64_t>(size / 2));
#endif
  EXPECT_GE(peak_memory_bytes() - before, static_cast<std::int64_t>(size * 9 / 10));
}

// The last test of memory here: the allocator does not change back.
TEST(MemoryKept, IsThereForTheNextAllocation) {
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "another allocator";
#endif
  const std::int64_t before = current_memory_bytes();
  if (before == 0) GTEST_SKIP() << "this system does not say";
  keep_freed_memory();
  const std::size_t size = std::size_t{64} << 20;
  for (int round = 0; round < 4; ++round) {
    std::vector<char> block(size, 1);
    EXPECT_EQ(block[size / 2], 1);
  }
  EXPECT_GE(current_memory_bytes() - before, static_cast<std::int64_t>(size * 9 / 10));
  EXPECT_LE(current_memory_bytes() - before, static_cast<std::int64_t>(size * 3 / 2));
}

TEST(Stopwatch, CountsSeconds) {
  Stopwatch watch;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(watch.seconds(), 0.02);
  EXPECT_GE(watch.lap(), 0.02);
  EXPECT_LT(watch.seconds(), 0.02);
}

}  // namespace
}  // namespace rankine
