// The types of elements that kernels and tensors know at run time. No Kokkos here.
#pragma once

#include <cstddef>
#include <cstdint>

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

}  // namespace rankine
