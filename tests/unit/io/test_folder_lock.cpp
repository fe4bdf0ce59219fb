#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
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
  std::ofstream(scratch / FolderLock::name) << "host=there\npid=1\nstart=2\njob=77\n";
  ::setenv("SLURM_JOB_ID", "77", 1);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(refusal(scratch.path()), "");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  ::unsetenv("SLURM_JOB_ID");
}

TEST(FolderLock, LeavesNothingBehindAndTakesNoForeignFile) {
  const Scratch scratch;
  EXPECT_EQ(refusal(scratch.path()), "");
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  testing::put_file(scratch / FolderLock::name, "somebody's notes");
  EXPECT_THAT(refusal(scratch.path()), ::testing::HasSubstr("is none; move it away"));
  std::ifstream file(scratch / FolderLock::name);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "somebody's notes");
}

/// Processes that all start to take the same lock at once: how many get it.
int winners(const std::string& target, bool use_flock) {
  int start[2], result[2];
  if (::pipe(start) != 0 || ::pipe(result) != 0) return -1;
  constexpr int jobs = 8;
  std::vector<pid_t> pids;
  for (int i = 0; i < jobs; ++i) {
    pids.push_back(::fork());
    if (pids.back() != 0) continue;
    char byte = 0;
    ::close(start[1]);
    static_cast<void>(!::read(start[0], &byte, 1));  // ends when the parent closes it
    try {
      const OutputLock lock(target, "out.h5", "run.output", {}, {.heartbeat = 50ms, .use_flock = use_flock});
      static_cast<void>(!::write(result[1], "w", 1));
      ::close(result[1]);
      for (;;) ::pause();
    } catch (const InputError&) {
      static_cast<void>(!::write(result[1], "l", 1));
    }
    ::_exit(0);
  }
  ::close(start[0]);
  ::close(start[1]);
  int won = 0;
  for (int i = 0; i < jobs; ++i) {
    char byte = 0;
    if (::read(result[0], &byte, 1) == 1 && byte == 'w') ++won;
  }
  for (const pid_t pid : pids) end(pid);
  ::close(result[0]);
  ::close(result[1]);
  return won;
}

TEST_P(Locks, OfJobsThatStartAtOnceOneWins) {
  const Scratch scratch;
  for (int round = 0; round < 20; ++round) EXPECT_EQ(winners(scratch / "out.h5", GetParam()), 1) << round;
}

TEST(FolderLock, NamesTheFileOfAJobThatEndedWhileItTookTheLock) {
  const Scratch scratch;
  const FolderLock::Settings settings{.heartbeat = 50ms, .use_flock = false};
  end(other_job(scratch.path(), settings));
  std::ifstream file(scratch / FolderLock::name);
  std::string host, pid, start;
  file >> host >> pid >> start;  // key=value
  const std::string left =
      scratch / fmt::format("{}.after.{}.{}", FolderLock::name, pid.substr(4), start.substr(6));
  testing::put_file(left, "");
  EXPECT_THAT(refusal(scratch.path(), settings),
              ::testing::StartsWith(left + ": was left by a job that ended"));
  std::filesystem::remove(left);
  EXPECT_EQ(refusal(scratch.path(), settings), "");
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(FolderLock, NeedsAFolderThatItCanWriteTo) { EXPECT_THROW(FolderLock("/proc/no/such/folder"), IoError); }

}  // namespace
}  // namespace rankine
