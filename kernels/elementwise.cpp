#include "kernels/elementwise.hpp"

#include "kernels/map.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {

template <class T>
struct GeluWithDerivative {
  std::int64_t n;
  View<const T> x;
  View<T> value, slope;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const ValueAndSlope<T> at = gelu_value_and_slope(x[i]);
    value[i] = at.value;
    slope[i] = at.slope;
  }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t begin = block * kChunk, count = n - begin < kChunk ? n - begin : kChunk;
    gelu_with_derivative(count, x.at(begin), value.at(begin), slope.at(begin));
  }
#endif
};

template <class T>
void gelu_with_derivative(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> value, DevicePtr<T> slope) {
  const GeluWithDerivative<T> body{n, x, value, slope};
#if RANKINE_ON_DEVICE
  device_range("gelu_with_derivative", n, body);
#else
  host_blocks("gelu_with_derivative", (n + kChunk - 1) / kChunk, body);
#endif
}
template void gelu_with_derivative<float>(std::int64_t, DevicePtr<const float>, DevicePtr<float>,
                                          DevicePtr<float>);
template void gelu_with_derivative<double>(std::int64_t, DevicePtr<const double>, DevicePtr<double>,
                                           DevicePtr<double>);

}  // namespace rankine::kernels
