// The bridge: host code that reads or writes device memory in place, for as long as an object lives.
//
// Where host and device share memory it is the memory itself and costs nothing. Elsewhere it is a copy, which
// goes back when the object ends. Code on the path of a training step should not need it: tests/house holds
// the number of its uses in each folder, which may only fall.
#pragma once

#include <cstring>

#include "kernels/runtime.hpp"

namespace rankine {

enum class AccessMode { read, write, update };

/// Behaves as a pointer to `count` host elements. With `write`, all of them must be written: what was there
/// is not copied. Two accesses to the same memory at once, one of them writing, are a mistake that nothing
/// sees.
template <class T, AccessMode kMode>
class HostAccess {
 public:
  using Pointer = std::conditional_t<kMode == AccessMode::read, const T*, T*>;

  HostAccess() = default;
  HostAccess(DevicePtr<std::conditional_t<kMode == AccessMode::read, const T, T>> memory,
             std::int64_t count) {
    count_host_access();
    if (!memory) return;
    if (separate_memory()) {
      device_ = memory;
      count_ = count;
      buffer_ = pinned(static_cast<std::size_t>(count) * sizeof(T));
      host_ = reinterpret_cast<T*>(buffer_.get());
      if constexpr (kMode == AccessMode::write) {
        // Elements that are not written show.
        std::memset(static_cast<void*>(host_), 0xA5, static_cast<std::size_t>(count) * sizeof(T));
      } else {
        copy_to_host(host_, memory, count);
      }
    } else {
      fence();
      host_ = const_cast<T*>(memory.unwrap());
    }
  }
  /// All that a tensor's view reaches; null of an undefined tensor. Throws if T is not its type.
  template <class Tensor>
  requires requires(const Tensor& x) { x.reach(); }
  explicit HostAccess(const Tensor& x)
      : HostAccess(x.defined() ? x.template data<T>() : DevicePtr<T>(), x.defined() ? x.reach() : 0) {}
  ~HostAccess() { finish(); }
  HostAccess(HostAccess&& other) noexcept
      : host_(other.host_), device_(other.device_), count_(other.count_), buffer_(std::move(other.buffer_)) {
    other.host_ = nullptr;
  }
  HostAccess& operator=(HostAccess&& other) noexcept {
    finish();
    host_ = other.host_;
    device_ = other.device_;
    count_ = other.count_;
    buffer_ = std::move(other.buffer_);
    other.host_ = nullptr;
    return *this;
  }

  operator Pointer() const { return host_; }
  Pointer get() const { return host_; }

 private:
  void finish() {
    if constexpr (kMode != AccessMode::read) {
      if (host_ != nullptr && separate_memory()) copy_to_device(device_, host_, count_);
    }
    host_ = nullptr;
  }

  T* host_ = nullptr;
  DevicePtr<std::conditional_t<kMode == AccessMode::read, const T, T>> device_;
  std::int64_t count_ = 0;
  Pinned buffer_;
};

template <class T>
using HostRead = HostAccess<T, AccessMode::read>;
template <class T>
using HostWrite = HostAccess<T, AccessMode::write>;
template <class T>
using HostUpdate = HostAccess<T, AccessMode::update>;

}  // namespace rankine
