// The element types that a tensor may hold at run time.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/error.hpp"

namespace rankine {

enum class DType : std::uint8_t { f32, f64, c64, c128, i32, i64, i8, u8, boolean };

/// Bytes of one element.
constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::c64:
    case DType::i64:
      return 8;
    case DType::c128:
      return 16;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

constexpr bool is_real_floating(DType type) { return type == DType::f32 || type == DType::f64; }
constexpr bool is_complex(DType type) { return type == DType::c64 || type == DType::c128; }
constexpr bool is_differentiable(DType type) { return is_real_floating(type) || is_complex(type); }

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
