// The element types that a tensor may hold at run time.
#pragma once

#include <complex>
#include <cstdint>
#include <string>

#include "kernels/dtype.hpp"
#include "kernels/error.hpp"

namespace rankine {

const char* name_of(DType type);

/// The C++ type's DType: dtype_of<float> == DType::f32.
template <class T>
inline constexpr DType dtype_of = DType::u8;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::complex<float>> = DType::c64;
template <>
inline constexpr DType dtype_of<std::complex<double>> = DType::c128;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::i8;
template <>
inline constexpr DType dtype_of<bool> = DType::boolean;

/// Calls f with a value of the C++ type that `type` names; `what` names the caller in the message when it is
/// not one of those listed.
template <class F>
decltype(auto) dispatch_real(DType type, const char* what, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw InputError(std::string(what) + ": needs f32 or f64, has " + name_of(type));
  }
}

template <class F>
decltype(auto) dispatch_floating(DType type, const char* what, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::c64:
      return f(std::complex<float>{});
    case DType::c128:
      return f(std::complex<double>{});
    default:
      throw InputError(std::string(what) + ": needs a real or complex type, has " + name_of(type));
  }
}

/// The same with the type of a complex type's parts.
template <class F>
decltype(auto) dispatch_complex(DType type, const char* what, F&& f) {
  switch (type) {
    case DType::c64:
      return f(float{});
    case DType::c128:
      return f(double{});
    default:
      throw InputError(std::string(what) + ": needs a complex type, has " + name_of(type));
  }
}

template <class F>
decltype(auto) dispatch_any(DType type, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::c64:
      return f(std::complex<float>{});
    case DType::c128:
      return f(std::complex<double>{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::i8:
      return f(std::int8_t{});
    case DType::u8:
      return f(std::uint8_t{});
    case DType::boolean:
      break;
  }
  return f(bool{});
}

}  // namespace rankine
