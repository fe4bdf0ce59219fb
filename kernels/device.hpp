// Device memory as host code sees it: addresses that may be computed with and handed on, but not looked
// behind. No Kokkos here: src/ and solvers/ include this.
//
// Where the device is the host (Serial, OpenMP), the environment variable RANKINE_MEMORY=separate marks every
// such address so that the host faults on it, and makes copies where a GPU would: it proves on any machine
// that the program is right where host and device share no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace rankine {

namespace kernels {
/// What every address in device memory is combined with; set once, before the first allocation.
extern std::uintptr_t device_tag;
}  // namespace kernels

/// Whether host and device memory are apart: where Kokkos' default memory space is not the host's (which
/// CMake finds out), and with RANKINE_MEMORY=separate.
inline bool separate_memory() {
#ifdef RANKINE_DEVICE_BUILD
  return true;
#else
  return kernels::device_tag != 0;
#endif
}

/// Address of elements in device memory.
template <class T>
class DevicePtr {
 public:
  DevicePtr() = default;
  DevicePtr(std::nullptr_t) {}
  /// What an allocation gave. Only kernels/ calls it (tests/house looks).
  static DevicePtr from_raw(T* raw) { return DevicePtr(flip(raw)); }
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) DevicePtr(DevicePtr<U> p) : p_(p.opaque()) {}

  DevicePtr operator+(std::int64_t n) const { return p_ == nullptr ? DevicePtr() : DevicePtr(p_ + n); }
  friend std::int64_t operator-(DevicePtr a, DevicePtr b) { return a.p_ - b.p_; }
  friend bool operator==(DevicePtr a, DevicePtr b) { return a.p_ == b.p_; }
  explicit operator bool() const { return p_ != nullptr; }
  T& operator*() const = delete;
  T& operator[](std::int64_t) const = delete;

  /// What a library that knows device memory gets (MPI, cuBLAS): no address for the host.
  T* opaque() const { return p_; }
  /// The address that kernels use. Only kernels/ calls it (tests/house looks).
  T* unwrap() const { return flip(p_); }
  template <class U>
  DevicePtr<U> as() const {
    return DevicePtr<U>::from_opaque(reinterpret_cast<U*>(p_));
  }
  static DevicePtr from_opaque(T* p) { return DevicePtr(p); }

 private:
  explicit DevicePtr(T* p) : p_(p) {}
  static T* flip(T* p) {
    return p == nullptr ? p : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(p) ^ kernels::device_tag);
  }
  T* p_ = nullptr;
};
static_assert(std::is_trivially_copyable_v<DevicePtr<float>>);

}  // namespace rankine
