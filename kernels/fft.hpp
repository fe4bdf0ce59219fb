// The discrete Fourier transform of many lines at once, by the library that CMake's RANKINE_FFT chose: FFTW,
// cuFFT, or an own transform that needs none.
#pragma once

#include <complex>
#include <cstdint>
#include <string>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// The sign in exp(-+ 2 pi i j k / n): forward has the minus.
enum class FftDirection { forward, backward };

/// outer * inner lines of n numbers in a dense array [outer][n][inner]: number j of line (o, i) stands at
/// (o n + j) inner + i.
struct FftLines {
  std::int64_t outer = 1, n = 1, inner = 1;
};

/// Complex numbers that `work` of fft() must have room for.
template <class T>
std::int64_t fft_work(const FftLines& lines);

/// y[k] = factor sum_j x[j] exp(-+ 2 pi i j k / n) for every line. x and y have the same layout and overlap
/// neither each other nor `work`, which is overwritten and may be null where fft_work() is 0. A line's bits
/// depend on its numbers and n alone: not on how many lines there are, on their distances or on where they
/// lie in memory. T: float or double.
template <class T>
void fft(const FftLines& lines, FftDirection direction, T factor, DevicePtr<const std::complex<T>> x,
         DevicePtr<std::complex<T>> y, DevicePtr<std::complex<T>> work);

/// The library that fft() calls, with its version: "FFTW 3.3.10", "cuFFT 12.0", or "Rankine's own".
std::string fft_library();
/// Whether it is Rankine's own.
inline bool fft_is_own() { return fft_library() == "Rankine's own"; }

}  // namespace rankine::kernels
