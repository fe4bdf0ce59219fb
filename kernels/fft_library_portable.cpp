// fft() without a library: RANKINE_FFT=portable.
#include "kernels/fft_library.hpp"
#include "kernels/fft_portable.hpp"

namespace rankine::kernels {

template <class T>
void fft_by_library(const FftLines& lines, FftDirection direction, T factor, const std::complex<T>* x,
                    std::complex<T>* y) {
  portable_fft(lines, direction, factor, x, y);
}

std::string fft_library() { return "Rankine's own"; }

template void fft_by_library(const FftLines&, FftDirection, float, const std::complex<float>*,
                             std::complex<float>*);
template void fft_by_library(const FftLines&, FftDirection, double, const std::complex<double>*,
                             std::complex<double>*);

}  // namespace rankine::kernels
