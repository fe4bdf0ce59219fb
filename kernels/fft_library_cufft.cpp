// fft() by cuFFT on CUDA devices: RANKINE_FFT=cufft.
//
// Lines that are not dense go through copies in `work`, so that their transforms are one call of cuFFT,
// however many there are. cuFFT does not promise that a line's bits are the same in batches of different
// sizes; tests/unit/kernels/test_fft.cpp looks.
#include <cstddef>
#include <cufft.h>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/fft_library.hpp"
#include "kernels/fft_plans.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace {

std::string reason_of(cufftResult result) {
  switch (result) {
    case CUFFT_ALLOC_FAILED:
      return "CUFFT_ALLOC_FAILED: the device has no memory left";
    case CUFFT_INVALID_SIZE:
      return "CUFFT_INVALID_SIZE: the lines are too long or too many";
    case CUFFT_SETUP_FAILED:
      return "CUFFT_SETUP_FAILED: the library cannot start";
    case CUFFT_EXEC_FAILED:
      return "CUFFT_EXEC_FAILED: the device refuses the work";
    case CUFFT_NOT_SUPPORTED:
      return "CUFFT_NOT_SUPPORTED";
    default:
      return "result " + std::to_string(static_cast<int>(result));
  }
}

void check(cufftResult result, const char* call, std::int64_t n, std::int64_t count) {
  if (result == CUFFT_SUCCESS) return;
  throw NumericalError("fft of " + std::to_string(count) + " lines of " + std::to_string(n) +
                       " complex numbers: " + call + " of " + fft_library() + " gave " + reason_of(result) +
                       "; use a smaller batch, or build with -DRANKINE_FFT=portable");
}

/// `count` dense lines of n numbers, one after the other.
template <class T>
class BatchPlan {
 public:
  BatchPlan(std::int64_t n, std::int64_t count) {
    check(cufftCreate(&handle_), "cufftCreate", n, count);
    // The work area is part of fft()'s `work`, which comes from the program's own pool.
    check(cufftSetAutoAllocation(handle_, 0), "cufftSetAutoAllocation", n, count);
    long long length = n;
    check(cufftMakePlanMany64(handle_, 1, &length, nullptr, 1, n, nullptr, 1, n,
                              std::is_same_v<T, float> ? CUFFT_C2C : CUFFT_Z2Z, count, &work_bytes_),
          "cufftMakePlanMany64", n, count);
    check(cufftSetStream(handle_, ExecutionSpace().cuda_stream()), "cufftSetStream", n, count);
  }
  cufftHandle handle() const { return handle_; }
  /// Numbers, rounded up so that what stands behind them is aligned too.
  std::int64_t work() const {
    constexpr std::size_t unit = 512;
    return static_cast<std::int64_t>((work_bytes_ + unit - 1) / unit * (unit / sizeof(std::complex<T>)));
  }

 private:
  cufftHandle handle_ = 0;
  std::size_t work_bytes_ = 0;
};

template <class T>
const BatchPlan<T>& plan_of(const FftLines& lines) {
  using Plans = FftPlans<std::pair<std::int64_t, std::int64_t>, BatchPlan<T>>;
  static auto& plans = *new Plans;  // never destroyed: the device may have ended before
  return plans.find({lines.n, lines.outer * lines.inner},
                    [](const auto& key) { return BatchPlan<T>(key.first, key.second); });
}

cufftResult execute(cufftHandle plan, const std::complex<float>* x, std::complex<float>* y, int direction) {
  return cufftExecC2C(plan, reinterpret_cast<cufftComplex*>(const_cast<std::complex<float>*>(x)),
                      reinterpret_cast<cufftComplex*>(y), direction);
}
cufftResult execute(cufftHandle plan, const std::complex<double>* x, std::complex<double>* y, int direction) {
  return cufftExecZ2Z(plan, reinterpret_cast<cufftDoubleComplex*>(const_cast<std::complex<double>*>(x)),
                      reinterpret_cast<cufftDoubleComplex*>(y), direction);
}

template <class T>
struct Copy {
  RANKINE_ELEMENT Kokkos::complex<T> operator()(const Kokkos::complex<T>& x) const { return x; }
};
template <class T>
struct Scale {
  T factor;
  RANKINE_ELEMENT Kokkos::complex<T> operator()(const Kokkos::complex<T>& x) const {
    return {factor * x.real(), factor * x.imag()};
  }
};

}  // namespace

template <class T>
void fft_by_library(const FftLines& lines, FftDirection direction, T factor,
                    DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y,
                    DevicePtr<std::complex<T>> work) {
  using C = Kokkos::complex<T>;
  const auto [outer, n, inner] = lines;
  const BatchPlan<T>& plan = plan_of<T>(lines);
  const auto run = [&](DevicePtr<const std::complex<T>> from, DevicePtr<std::complex<T>> to) {
    static std::mutex mutex;  // the work area belongs to the plan until its call is on the stream
    const std::scoped_lock lock(mutex);
    count_launch("fft");
    const LaunchTimer timer("fft");
    check(cufftSetWorkArea(plan.handle(), work.unwrap()), "cufftSetWorkArea", n, outer * inner);
    check(execute(plan.handle(), from.unwrap(), to.unwrap(),
                  direction == FftDirection::forward ? CUFFT_FORWARD : CUFFT_INVERSE),
          "cufftExec", n, outer * inner);
  };
  if (inner == 1) {
    run(x, y);
    if (factor != T(1))
      map("fft", Scale<T>{factor}, outer * n, y.template as<C>(), DevicePtr<const C>(y.template as<C>()));
    return;
  }
  const DevicePtr<std::complex<T>> dense = work + plan.work();
  Strided<2> to_lines;
  to_lines.append(outer, {inner * n, n * inner});
  to_lines.append(inner, {n, 1});
  to_lines.append(n, {1, inner});
  map("fft", Copy<T>{}, to_lines, dense.template as<C>(), x.template as<const C>());
  run(dense, dense);
  Strided<2> from_lines;
  from_lines.append(outer, {n * inner, inner * n});
  from_lines.append(n, {inner, 1});
  from_lines.append(inner, {1, n});
  map("fft", Scale<T>{factor}, from_lines, y.template as<C>(), DevicePtr<const C>(dense.template as<C>()));
}

template <class T>
std::int64_t fft_work(const FftLines& lines) {
  if (lines.outer == 0 || lines.inner == 0) return 0;
  return plan_of<T>(lines).work() + (lines.inner == 1 ? 0 : lines.outer * lines.n * lines.inner);
}

std::string fft_library() {
  int version = 0;
  if (cufftGetVersion(&version) != CUFFT_SUCCESS) return "cuFFT";
  return "cuFFT " + std::to_string(version / 1000) + "." + std::to_string(version / 100 % 10) + "." +
         std::to_string(version % 100);
}

template std::int64_t fft_work<float>(const FftLines&);
template std::int64_t fft_work<double>(const FftLines&);
template void fft_by_library(const FftLines&, FftDirection, float, DevicePtr<const std::complex<float>>,
                             DevicePtr<std::complex<float>>, DevicePtr<std::complex<float>>);
template void fft_by_library(const FftLines&, FftDirection, double, DevicePtr<const std::complex<double>>,
                             DevicePtr<std::complex<double>>, DevicePtr<std::complex<double>>);

}  // namespace rankine::kernels
