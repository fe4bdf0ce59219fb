// Elementwise operations on device memory. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// value = gelu(x) and slope = gelu'(x) at once, for the price of one; n elements. `value` may be x.
template <class T>
void gelu_with_derivative(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> value, DevicePtr<T> slope);

}  // namespace rankine::kernels
