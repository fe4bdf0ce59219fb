// Arrays in device memory for tests and benchmarks of kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/runtime.hpp"

namespace rankine::testing {

/// Device memory with the values of a vector.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values)
      : memory_(device_allocate(values.size() * sizeof(T) + 64)),
        count_(static_cast<std::int64_t>(values.size())) {
    copy_to_device(data(), values.data(), count_);
  }
  ~OnDevice() { device_free(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  DevicePtr<T> data() const { return memory_.as<T>(); }
  DevicePtr<const T> read() const { return data(); }
  std::vector<T> values() const {
    std::vector<T> out(static_cast<std::size_t>(count_));
    copy_to_host(out.data(), data(), count_);
    return out;
  }

 private:
  DevicePtr<std::byte> memory_;
  std::int64_t count_;
};

}  // namespace rankine::testing
