#include "kernels/number_formats.hpp"

#include <cmath>

#include "kernels/launch.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace {

template <class T>
struct Stochastic {
  static constexpr double kFlops = 6;
  double step, low, high;
  Philox stream;
  std::uint32_t number;
  View<const T> x;
  RANKINE_ELEMENT T operator()(std::int64_t i) const {
    const Philox::Block bits =
        stream.block(RandomKind::uniform, number, 0, static_cast<std::uint64_t>(i / 2));
    double k = std::floor(static_cast<double>(x[i]) / step + Philox::to_unit(Philox::word(bits, i)));
    k = k < low ? low : k;
    return static_cast<T>(step * (k > high ? high : k));
  }
};

struct ToFloat {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 8;
  int mantissa, smallest;  // bits, and the exponent of the smallest normal number
  double largest;
  template <class T>
  RANKINE_ELEMENT T operator()(T x) const {
    if (x == 0 || x - x != 0) return x;  // NaN and infinities too
    const double v = static_cast<double>(x);
    const int own = std::ilogb(v), shift = mantissa - (own < smallest ? smallest : own);
    const double y = std::ldexp(std::nearbyint(std::ldexp(v, shift)), -shift);
    return static_cast<T>(y > largest ? largest : y < -largest ? -largest : y);
  }
};

struct ToPowers {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 8;
  int terms, gap;
  /// Exponent of the power of two that is nearest to |v| in its logarithm; v is not 0.
  RANKINE_ELEMENT static int nearest(double v) {
    const int e = std::ilogb(v);
    const double m = std::ldexp(v, -e);
    return m * m > 2 ? e + 1 : e;
  }
  RANKINE_ELEMENT static double power(double like, int e) { return std::copysign(std::ldexp(1.0, e), like); }
  template <class T>
  RANKINE_ELEMENT T operator()(T x) const {
    if (x == 0 || x - x != 0) return x;  // NaN and infinities too
    const double v = static_cast<double>(x);
    const int e1 = nearest(v);
    double y = power(v, e1);
    const double rest = v - y;
    if (terms == 2 && rest != 0)
      if (const int e2 = nearest(rest); e1 - e2 <= gap) y += power(rest, e2);
    return static_cast<T>(y);
  }
};

}  // namespace

template <class T>
void quantise_stochastic(std::int64_t n, double step, double low, double high, const Philox& stream,
                         std::uint32_t number, DevicePtr<const T> x, DevicePtr<T> y) {
  map_index("quantise_stochastic", Stochastic<T>{step, low, high, stream, number, x}, n, y);
}

template <class T>
void round_to_float(std::int64_t n, int exponent, int mantissa, DevicePtr<const T> x, DevicePtr<T> y) {
  const int bias = (1 << (exponent - 1)) - 1;
  map("round_to_float", ToFloat{mantissa, 1 - bias, std::ldexp(2 - std::ldexp(1.0, -mantissa), bias)}, n, y,
      x);
}

template <class T>
void round_to_powers(std::int64_t n, int terms, int gap, DevicePtr<const T> x, DevicePtr<T> y) {
  map("round_to_powers", ToPowers{terms, gap}, n, y, x);
}

#define RANKINE_INSTANTIATE(T)                                                                             \
  template void quantise_stochastic<T>(std::int64_t, double, double, double, const Philox&, std::uint32_t, \
                                       DevicePtr<const T>, DevicePtr<T>);                                  \
  template void round_to_float<T>(std::int64_t, int, int, DevicePtr<const T>, DevicePtr<T>);               \
  template void round_to_powers<T>(std::int64_t, int, int, DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
