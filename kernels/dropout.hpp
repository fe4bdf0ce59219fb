// Dropout: y = factor * x where an element is kept, else 0; its own adjoint.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"
#include "kernels/random.hpp"

namespace rankine::kernels {

/// kept[r, k] = whether uniform number k of (stream, step, ids[r]) is below `probability`, for `rows` rows of
/// `length` elements; length < 2^57.
void dropout_mask(const Philox& stream, std::uint32_t step, double probability, std::int64_t rows,
                  std::int64_t length, DevicePtr<const std::int64_t> ids, DevicePtr<std::uint8_t> kept);

/// y = kept ? factor * x : 0. T: float or double.
template <class T>
void apply_mask(std::int64_t n, T factor, DevicePtr<const T> x, DevicePtr<const std::uint8_t> kept,
                DevicePtr<T> y);

}  // namespace rankine::kernels
