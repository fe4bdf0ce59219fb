// What stands for an element type inside kernels. kernels/ only.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "kernels/launch.hpp"
#include "kernels/multiply_add.hpp"

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

/// a b. Of complex numbers each part is a fused multiply-add on a rounded product, the same wherever it is
/// compiled. An infinity gives NaN where C would restore it.
template <class T>
RANKINE_FORCEINLINE T times(const T& a, const T& b) {
  return a * b;
}
template <class C, class R>
RANKINE_FORCEINLINE C complex_times(const C& a, const C& b) {
  const R ar = a.real(), ai = a.imag(), br = b.real(), bi = b.imag();
  return C(multiply_add(ar, br, -(ai * bi)), multiply_add(ar, bi, ai * br));
}
RANKINE_FORCEINLINE Element<std::complex<float>> times(const Element<std::complex<float>>& a,
                                                       const Element<std::complex<float>>& b) {
  return complex_times<Element<std::complex<float>>, float>(a, b);
}
RANKINE_FORCEINLINE Element<std::complex<double>> times(const Element<std::complex<double>>& a,
                                                        const Element<std::complex<double>>& b) {
  return complex_times<Element<std::complex<double>>, double>(a, b);
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
