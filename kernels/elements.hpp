// What stands for an element type inside kernels. kernels/ only.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "kernels/launch.hpp"

namespace rankine::kernels {

/// The type that kernels compute with: T, but on a device its own complex type, because nvcc knows no
/// arithmetic of std::complex.
template <class T>
struct ElementOf {
  using type = T;
};
#if RANKINE_ON_DEVICE
template <class R>
struct ElementOf<std::complex<R>> {
  using type = Kokkos::complex<R>;
};
#endif
template <class T>
using Element = typename ElementOf<T>::type;

template <class T>
DevicePtr<Element<T>> elements(DevicePtr<T> p) {
  return p.template as<Element<T>>();
}
template <class T>
DevicePtr<const Element<T>> elements(DevicePtr<const T> p) {
  return p.template as<const Element<T>>();
}

/// 16 bytes that are only moved.
struct Word16 {
  Word16() = default;
  explicit Word16(std::uint64_t low) : a(low) {}
  std::uint64_t a = 0, b = 0;
};

/// f of an unsigned word of `bytes` bytes, for what is only moved.
template <class F>
void for_word(std::size_t bytes, const F& f) {
  switch (bytes) {
    case 1:
      return f(std::uint8_t{});
    case 4:
      return f(std::uint32_t{});
    case 8:
      return f(std::uint64_t{});
    default:
      return f(Word16{});
  }
}

}  // namespace rankine::kernels
