// Elementwise operations on device memory. No Kokkos here.
//
// The shape that an operation takes has the result as operand 0, and then its inputs in order. A result may
// be one of the inputs, element by element.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "kernels/device.hpp"
#include "kernels/dtype.hpp"
#include "kernels/strided.hpp"

namespace rankine::kernels {

/// Functions of one real number x and of up to two others, a and b.
enum class Unary : std::uint8_t {
  exp,
  log,
  sqrt,
  tanh,
  gelu,
  abs,
  sign,       // -1, 0 or 1
  power,      // x^a
  at_least,   // max(x, a)
  at_most,    // min(x, a)
  clamp,      // within [a, b]
  above,      // x > a, as 1 or 0, like all below
  below,      // x < a
  not_below,  // x >= a
  inside,     // a <= x <= b
};
struct Numbers {
  double a = 0, b = 0;
};
/// T: float, double.
template <class T>
void unary(Unary f, const Strided<2>& s, DevicePtr<const T> x, DevicePtr<T> y, Numbers numbers = {});

/// y = step clamp(nearest integer of x / step, low, high). T: float, double.
template <class T>
void quantise(const Strided<2>& s, double step, double low, double high, DevicePtr<const T> x,
              DevicePtr<T> y);

/// y = factor x, in T's arithmetic. T: float, double and their complex numbers.
template <class T>
void scale(const Strided<2>& s, double factor, DevicePtr<const T> x, DevicePtr<T> y);

enum class Binary : std::uint8_t { add, subtract, multiply, divide };
/// T: float, double and their complex numbers.
template <class T>
void binary(Binary f, const Strided<3>& s, DevicePtr<const T> a, DevicePtr<const T> b, DevicePtr<T> y);

/// dx = dy f'(x), from y = tanh(x), and from x itself for gelu. T: float, double.
template <class T>
void tanh_backward(const Strided<3>& s, DevicePtr<const T> y, DevicePtr<const T> dy, DevicePtr<T> dx);
template <class T>
void gelu_backward(const Strided<3>& s, DevicePtr<const T> x, DevicePtr<const T> dy, DevicePtr<T> dx);

/// value = gelu(x) and slope = gelu'(x) at once, for the price of one; n elements. `value` may be x.
template <class T>
void gelu_with_derivative(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> value, DevicePtr<T> slope);

/// y = condition ? a : b, elements of `bytes` bytes.
void select(std::size_t bytes, const Strided<4>& s, DevicePtr<const bool> condition,
            DevicePtr<const std::byte> a, DevicePtr<const std::byte> b, DevicePtr<std::byte> y);

/// y = x in another type, n elements. A complex x takes a complex y.
void cast(std::int64_t n, DType from, DevicePtr<const std::byte> x, DType to, DevicePtr<std::byte> y);

// Complex numbers; T is the type of their parts.
template <class T>
void make_complex(const Strided<3>& s, DevicePtr<const T> real, DevicePtr<const T> imaginary,
                  DevicePtr<std::complex<T>> y);
template <class T>
void conjugate(const Strided<2>& s, DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y);
template <class T>
void complex_exp(const Strided<2>& s, DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y);

}  // namespace rankine::kernels
