#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/folder_lock.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using namespace std::chrono_literals;
using testing::Scratch;

/// What taking the folder says, "" if it is free.
std::string refusal(const std::string& folder, const FolderLock::Settings& settings = {}) {
  try {
    const FolderLock lock(folder, {}, settings);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

/// A process that has the folder until it is killed.
pid_t other_job(const std::string& folder, const FolderLock::Settings& settings) {
  int ready[2];
  if (::pipe(ready) != 0) return -1;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const FolderLock lock(folder, {}, settings);
    static_cast<void>(!::write(ready[1], "x", 1));
    for (;;) ::pause();
  }
  char byte = 0;
  static_cast<void>(!::read(ready[0], &byte, 1));
  ::close(ready[0]);
  ::close(ready[1]);
  return pid;
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

class Locks : public ::testing::TestWithParam<bool> {};

TEST_P(Locks, OneJobAtATimeAndNoneAfterAKill) {
  const Scratch scratch;
  const FolderLock::Settings settings{.heartbeat = 50ms, .use_flock = GetParam()};
  const pid_t pid = other_job(scratch.path(), settings);
  EXPECT_THAT(refusal(scratch.path(), settings),
              ::testing::AllOf(
                  ::testing::HasSubstr("another job works with this folder: process " + std::to_string(pid)),
                  ::testing::HasSubstr("--output")));
  end(pid);
  EXPECT_EQ(refusal(scratch.path(), settings), "");
  EXPECT_EQ(refusal(scratch.path(), settings), "") << "the first one has not given it back";
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutFlock, Locks, ::testing::Bool());

TEST(FolderLock, AnotherMachineIsDeadWithoutAHeartbeat) {
  const Scratch scratch;
  const FolderLock::Settings there{
      .heartbeat = 20ms, .missed_beats = 1000, .host = "there", .use_flock = false};
  const FolderLock::Settings here{.heartbeat = 50ms, .missed_beats = 6, .host = "here", .use_flock = false};
  const pid_t pid = other_job(scratch.path(), there);
  EXPECT_THAT(refusal(scratch.path(), here), ::testing::HasSubstr("on there, which is alive"));
  end(pid);
  EXPECT_EQ(refusal(scratch.path(), here), "");
}

TEST(FolderLock, ARequeuedJobDoesNotWaitForItself) {
  const Scratch scratch;
  std::ofstream(scratch / "lock") << "host=there\npid=1\nstart=2\njob=77\n";
  ::setenv("SLURM_JOB_ID", "77", 1);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(refusal(scratch.path()), "");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  ::unsetenv("SLURM_JOB_ID");
}

TEST(FolderLock, NeedsAFolderThatItCanWriteTo) { EXPECT_THROW(FolderLock("/proc/no/such/folder"), IoError); }

}  // namespace
}  // namespace rankine
