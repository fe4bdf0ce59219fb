#include "kernels/fft.hpp"

#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "kernels/fft_library.hpp"
#include "kernels/launch_state.hpp"

namespace rankine::kernels {

template <class T>
void fft(const FftLines& lines, FftDirection direction, T factor, DevicePtr<const std::complex<T>> x,
         DevicePtr<std::complex<T>> y, DevicePtr<std::complex<T>> work) {
  RANKINE_ASSERT(lines.outer >= 0 && lines.n > 0 && lines.inner >= 0,
                 "fft of lines [" + std::to_string(lines.outer) + ", " + std::to_string(lines.n) + ", " +
                     std::to_string(lines.inner) + "]");
  if (lines.outer == 0 || lines.inner == 0) return;
  const auto numbers = static_cast<double>(lines.outer * lines.n * lines.inner);
  // The usual count of operations, whatever the library does.
  count_work("fft",
             {5 * numbers * std::log2(static_cast<double>(lines.n)), 2 * sizeof(std::complex<T>) * numbers});
  fft_by_library(lines, direction, factor, x, y, work);
}

template void fft(const FftLines&, FftDirection, float, DevicePtr<const std::complex<float>>,
                  DevicePtr<std::complex<float>>, DevicePtr<std::complex<float>>);
template void fft(const FftLines&, FftDirection, double, DevicePtr<const std::complex<double>>,
                  DevicePtr<std::complex<double>>, DevicePtr<std::complex<double>>);

}  // namespace rankine::kernels
