// Arrays in device memory for tests of kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/runtime.hpp"

namespace rankine::test {

/// Owns `count` elements of device memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t count) : count_(count) {
    ensure_kokkos();
    memory_.reset(new Memory{device_allocate(static_cast<std::size_t>(count + 1) * sizeof(T))});
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<std::int64_t>(values.size())) {
    copy_to_device(ptr(), values.data(), count_);
  }
  DevicePtr<T> ptr() const { return memory_->block.template as<T>(); }
  std::vector<T> host() const {
    std::vector<T> out(static_cast<std::size_t>(count_));
    copy_to_host(out.data(), ptr(), count_);
    return out;
  }

 private:
  struct Memory {
    DevicePtr<std::byte> block;
    ~Memory() { device_free(block); }
  };
  std::int64_t count_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace rankine::test
