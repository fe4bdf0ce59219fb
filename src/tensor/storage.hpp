// Memory of tensors: blocks of device memory, 64-byte aligned, cached for the next tensor of that size, and
// counted.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/device.hpp"

namespace rankine {

/// Bytes in tensors: now, at most since the last reset (both without what was made in an Uncounted scope),
/// and taken from the system (cached blocks included).
struct MemoryAccount {
  std::size_t live = 0, peak = 0, reserved = 0;
};

MemoryAccount memory_account();
/// Sets `peak` to what is live now.
void reset_memory_peak();
/// Gives cached blocks back to the system.
void release_cached_memory();

/// While it lives, new tensors of this thread are left out of the account: parameters, their gradients and
/// the optimiser's state, whose size is known, so that the peak measures the tape.
class Uncounted {
 public:
  Uncounted();
  ~Uncounted();
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;
};

/// One block of memory, shared by all tensors that view it.
class Storage {
 public:
  explicit Storage(std::size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  DevicePtr<std::byte> data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  DevicePtr<std::byte> data_;
  std::size_t bytes_ = 0, block_ = 0, counted_ = 0;
};

}  // namespace rankine
