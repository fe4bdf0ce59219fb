// What a library of transforms must give to kernels/fft.hpp, with fft_work() and fft_library(). A build
// compiles one of the files fft_library_*.cpp.
#pragma once

#include "kernels/fft.hpp"

namespace rankine::kernels {

/// fft() of at least one line, whose arguments have been checked.
template <class T>
void fft_by_library(const FftLines& lines, FftDirection direction, T factor,
                    DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y,
                    DevicePtr<std::complex<T>> work);

}  // namespace rankine::kernels
