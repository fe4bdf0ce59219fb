// Numbers rounded to formats of few bits, element by element. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"
#include "kernels/random.hpp"

namespace rankine::kernels {

/// y = step clamp(floor(x / step + u), low, high), u being the uniform number i of (stream, step number) for
/// element i: the mean of y is x within the range (stochastic rounding: Gupta et al., arXiv 1502.02551, sec.
/// 3). n elements. T: float, double.
template <class T>
void quantise_stochastic(std::int64_t n, double step, double low, double high, const Philox& stream,
                         std::uint32_t number, DevicePtr<const T> x, DevicePtr<T> y);

/// y = the nearest number, halves to even, of a binary format as IEEE 754 has them, with `exponent` and
/// `mantissa` bits beside the sign: subnormal numbers are there, and what is finite and beyond the largest
/// number becomes that. T: float, double.
template <class T>
void round_to_float(std::int64_t n, int exponent, int mantissa, DevicePtr<const T> x, DevicePtr<T> y);

/// y = s1 2^e1 + s2 2^e2: 2^e1 is the power of two that is nearest to |x| in its logarithm, 2^e2 that of what
/// is left, where `terms` is 2 and e1 - e2 is at most `gap`. T: float, double.
template <class T>
void round_to_powers(std::int64_t n, int terms, int gap, DevicePtr<const T> x, DevicePtr<T> y);

}  // namespace rankine::kernels
