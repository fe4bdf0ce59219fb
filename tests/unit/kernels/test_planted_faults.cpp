// Mistakes planted on purpose, each of which the separate-memory mode or another launch order must show.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/emulate.hpp"
#include "kernels/host_access.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace {

constexpr int right = 0, wrong = 3, touched = 99;

/// Runs a part of a test in a process of its own, which starts with other environment variables.
class Planted : public testing::Test {
 protected:
  Planted() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~Planted() override {
    for (const char* name : {"RANKINE_MEMORY", "RANKINE_LAUNCH_ORDER", "RANKINE_LAUNCH_DEFERRED"})
      ::unsetenv(name);
  }
  static void with(const char* memory, const char* order, const char* deferred) {
    ::setenv("RANKINE_MEMORY", memory, 1);
    ::setenv("RANKINE_LAUNCH_ORDER", order, 1);
    ::setenv("RANKINE_LAUNCH_DEFERRED", deferred, 1);
  }
};

DevicePtr<double> ones(std::int64_t n) {
  const auto memory = device_allocate(static_cast<std::size_t>(n) * sizeof(double)).as<double>();
  copy_to_device(memory, std::vector<double>(static_cast<std::size_t>(n), 1.0).data(), n);
  return memory;
}

[[noreturn]] void leave(bool as_meant) { std::_Exit(as_meant ? right : wrong); }

[[noreturn]] void read_by_host() {
  const auto x = ones(500);
  volatile const double* const p = x.opaque() + 1;
  leave(*p == 1.0);
}

TEST_F(Planted, ReadByTheHost) {
  with("separate", "natural", "0");
  EXPECT_EXIT(read_by_host(), testing::ExitedWithCode(touched),
              "host code touched device memory: near byte [08] of a block of 4000");
  with("shared", "natural", "0");
  EXPECT_EXIT(read_by_host(), testing::ExitedWithCode(right), "");
}

[[noreturn]] void sort_by_host() {
  const auto x = ones(500);
  std::sort(x.opaque(), x.opaque() + 500);
  leave(true);
}

TEST_F(Planted, AlgorithmOfTheStandardLibrary) {
  with("separate", "natural", "0");
  EXPECT_EXIT(sort_by_host(), testing::ExitedWithCode(touched), "host code touched device memory");
}

struct Double {
  KOKKOS_FORCEINLINE_FUNCTION double operator()(double x) const { return 2 * x; }
};

// As a library would that gets the address of device memory and does not wait for launches.
[[noreturn]] void read_without_fence() {
  const auto x = ones(100);
  map("double", Double{}, 100, x, DevicePtr<const double>(x));
  leave(*x.unwrap() == 2.0);
}

TEST_F(Planted, MissingFence) {
  with("separate", "natural", "0");
  EXPECT_EXIT(read_without_fence(), testing::ExitedWithCode(right), "");
  with("separate", "natural", "1");
  EXPECT_EXIT(read_without_fence(), testing::ExitedWithCode(wrong), "");
}

// HostRead where HostUpdate is meant: what is written stays in the copy.
[[noreturn]] void write_through_a_read() {
  const auto x = ones(10);
  {
    const HostRead<double> host(x, 10);
    const_cast<double*>(host.get())[3] = 5;
  }
  std::vector<double> back(10);
  copy_to_host(back.data(), x, 10);
  leave(back[3] == 5);
}

TEST_F(Planted, ForgottenWriteBack) {
  with("separate", "natural", "0");
  EXPECT_EXIT(write_through_a_read(), testing::ExitedWithCode(wrong), "");
}

// HostWrite where only a part is written.
[[noreturn]] void write_a_part() {
  const auto x = ones(10);
  {
    const HostWrite<double> host(x, 10);
    host[0] = 2;
  }
  std::vector<double> back(10);
  copy_to_host(back.data(), x, 10);
  leave(back[9] == 1);
}

TEST_F(Planted, PartlyWritten) {
  with("separate", "natural", "0");
  EXPECT_EXIT(write_a_part(), testing::ExitedWithCode(wrong), "");
}

struct Prefix {
  View<double> x;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    if (i > 0) x[i] += x[i - 1];
  }
};

// Blocks that are taken for independent and are not.
[[noreturn]] void add_in_order() {
  const auto x = ones(100);
  units("prefix", 100, Prefix{x});
  std::vector<double> back(100);
  copy_to_host(back.data(), x, 100);
  leave(back[99] == 100);
}

TEST_F(Planted, BlocksThatDependOnEachOther) {
  with("shared", "reversed", "0");
  EXPECT_EXIT(add_in_order(), testing::ExitedWithCode(wrong), "");
  with("shared", "shuffled", "0");
  EXPECT_EXIT(add_in_order(), testing::ExitedWithCode(wrong), "");
}

#ifndef __SANITIZE_THREAD__  // which knows nothing of fibres
/// Each thread of a team puts down its number and takes what its neighbour has put down.
struct Neighbour {
  bool waits;
  int* taken;
  void operator()(const emulated::Member& team) const {
    auto* const shared =
        static_cast<int*>(team.get_shmem(sizeof(int) * static_cast<std::size_t>(team.team_size())));
    const int me = team.team_rank();
    shared[me] = me;
    if (waits) team.team_barrier();
    taken[me] = shared[(me + 1) % team.team_size()];
  }
};

TEST(PlantedBarriers, AMissingOneChangesTheResultInEveryOrder) {
  constexpr int threads = 64;
  std::vector<int> right_ones(threads);
  for (int i = 0; i < threads; ++i) right_ones[static_cast<std::size_t>(i)] = (i + 1) % threads;
  for (const LaunchOrder order : {LaunchOrder::natural, LaunchOrder::reversed, LaunchOrder::shuffled})
    for (const bool waits : {true, false}) {
      std::vector<int> taken(threads);
      emulated::run_teams(1, threads, 1, sizeof(int) * threads, Neighbour{waits, taken.data()}, order);
      EXPECT_EQ(taken == right_ones, waits) << static_cast<int>(order);
    }
}
#endif

[[noreturn]] void uninitialised() {
  const auto x = device_allocate(80).as<double>();
  std::vector<double> back(10);
  copy_to_host(back.data(), x, 10);
  leave(std::all_of(back.begin(), back.end(), [](double v) { return v == 0; }));
}

TEST_F(Planted, FreshMemoryTakenForZeros) {
  with("separate", "natural", "0");
  EXPECT_EXIT(uninitialised(), testing::ExitedWithCode(wrong), "");
}

[[noreturn]] void start_only() {
  ensure_kokkos();
  leave(true);
}

TEST_F(Planted, UnknownValueOfTheEnvironment) {
  with("seperate", "natural", "0");
  EXPECT_DEATH(start_only(), "RANKINE_MEMORY: 'seperate' is none of: shared, separate");
}

}  // namespace
}  // namespace rankine::kernels
