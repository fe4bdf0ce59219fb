// fft() by FFTW on host memory: RANKINE_FFT=fftw.
//
// The bits of a line may depend on its numbers and n alone, so FFTW sees one line at a time: its plans for
// many lines choose another algorithm than for one. FFTW_ESTIMATE plans by a fixed rule and not by the clock.
// FFTW's fast codelets need lines that begin at its alignment; plans for any alignment (FFTW_UNALIGNED) took
// 1.2 to 3.6 times as long. So the one plan is for aligned lines, and lines that are not pass through aligned
// copies.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fftw3.h>

#include "kernels/error.hpp"
#include "kernels/fft_host.hpp"
#include "kernels/fft_library.hpp"
#include "kernels/fft_plans.hpp"

namespace rankine::kernels {
namespace {

template <class T>
struct Fftw;
template <>
struct Fftw<float> {
  using Complex = fftwf_complex;
  using Plan = fftwf_plan;
  static constexpr const char* name = "float";
  static constexpr auto plan = fftwf_plan_guru64_dft;
  static constexpr auto execute = fftwf_execute_dft;
  static constexpr auto destroy = fftwf_destroy_plan;
  static constexpr auto alignment_of = fftwf_alignment_of;
};
template <>
struct Fftw<double> {
  using Complex = fftw_complex;
  using Plan = fftw_plan;
  static constexpr const char* name = "double";
  static constexpr auto plan = fftw_plan_guru64_dft;
  static constexpr auto execute = fftw_execute_dft;
  static constexpr auto destroy = fftw_destroy_plan;
  static constexpr auto alignment_of = fftw_alignment_of;
};

constexpr std::size_t kAlignment = 64;  // of a cache line; a multiple of any alignment that FFTW asks for

/// Lines of n numbers, each at an aligned place.
template <class T>
class AlignedLines {
 public:
  AlignedLines(std::int64_t count, std::int64_t n)
      // One cache line more than needed: lines at distances of a power of two would share places in the
      // cache.
      : pitch_((static_cast<std::size_t>(n) * sizeof(std::complex<T>) / kAlignment + 2) * kAlignment /
               sizeof(std::complex<T>)),
        data_(static_cast<std::complex<T>*>(
            ::operator new (static_cast<std::size_t>(count) * pitch_ * sizeof(std::complex<T>),
                            std::align_val_t{kAlignment}))) {}
  std::complex<T>* line(std::int64_t i) const { return data_.get() + static_cast<std::size_t>(i) * pitch_; }

 private:
  struct Free {
    void operator()(std::complex<T>* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
  };
  std::size_t pitch_;
  std::unique_ptr<std::complex<T>, Free> data_;
};

/// From one aligned line to another.
template <class T>
class LinePlan {
 public:
  LinePlan(std::int64_t n, FftDirection direction) {
    const AlignedLines<T> lines(2, n);
    const fftw_iodim64 along{.n = n, .is = 1, .os = 1};
    plan_.reset(Fftw<T>::plan(1, &along, 0, nullptr, of(lines.line(0)), of(lines.line(1)),
                              direction == FftDirection::forward ? FFTW_FORWARD : FFTW_BACKWARD,
                              FFTW_ESTIMATE));
    if (plan_ == nullptr)
      throw NumericalError("fft of " + std::to_string(n) + " complex numbers of type " + Fftw<T>::name +
                           ": " + fft_library() +
                           " makes no plan for this length; build with -DRANKINE_FFT=portable");
  }
  /// x stays as it is.
  void run(const std::complex<T>* x, std::complex<T>* y) const {
    Fftw<T>::execute(plan_.get(), of(const_cast<std::complex<T>*>(x)), of(y));
  }
  static bool aligned(const std::complex<T>* x) {
    return Fftw<T>::alignment_of(reinterpret_cast<T*>(const_cast<std::complex<T>*>(x))) == 0;
  }

 private:
  static typename Fftw<T>::Complex* of(std::complex<T>* x) {
    return reinterpret_cast<typename Fftw<T>::Complex*>(x);
  }
  struct Destroy {
    void operator()(typename Fftw<T>::Plan plan) const { Fftw<T>::destroy(plan); }
  };
  std::unique_ptr<std::remove_pointer_t<typename Fftw<T>::Plan>, Destroy> plan_;
};

template <class T>
struct FftwTransform {
  const LinePlan<T>* plan;
  T factor;
  void operator()(const FftLines& lines, std::int64_t first, std::int64_t last, const std::complex<T>* x,
                  std::complex<T>* y) const {
    if (lines.inner == 1) {
      dense(lines.n, last - first, x + first * lines.n, y + first * lines.n);
      return;
    }
    // Several neighbours at a time, because they share cache lines.
    const std::int64_t inner = lines.inner;
    const std::int64_t group = std::min(inner, std::clamp<std::int64_t>(65536 / lines.n, 4, 16));
    const AlignedLines<T> in(group, lines.n), out(group, lines.n);
    for (std::int64_t l = first, count = 0; l < last; l += count) {
      count = std::min({group, last - l, inner - l % inner});
      const std::int64_t start = l / inner * lines.n * inner + l % inner;
      for (std::int64_t j = 0; j < lines.n; ++j)
        for (std::int64_t i = 0; i < count; ++i) in.line(i)[j] = x[start + j * inner + i];
      for (std::int64_t i = 0; i < count; ++i) plan->run(in.line(i), out.line(i));
      for (std::int64_t k = 0; k < lines.n; ++k)
        for (std::int64_t i = 0; i < count; ++i) y[start + k * inner + i] = factor * out.line(i)[k];
    }
  }
  void dense(std::int64_t n, std::int64_t count, const std::complex<T>* x, std::complex<T>* y) const {
    const AlignedLines<T> copy(2, n);
    for (std::int64_t i = 0; i < count; ++i, x += n, y += n) {
      const std::complex<T>* from = x;
      if (!LinePlan<T>::aligned(x)) {
        std::copy_n(x, n, copy.line(0));
        from = copy.line(0);
      }
      std::complex<T>* to = LinePlan<T>::aligned(y) ? y : copy.line(1);
      plan->run(from, to);
      if (to != y || factor != T(1))
        for (std::int64_t k = 0; k < n; ++k) y[k] = factor * to[k];
    }
  }
};

}  // namespace

template <class T>
void fft_by_library(const FftLines& lines, FftDirection direction, T factor,
                    DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y,
                    DevicePtr<std::complex<T>> /*work*/) {
  static FftPlans<std::pair<std::int64_t, FftDirection>, LinePlan<T>> plans;
  const LinePlan<T>& plan =
      plans.find({lines.n, direction}, [](const auto& key) { return LinePlan<T>(key.first, key.second); });
  transform_by_host<T>(FftwTransform<T>{&plan, factor}, lines, x, y);
}

template <class T>
std::int64_t fft_work(const FftLines& /*lines*/) {
  return 0;
}

std::string fft_library() {
  const std::string_view version = fftw_version, prefix = "fftw-";
  return "FFTW " + std::string(version.starts_with(prefix) ? version.substr(prefix.size()) : version);
}

template std::int64_t fft_work<float>(const FftLines&);
template std::int64_t fft_work<double>(const FftLines&);
template void fft_by_library(const FftLines&, FftDirection, float, DevicePtr<const std::complex<float>>,
                             DevicePtr<std::complex<float>>, DevicePtr<std::complex<float>>);
template void fft_by_library(const FftLines&, FftDirection, double, DevicePtr<const std::complex<double>>,
                             DevicePtr<std::complex<double>>, DevicePtr<std::complex<double>>);

}  // namespace rankine::kernels
