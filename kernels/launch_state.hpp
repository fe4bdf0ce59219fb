// What the launch primitives and the runtime share. kernels/ only.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

#include "kernels/runtime.hpp"

namespace rankine::kernels {

struct LaunchState {
  DeviceCounters counters;
  LaunchOrder order = LaunchOrder::natural;
  bool deferred = false;
  bool timed = false;
  std::int64_t failing = 0;        // the number of the launch that is to fail, for proofs
  const char* last = "its start";  // the name of the last launch
  bool lost = false;               // the device has failed: nothing more can be done with it
};
extern LaunchState launch_state;

/// Throws DeviceError; from now on the device counts as lost.
[[noreturn]] void device_failed(const char* launch, const std::string& cause);
/// Fails as RANKINE_FAIL_LAUNCH says.
void fail_as_planted();

inline void count_launch(const char* name) {
  launch_state.last = name;
  if (++launch_state.counters.launches == launch_state.failing) fail_as_planted();
}

/// work(), with what Kokkos throws told as a failure of the device.
template <class Work>
void on_device(Work&& work) {
  try {
    work();
  } catch (const std::exception& error) {
    device_failed(launch_state.last, error.what());
  }
}

/// Tells, where launches are timed, what a call of the kernel `name` does: once for all launches that it
/// makes under this name. map() and map_index() tell it themselves.
void add_work(const char* name, const Cost& cost);
inline void count_work(const char* name, const Cost& cost) {
  if (launch_state.timed) add_work(name, cost);
}
/// The bytes of so many T.
template <class T>
constexpr double in_bytes(std::int64_t count) {
  return static_cast<double>(sizeof(T)) * static_cast<double>(count);
}

/// Times the launch whose scope it lives in, where launches are timed. Also for loops of the host that are no
/// launches.
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
