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
  const char* running = "";  ///< the kernel that runs, for reports of faults
};
extern LaunchState launch_state;

/// Whether this thread is inside a kernel, which alone may look into device memory.
extern thread_local bool in_launch;

/// Keeps `work` for the next fence or copy.
void defer(const char* name, std::function<void()> work);

/// Place i of n in the order; each is a permutation.
std::int64_t permuted(std::int64_t i, std::int64_t n, LaunchOrder order);

}  // namespace rankine::kernels
