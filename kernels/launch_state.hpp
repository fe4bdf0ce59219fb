// What the launch primitives and the runtime share. kernels/ only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "kernels/runtime.hpp"

namespace rankine::kernels {

struct LaunchState {
  DeviceCounters counters;
  LaunchOrder order = LaunchOrder::natural;
  bool deferred = false;
  bool timed = false;
};
extern LaunchState launch_state;

/// Times the launch whose scope it lives in, where launches are timed.
class LaunchTimer {
 public:
  explicit LaunchTimer(const char* name) : name_(launch_state.timed ? name : nullptr) {
    if (name_ != nullptr) start_ = std::chrono::steady_clock::now();
  }
  ~LaunchTimer() {
    if (name_ != nullptr) finish();
  }
  LaunchTimer(const LaunchTimer&) = delete;
  LaunchTimer& operator=(const LaunchTimer&) = delete;

 private:
  void finish() const;
  const char* name_;
  std::chrono::steady_clock::time_point start_;
};

/// Whether an emulated kernel runs, which alone may look into device memory.
extern bool in_launch;

/// Keeps `work` for the next fence or copy.
void defer(std::function<void()> work);

/// Place i of n in the order; each is a permutation.
std::int64_t permuted(std::int64_t i, std::int64_t n, LaunchOrder order);

}  // namespace rankine::kernels
