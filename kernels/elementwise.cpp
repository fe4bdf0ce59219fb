#include "kernels/elementwise.hpp"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/activations.hpp"
#include "kernels/elements.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace elementwise {

struct Log {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 20;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return std::log(x);
  }
};
struct Sqrt {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct Abs {
  static constexpr bool kPlain = true;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return std::abs(x);
  }
};
struct Sign {
  static constexpr bool kPlain = true;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x > 0 ? T(1) : x < 0 ? T(-1) : T(0);
  }
};
struct RealPower {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 40;
  double a;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return std::pow(x, static_cast<T>(a));
  }
};
// A NaN stays one: both compare as std::max and std::min do.
struct AtLeast {
  static constexpr bool kPlain = true;
  double a;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x < static_cast<T>(a) ? static_cast<T>(a) : x;
  }
};
struct AtMost {
  static constexpr bool kPlain = true;
  double a;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return static_cast<T>(a) < x ? static_cast<T>(a) : x;
  }
};
template <class T>
struct Clamp {
  static constexpr bool kPlain = true;
  T a, b;
  RANKINE_FORCEINLINE T operator()(T x) const { return kernels::clamp(x, a, b); }
};
// A float is above a double exactly if it is above the last float that is not: so no bound moves, and floats
// are compared with floats.
template <class T>
T last_not_above(double a) {
  const T t = static_cast<T>(a);
  return static_cast<double>(t) > a ? std::nextafter(t, -std::numeric_limits<T>::infinity()) : t;
}
template <class T>
T first_not_below(double a) {
  return -last_not_above<T>(-a);
}
template <class T>
struct Above {
  static constexpr bool kPlain = true;
  T a;
  RANKINE_FORCEINLINE T operator()(T x) const { return x > a ? T(1) : T(0); }
};
template <class T>
struct Below {
  static constexpr bool kPlain = true;
  T a;
  RANKINE_FORCEINLINE T operator()(T x) const { return x < a ? T(1) : T(0); }
};
template <class T>
struct Inside {
  static constexpr bool kPlain = true;
  T a, b;
  RANKINE_FORCEINLINE T operator()(T x) const { return (x >= a) & (x <= b) ? T(1) : T(0); }  // no branch
};
struct Quantise {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 5;
  double step, low, high;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T s = static_cast<T>(step);
    return s * kernels::clamp(T(std::nearbyint(x / s)), static_cast<T>(low), static_cast<T>(high));
  }
};
template <class C>
struct Scale {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 1;
  C factor;
  RANKINE_FORCEINLINE C operator()(C x) const { return times(factor, x); }
};
struct Times {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 1;
  template <class C>
  RANKINE_FORCEINLINE C operator()(C a, C b) const {
    return times(a, b);
  }
};
struct Select {
  static constexpr bool kPlain = true;
  template <class W>
  RANKINE_FORCEINLINE W operator()(bool condition, W a, W b) const {
    return condition ? a : b;
  }
};
template <class C>
struct MakeComplex {
  static constexpr bool kPlain = true;
  template <class T>
  RANKINE_FORCEINLINE C operator()(T real, T imaginary) const {
    return C(real, imaginary);
  }
};
struct Conjugate {
  static constexpr bool kPlain = true;
  template <class C>
  RANKINE_FORCEINLINE C operator()(C z) const {
    return C(z.real(), -z.imag());
  }
};
struct ComplexExp {
  static constexpr bool kPlain = true;
  static constexpr double kFlops = 60;
  template <class C>
  RANKINE_FORCEINLINE C operator()(C z) const {
#if RANKINE_ON_DEVICE
    const auto size = std::exp(z.real());
    return C(size * std::cos(z.imag()), size * std::sin(z.imag()));
#else
    return std::exp(z);
#endif
  }
};

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
    kernels::gelu_with_derivative(count, x.at(begin), value.at(begin), slope.at(begin));
  }
#endif
};

// Conversions go through the widest type of their kind, whole numbers through 64 bits and real ones through
// double, which both lose nothing.
template <class Wide, class From>
struct Load {
  RANKINE_FORCEINLINE static Wide at(const std::byte* x, std::int64_t i) {
    return static_cast<Wide>(reinterpret_cast<const From*>(x)[i]);
  }
};
template <class Wide, class To>
struct Store {
  RANKINE_FORCEINLINE static void at(std::byte* y, std::int64_t i, Wide v) {
    reinterpret_cast<To*>(y)[i] = static_cast<To>(v);
  }
};
/// A real number as a complex one.
template <class Wide, class Part>
struct StoreReal {
  RANKINE_FORCEINLINE static void at(std::byte* y, std::int64_t i, Wide v) {
    reinterpret_cast<Part*>(y)[2 * i] = static_cast<Part>(v);
    reinterpret_cast<Part*>(y)[2 * i + 1] = Part(0);
  }
};

/// n elements from x to y, from and to element `begin`; on the host the choices stand outside the loops.
template <class Wide, class How>
RANKINE_FORCEINLINE void load(const std::byte* x, std::int64_t begin, int n, Wide* out) {
  for (int j = 0; j < n; ++j) out[j] = How::at(x, begin + j);
}
template <class Wide, class How>
RANKINE_FORCEINLINE void store(std::byte* y, std::int64_t begin, int n, const Wide* in) {
  for (int j = 0; j < n; ++j) How::at(y, begin + j, in[j]);
}
template <class Wide>
RANKINE_FORCEINLINE void store_as(DType to, std::byte* y, std::int64_t begin, int n, const Wide* in) {
  switch (to) {
    case DType::f32:
      return store<Wide, Store<Wide, float>>(y, begin, n, in);
    case DType::f64:
      return store<Wide, Store<Wide, double>>(y, begin, n, in);
    case DType::c64:
      return store<Wide, StoreReal<Wide, float>>(y, begin, n, in);
    case DType::c128:
      return store<Wide, StoreReal<Wide, double>>(y, begin, n, in);
    case DType::i32:
      return store<Wide, Store<Wide, std::int32_t>>(y, begin, n, in);
    case DType::i64:
      return store<Wide, Store<Wide, std::int64_t>>(y, begin, n, in);
    case DType::i8:
      return store<Wide, Store<Wide, std::int8_t>>(y, begin, n, in);
    case DType::u8:
      return store<Wide, Store<Wide, std::uint8_t>>(y, begin, n, in);
    case DType::boolean:
      return store<Wide, Store<Wide, bool>>(y, begin, n, in);
  }
}
template <int kLength>
RANKINE_FORCEINLINE void cast_block(DType from, const std::byte* x, DType to, std::byte* y,
                                    std::int64_t begin, int n) {
  if (from == DType::f32 || from == DType::f64) {
    double wide[kLength];
    if (from == DType::f32)
      load<double, Load<double, float>>(x, begin, n, wide);
    else
      load<double, Load<double, double>>(x, begin, n, wide);
    return store_as(to, y, begin, n, wide);
  }
  std::int64_t wide[kLength];
  switch (from) {
    case DType::i32:
      load<std::int64_t, Load<std::int64_t, std::int32_t>>(x, begin, n, wide);
      break;
    case DType::i64:
      load<std::int64_t, Load<std::int64_t, std::int64_t>>(x, begin, n, wide);
      break;
    case DType::i8:
      load<std::int64_t, Load<std::int64_t, std::int8_t>>(x, begin, n, wide);
      break;
    case DType::u8:
      load<std::int64_t, Load<std::int64_t, std::uint8_t>>(x, begin, n, wide);
      break;
    default:
      load<std::int64_t, Load<std::int64_t, bool>>(x, begin, n, wide);
  }
  store_as(to, y, begin, n, wide);
}
struct Cast {
  DType from, to;
  std::int64_t n;
  View<const std::byte> x;
  View<std::byte> y;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const { cast_block<1>(from, x.at(0), to, y.at(0), i, 1); }
#else
  void operator()(std::int64_t block) const {
    constexpr int length = 256;
    const std::int64_t end = (block + 1) * kChunk < n ? (block + 1) * kChunk : n;
    for (std::int64_t i = block * kChunk; i < end; i += length)
      cast_block<length>(from, x.at(0), to, y.at(0), i,
                         static_cast<int>(end - i < length ? end - i : length));
  }
#endif
};

/// What needs no block in between.
template <class To>
struct Convert {
  static constexpr bool kPlain = true;
  template <class From>
  RANKINE_FORCEINLINE To operator()(From x) const {
    return static_cast<To>(x);
  }
};
template <class From, class To>
void convert(std::int64_t n, DevicePtr<const std::byte> x, DevicePtr<std::byte> y) {
  map("cast", Convert<To>{}, n, y.as<To>(), x.as<const From>());
}

}  // namespace elementwise

using namespace elementwise;

template <class T>
void unary(Unary f, const Strided<2>& s, DevicePtr<const T> x, DevicePtr<T> y, Numbers p) {
  switch (f) {
    case Unary::exp:
      return map("exp", Exp{}, s, y, x);
    case Unary::log:
      return map("log", Log{}, s, y, x);
    case Unary::sqrt:
      return map("sqrt", Sqrt{}, s, y, x);
    case Unary::tanh:
      return map("tanh", Tanh{}, s, y, x);
    case Unary::gelu:
      return map("gelu", Gelu{}, s, y, x);
    case Unary::abs:
      return map("abs", Abs{}, s, y, x);
    case Unary::sign:
      return map("sign", Sign{}, s, y, x);
    case Unary::power:
      return map("pow", RealPower{p.a}, s, y, x);
    case Unary::at_least:
      return map("maximum", AtLeast{p.a}, s, y, x);
    case Unary::at_most:
      return map("minimum", AtMost{p.a}, s, y, x);
    case Unary::clamp:
      return map("clamp", Clamp<T>{static_cast<T>(p.a), static_cast<T>(p.b)}, s, y, x);
    case Unary::above:
      return map("above", Above<T>{last_not_above<T>(p.a)}, s, y, x);
    case Unary::below:
      return map("below", Below<T>{first_not_below<T>(p.a)}, s, y, x);
    case Unary::not_below:
      return map("not_below", Inside<T>{first_not_below<T>(p.a), std::numeric_limits<T>::infinity()}, s, y,
                 x);
    case Unary::inside:
      return map("inside", Inside<T>{first_not_below<T>(p.a), last_not_above<T>(p.b)}, s, y, x);
  }
}

template <class T>
void quantise(const Strided<2>& s, double step, double low, double high, DevicePtr<const T> x,
              DevicePtr<T> y) {
  map("fake_quantise", Quantise{step, low, high}, s, y, x);
}

template <class T>
void scale(const Strided<2>& s, double factor, DevicePtr<const T> x, DevicePtr<T> y) {
  using C = Element<T>;
  using Part = decltype(std::real(T{}));
  map("scale", Scale<C>{C(static_cast<Part>(factor))}, s, elements(y), elements(x));
}

template <class T>
void binary(Binary f, const Strided<3>& s, DevicePtr<const T> a, DevicePtr<const T> b, DevicePtr<T> y) {
  switch (f) {
    case Binary::add:
      return map("add", Add{}, s, elements(y), elements(a), elements(b));
    case Binary::subtract:
      return map("sub", Subtract{}, s, elements(y), elements(a), elements(b));
    case Binary::multiply:
      return map("mul", Times{}, s, elements(y), elements(a), elements(b));
    case Binary::divide:
      return map("div", Divide{}, s, elements(y), elements(a), elements(b));
  }
}

template <class T>
void tanh_backward(const Strided<3>& s, DevicePtr<const T> y, DevicePtr<const T> dy, DevicePtr<T> dx) {
  map("tanh_backward", TanhBackward{}, s, dx, y, dy);
}
template <class T>
void gelu_backward(const Strided<3>& s, DevicePtr<const T> x, DevicePtr<const T> dy, DevicePtr<T> dx) {
  map("gelu_backward", GeluBackward{}, s, dx, x, dy);
}

template <class T>
void gelu_with_derivative(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> value, DevicePtr<T> slope) {
  count_work("gelu_with_derivative", {GeluBackward::kFlops * static_cast<double>(n), in_bytes<T>(3 * n)});
  const GeluWithDerivative<T> body{n, x, value, slope};
#if RANKINE_ON_DEVICE
  device_range("gelu_with_derivative", n, body);
#else
  host_blocks("gelu_with_derivative", (n + kChunk - 1) / kChunk, body);
#endif
}

void select(std::size_t bytes, const Strided<4>& s, DevicePtr<const bool> condition,
            DevicePtr<const std::byte> a, DevicePtr<const std::byte> b, DevicePtr<std::byte> y) {
  for_word(bytes, [&](auto word) {
    using W = decltype(word);
    map("select", Select{}, s, y.as<W>(), condition, a.as<const W>(), b.as<const W>());
  });
}

void cast(std::int64_t n, DType from, DevicePtr<const std::byte> x, DType to, DevicePtr<std::byte> y) {
  // Between f32 or f64 and others, the usual casts, without a detour.
  if (from == DType::f32 && to == DType::f64) return convert<float, double>(n, x, y);
  if (from == DType::f64 && to == DType::f32) return convert<double, float>(n, x, y);
  const bool reads = from == DType::f32 || from == DType::f64;
  if (reads != (to == DType::f32 || to == DType::f64) && !is_complex(from) && !is_complex(to)) {
    const auto between = [&](auto real, auto whole) {
      using Real = decltype(real);
      using Whole = decltype(whole);
      if (reads) return convert<Real, Whole>(n, x, y);
      return convert<Whole, Real>(n, x, y);
    };
    const auto with = [&](auto real) {
      switch (reads ? to : from) {
        case DType::i32:
          return between(real, std::int32_t{});
        case DType::i64:
          return between(real, std::int64_t{});
        case DType::i8:
          return between(real, std::int8_t{});
        case DType::u8:
          return between(real, std::uint8_t{});
        default:
          return between(real, bool{});
      }
    };
    return (reads ? from : to) == DType::f32 ? with(float{}) : with(double{});
  }
  // Between complex types it is the parts that are cast.
  if (from == DType::c64) return convert<float, double>(2 * n, x, y);
  if (from == DType::c128) return convert<double, float>(2 * n, x, y);
  const Cast body{from, to, n, x, y};
  count_work("cast", {0, static_cast<double>(n) * static_cast<double>(size_of(from) + size_of(to))});
#if RANKINE_ON_DEVICE
  device_range("cast", n, body);
#else
  host_blocks("cast", (n + kChunk - 1) / kChunk, body);
#endif
}

template <class T>
void make_complex(const Strided<3>& s, DevicePtr<const T> real, DevicePtr<const T> imaginary,
                  DevicePtr<std::complex<T>> y) {
  map("complex_of", MakeComplex<Element<std::complex<T>>>{}, s, elements(y), real, imaginary);
}
template <class T>
void conjugate(const Strided<2>& s, DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y) {
  map("conj", Conjugate{}, s, elements(y), elements(x));
}
template <class T>
void complex_exp(const Strided<2>& s, DevicePtr<const std::complex<T>> x, DevicePtr<std::complex<T>> y) {
  map("complex_exp", ComplexExp{}, s, elements(y), elements(x));
}

#define RANKINE_INSTANTIATE(T)                                                         \
  template void scale<T>(const Strided<2>&, double, DevicePtr<const T>, DevicePtr<T>); \
  template void binary<T>(Binary, const Strided<3>&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
RANKINE_INSTANTIATE(std::complex<float>)
RANKINE_INSTANTIATE(std::complex<double>)
#undef RANKINE_INSTANTIATE

#define RANKINE_INSTANTIATE(T)                                                                             \
  template void unary<T>(Unary, const Strided<2>&, DevicePtr<const T>, DevicePtr<T>, Numbers);             \
  template void quantise<T>(const Strided<2>&, double, double, double, DevicePtr<const T>, DevicePtr<T>);  \
  template void tanh_backward<T>(const Strided<3>&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>); \
  template void gelu_backward<T>(const Strided<3>&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>); \
  template void gelu_with_derivative<T>(std::int64_t, DevicePtr<const T>, DevicePtr<T>, DevicePtr<T>);     \
  template void make_complex<T>(const Strided<3>&, DevicePtr<const T>, DevicePtr<const T>,                 \
                                DevicePtr<std::complex<T>>);                                               \
  template void conjugate<T>(const Strided<2>&, DevicePtr<const std::complex<T>>,                          \
                             DevicePtr<std::complex<T>>);                                                  \
  template void complex_exp<T>(const Strided<2>&, DevicePtr<const std::complex<T>>,                        \
                               DevicePtr<std::complex<T>>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
