// What the launch primitives and the runtime share. kernels/ only.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/runtime.hpp"

namespace rankine::kernels {

struct LaunchState {
  DeviceCounters counters;
  LaunchOrder order = LaunchOrder::natural;
  bool deferred = false;
};
extern LaunchState launch_state;

/// Whether an emulated kernel runs, which alone may look into device memory.
extern bool in_launch;

/// Keeps `work` for the next fence or copy.
void defer(const char* name, std::function<void()> work);

/// Place i of n in the order; each is a permutation.
std::int64_t permuted(std::int64_t i, std::int64_t n, LaunchOrder order);

}  // namespace rankine::kernels
