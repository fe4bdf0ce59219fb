// fft() without a library: RANKINE_FFT=portable.
#include "kernels/fft_host.hpp"
#include "kernels/fft_library.hpp"
#include "kernels/fft_plans.hpp"
#include "kernels/fft_portable.hpp"

namespace rankine::kernels {
namespace {

template <class T>
struct OwnTransform {
  const PortableFft<T>* plan;
  bool backward;
  T factor;
  void operator()(const FftLines& lines, std::int64_t first, std::int64_t last, const std::complex<T>* x,
                  std::complex<T>* y) const {
    portable_fft(*plan, lines, first, last, backward, factor, x, y);
  }
};

}  // namespace

template <class T>
void fft_by_library(const FftLines& lines, FftDirection direction, T factor,
                    DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y,
                    DevicePtr<std::complex<T>> /*work*/) {
  static FftPlans<std::int64_t, PortableFft<T>> plans;
  const PortableFft<T>& plan = plans.find(lines.n, [](std::int64_t n) { return PortableFft<T>(n); });
  transform_by_host<T>(OwnTransform<T>{&plan, direction == FftDirection::backward, factor}, lines, x, y);
}

template <class T>
std::int64_t fft_work(const FftLines& /*lines*/) {
  return 0;
}
std::string fft_library() { return "Rankine's own"; }

template std::int64_t fft_work<float>(const FftLines&);
template std::int64_t fft_work<double>(const FftLines&);
template void fft_by_library(const FftLines&, FftDirection, float, DevicePtr<const std::complex<float>>,
                             DevicePtr<std::complex<float>>, DevicePtr<std::complex<float>>);
template void fft_by_library(const FftLines&, FftDirection, double, DevicePtr<const std::complex<double>>,
                             DevicePtr<std::complex<double>>, DevicePtr<std::complex<double>>);

}  // namespace rankine::kernels
