#include <csignal>
#include <fstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/rehearsal.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using testing::Scratch;

std::string outcome(const Scratch& scratch, const std::function<void()>& work, RehearsalLimits limits = {}) {
  std::ofstream(scratch / "file") << "some bytes";
  try {
    rehearse(scratch / "file", work, limits);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Rehearsal, WhatGoesWellChangesNothing) {
  const Scratch scratch;
  int value = 1;
  EXPECT_EQ(outcome(scratch, [&] { value = 2; }), "");
  EXPECT_EQ(value, 1);
}

TEST(Rehearsal, PassesErrorsOn) {
  const Scratch scratch;
  EXPECT_EQ(outcome(scratch, [] { throw InputError("file: line 3 is wrong"); }), "file: line 3 is wrong");
}

TEST(Rehearsal, OutlivesCrashes) {
  const Scratch scratch;
  EXPECT_THAT(outcome(scratch, [] { std::raise(SIGSEGV); }), ::testing::HasSubstr("file: makes HDF5"));
  EXPECT_THAT(outcome(scratch, [] { std::raise(SIGABRT); }), ::testing::HasSubstr("the file is damaged"));
}

TEST(Rehearsal, EndsWhatDoesNotEnd) {
  const Scratch scratch;
  volatile bool go_on = true;
  EXPECT_THAT(outcome(scratch,
                      [&] {
                        while (go_on) continue;
                      },
                      {.seconds = 1}),
              ::testing::HasSubstr("busy for more than 1 s"));
}

#ifndef __SANITIZE_ADDRESS__
TEST(Rehearsal, LimitsMemory) {
  const Scratch scratch;
  // Larger than what the tests before left in the heap, which needs no new address space.
  const auto work = [] { const std::vector<char> all(std::size_t{256} << 20, 'x'); };
  EXPECT_THAT(outcome(scratch, work, {.memory = 30 << 20, .seconds = 60}),
              ::testing::HasSubstr("more than 31 MB of memory"));
  EXPECT_EQ(outcome(scratch, work, {.memory = std::uint64_t{2} << 30, .seconds = 60}), "");
}
#endif

}  // namespace
}  // namespace rankine
