// What the host wants to know of a training step: numbers and flags that kernels leave in one small block of
// device memory, which is read at once. A read makes the host wait for the device, so a step has one.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

class CheckFlag;

class StepReport {
 public:
  /// Until its end, checks of this thread wait for read().
  StepReport();
  ~StepReport();
  StepReport(const StepReport&) = delete;
  StepReport& operator=(const StepReport&) = delete;

  /// A number that the caller's kernels write before read().
  int add();
  DevicePtr<double> number(int slot) const;
  /// Takes along the one element of a tensor of f64.
  int add(const Tensor& scalar);

  /// Waits for the device, and throws what the first check that failed complains of.
  void read();
  /// After read().
  double operator[](int slot) const { return values_[static_cast<std::size_t>(slot)]; }

  /// The one that is open on this thread, or null.
  static StepReport* open();

 private:
  friend class CheckFlag;
  friend void check_flag(const CheckFlag& flag, std::function<void(std::int64_t)> complain);
  struct Check {
    int slot;
    std::function<void(std::int64_t)> complain;
  };
  static constexpr int kNumbers = 16, kFlags = 1008;

  Tensor memory_;  // the numbers, then the flags
  std::vector<double> values_;
  std::vector<Check> checks_;
  int numbers_ = 0, flags_ = 0;
  StepReport* outer_;
};

/// What a kernel that checks its input sets, always: 0 where all is well, else what the complaint needs to
/// know, as the place of the first bad element plus one.
class CheckFlag {
 public:
  CheckFlag();
  DevicePtr<std::int64_t> device() const;

 private:
  friend void check_flag(const CheckFlag& flag, std::function<void(std::int64_t)> complain);
  Tensor memory_;
  int slot_ = -1;  // of the report that is open; -1: the flag stands alone
};

/// After the launch that sets the flag: `complain` throws, and is called with a flag that is not 0, now or,
/// where a report is open, when that is read. Until then work goes on with what the kernel made of bad input.
void check_flag(const CheckFlag& flag, std::function<void(std::int64_t)> complain);

}  // namespace rankine
