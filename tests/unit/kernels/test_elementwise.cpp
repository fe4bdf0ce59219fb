#include <vector>

#include <gtest/gtest.h>

#include "kernels/elementwise.hpp"
#include "kernels/pointwise.hpp"
#include "kernels/runtime.hpp"
#include "tests/support/device_array.hpp"

namespace rankine::kernels {
namespace {

using test::DeviceArray;

template <class T>
class Floats : public testing::Test {};
using FloatTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Floats, FloatTypes);

TYPED_TEST(Floats, GeluAndItsDerivativeAreThoseOfOnePoint) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 15, 16, 63, 64, 65, 16384, 16385, 40000}) {
    std::vector<T> x(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<T>(0.01 * static_cast<double>(i % 1300) - 6);
    const DeviceArray<T> in(x), value(n), slope(n);
    gelu_with_derivative<T>(n, in.ptr(), value.ptr(), slope.ptr());
    const std::vector<T> y = value.host(), dy = slope.host();
    for (std::size_t i = 0; i < x.size(); ++i) {
      T one = x[i], its_slope = 0;
      gelu_with_derivative(1, &one, &one, &its_slope);
      ASSERT_EQ(y[i], one) << i << " of " << n;
      ASSERT_EQ(dy[i], its_slope) << i << " of " << n;
    }
  }
}

}  // namespace
}  // namespace rankine::kernels
