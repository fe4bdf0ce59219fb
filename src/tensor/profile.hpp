// Where the time of training steps goes: by op, by kernel, and what travels between host and device and
// between ranks. For `rankine run --profile`; without a profile an op costs one test of a pointer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/runtime.hpp"
#include "src/comm/communicator.hpp"
#include "src/core/clock.hpp"
#include "src/tensor/tape.hpp"

namespace rankine {

/// What this machine reaches, measured: multiply-adds of a product of matrices of f32 (two flops each), and
/// the bytes that a copy reads and writes.
struct MachineLimits {
  double flops = 0, bytes = 0;  ///< a second
};
MachineLimits measured_limits();

/// Counts while it lives, for its thread; there is one at a time. Each op is waited for, so that times are
/// its own.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;
  static Profile* active();

  // What runs call; nothing happens where no profile lives.
  /// Around training steps; what is outside does not count. The first steps are left out where others follow:
  /// they take memory and make plans.
  static void begin_steps();
  static void end_steps(std::int64_t count);
  /// The time since the last lap, op or begin belongs to `name`. Where calls do not tell their cost, it is
  /// that of the kernels that ran in this time.
  static void lap(std::string_view name, const Cost& cost = {}, std::int64_t calls = 1);

  const CostTable& rows() const { return rows_; }
  std::int64_t calls(std::string_view name) const;
  std::int64_t steps() const { return steps_; }
  double seconds() const { return seconds_; }
  /// All steps' sums.
  const DeviceCounters& counters() const { return counters_; }

  /// Tables, the longest times first, as means over the steps.
  std::string text(const std::string& title, const MachineLimits& limits) const;

 private:
  CostTable rows_;
  bool inside_ = false;
  std::int64_t steps_ = 0, periods_ = 0;
  double seconds_ = 0;
  Stopwatch lap_, period_;
  DeviceCounters counters_, counters_before_;
  Traffic traffic_, traffic_before_;
  Cost kernels_before_;
};

/// A part of a step that is no op, from here to done().
template <RegionName Name>
class StepPart {
 public:
  void done(const Cost& cost = {}) {
    Profile::lap(Name.text, cost);
    region_.reset();
  }

 private:
  std::optional<Region<Name>> region_{std::in_place};
};

}  // namespace rankine
