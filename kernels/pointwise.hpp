// Functions of one point, forward and derivative side by side, written so that compilers vectorise them:
// branch-free polynomials instead of libm. `map` runs them in blocks of fixed size and pads the last block,
// so that an element's bits do not depend on where in the array it stands.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/inline.hpp"

namespace rankine::kernels {

template <class To, class From>
RANKINE_FORCEINLINE To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
#else
  return __builtin_bit_cast(To, from);
#endif
}

/// exp(x) - 1 = power * (tail + 1) - 1 with power = 2^n: the parts from which exp, expm1, tanh and the
/// logistic function are assembled without cancellation. x must lie where 2^n is a normal number: see
/// clamp().
template <class T>
struct ExpParts {
  T power, tail;
};

RANKINE_FORCEINLINE ExpParts<float> exp_parts(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // Cody-Waite: ln 2 in two parts
  // (e^r - 1) / r by its series, in pairs: the chain of dependent operations is what the speed hangs on.
  const float r2 = r * r;
  const float low = (1.0f + 0.5f * r) + r2 * (1.66666667e-1f + 4.16666667e-2f * r);
  const float high = (8.33333333e-3f + 1.38888889e-3f * r) + r2 * 1.98412698e-4f;
  const float p = low + (r2 * r2) * high;
  const std::int32_t bits = (bits_as<std::int32_t>(shifted) << 23) + (127 << 23);
  return {bits_as<float>(bits), p * r};
}

RANKINE_FORCEINLINE ExpParts<double> exp_parts(double x) {
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = x * 1.4426950408889634 + magic;
  const double n = shifted - magic;
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  // (e^r - 1) / r = sum r^n / (n + 1)! to n = 12, in pairs.
  const double r2 = r * r, r4 = r2 * r2;
  const double a = (1.0 + 0.5 * r) + r2 * (1.6666666666666667e-1 + 4.1666666666666667e-2 * r);
  const double b = (8.3333333333333333e-3 + 1.3888888888888889e-3 * r) +
                   r2 * (1.9841269841269841e-4 + 2.4801587301587302e-5 * r);
  const double c = (2.7557319223985891e-6 + 2.7557319223985891e-7 * r) +
                   r2 * (2.5052108385441719e-8 + 2.0876756987868099e-9 * r);
  const double p = a + r4 * (b + r4 * (c + r4 * 1.6059043836821613e-10));
  const std::int64_t bits =
      static_cast<std::int64_t>((bits_as<std::uint64_t>(shifted) << 52) + (std::uint64_t(1023) << 52));
  return {bits_as<double>(bits), p * r};
}

/// ln x within 1 ulp for normal x > 0: x = 2^k m, m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m +
/// 1)).
RANKINE_FORCEINLINE double log_positive(double x) {
  const std::uint64_t one = 0x3ff0000000000000, root_half = 0x3fe6a09e667f3bcd;
  const std::uint64_t bits = bits_as<std::uint64_t>(x), biased = (bits + (one - root_half)) >> 52;
  const double k = bits_as<double>(biased | 0x4330000000000000) - (4503599627370496.0 + 1023.0);
  const double f = bits_as<double>(bits - (biased << 52) + one) - 1.0;
  const double s = f / (2.0 + f), s2 = s * s, s4 = s2 * s2;
  // sum of 2 / (2 n + 1) s^2n for n = 1 .. 11, in pairs
  const double a = 6.6666666666666667e-1 + 4.0000000000000000e-1 * s2;
  const double b = 2.8571428571428571e-1 + 2.2222222222222222e-1 * s2;
  const double c = 1.8181818181818182e-1 + 1.5384615384615385e-1 * s2;
  const double d = 1.3333333333333333e-1 + 1.1764705882352941e-1 * s2;
  const double e = 1.0526315789473684e-1 + 9.5238095238095238e-2 * s2;
  const double series = s2 * (a + s4 * (b + s4 * (c + s4 * (d + s4 * (e + s4 * 8.6956521739130435e-2)))));
  const double half = 0.5 * f * f;
  // ln 2 in two parts, the first short enough for k times it to be exact
  return k * 6.93147180369123816490e-01 -
         ((half - (s * (half + series) + k * 1.90821492927058770002e-10)) - f);
}

/// As std::max and std::min are written: GCC makes one instruction of them, but a branch of a > b ? a : b.
template <class T>
RANKINE_FORCEINLINE const T& larger(const T& a, const T& b) {
  if (a < b) return b;
  return a;
}
template <class T>
RANKINE_FORCEINLINE const T& smaller(const T& a, const T& b) {
  if (b < a) return b;
  return a;
}

/// x within [low, high]; NaN stays NaN.
template <class T>
RANKINE_FORCEINLINE T clamp(T x, T low, T high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

/// exp(x), within 2 ulp for |x| <= 87 (float) and 708 (double); beyond, the value at the bound.
struct Exp {
  static constexpr double kFlops = 20;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const auto e = exp_parts(sizeof(T) == 4 ? clamp(x, T(-87), T(88)) : clamp(x, T(-708), T(709)));
    return e.power + e.power * e.tail;
  }
};

/// x^exponent of normal x > 0, |exponent ln x| <= 708 (beyond, the value at the bound), with a relative error
/// below (1 + |exponent ln x|) 4e-16.
struct Power {
  double exponent;
  RANKINE_FORCEINLINE double operator()(double x) const { return Exp{}(exponent * log_positive(x)); }
};

/// tanh(x) = (e^2x - 1) / (e^2x + 1), within 4 ulp, also for small x.
struct Tanh {
  static constexpr double kFlops = 22;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T bound = sizeof(T) == 4 ? T(10) : T(20);
    const auto e = exp_parts(T(2) * clamp(x, -bound, bound));
    const T m = e.power * e.tail + (e.power - T(1));
    return m / (m + T(2));
  }
};

/// gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), evaluated as x / (1 + exp(-2 (...))), which is
/// the same and does not cancel for negative x.
template <class T>
RANKINE_FORCEINLINE T gelu_logistic(T x) {
  const T x2 = x * x;
  const T u = x * (T(-1.5957691216057308) + T(-0.07135481627260025) * x2);  // -2 sqrt(2/pi) (1, 0.044715)
  // Beyond these bounds the result is 0 or 1 to any purpose. Wider ones would make subnormal numbers, which
  // cost a hundred cycles each, also where the compiler computes them for lanes that do not use them.
  const T bound = sizeof(T) == 4 ? T(60) : T(600);
  const auto e = exp_parts(smaller(larger(u, -bound), bound));
  return T(1) / (T(1) + (e.power + e.power * e.tail));
}
struct Gelu {
  static constexpr double kFlops = 26;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x * gelu_logistic(x);
  }
};
/// d gelu / dx = s + x s (1 - s) u' with s the logistic function of u = 2 sqrt(2/pi) (x + 0.044715 x^3).
struct GeluDerivative {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T s = gelu_logistic(x);
    const T slope = T(1.5957691216057308) + T(0.21406444881780076) * x * x;
    return s + x * slope * (s - s * s);
  }
};
/// Both at once, for the price of one.
template <class T>
struct ValueAndSlope {
  T value, slope;
};
template <class T>
RANKINE_FORCEINLINE ValueAndSlope<T> gelu_value_and_slope(T x) {
  const T s = gelu_logistic(x);
  const T bend = T(1.5957691216057308) + T(0.21406444881780076) * x * x;
  return {x * s, s + x * bend * (s - s * s)};
}
/// value = gelu(x), slope = gelu'(x); n elements, contiguous, on the host. `value` may be x.
template <class T>
void gelu_with_derivative(std::int64_t n, const T* x, T* value, T* slope);

/// dx = dy gelu'(x).
struct GeluBackward {
  static constexpr double kFlops = 30;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T dy) const {
    return dy * GeluDerivative{}(x);
  }
};

struct Add {
  static constexpr bool kPlain = true;  // see map.hpp
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  static constexpr bool kPlain = true;  // see map.hpp
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  static constexpr bool kPlain = true;  // see map.hpp
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T a, T b) const {
    return a * b;
  }
};
struct Divide {
  static constexpr bool kPlain = true;  // see map.hpp
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T a, T b) const {
    return a / b;
  }
};

/// Elements that `map` hands to the compiler as one loop of constant length.
inline constexpr std::int64_t kMapBlock = 64;

/// y[i] = f(x[i]), x and y contiguous on the host, equal or disjoint.
template <class F, class T>
void map(F f, std::int64_t n, const T* x, T* y) {
  std::int64_t i = 0;
  T in[kMapBlock], out[kMapBlock];
  for (; i + kMapBlock <= n; i += kMapBlock) {
    for (int j = 0; j < kMapBlock; ++j) out[j] = f(x[i + j]);
    std::memcpy(y + i, out, sizeof out);
  }
  if (i == n) return;
  const auto rest = static_cast<std::size_t>(n - i) * sizeof(T);
  for (int j = 0; j < kMapBlock; ++j) in[j] = T(1);
  std::memcpy(in, x + i, rest);
  for (int j = 0; j < kMapBlock; ++j) out[j] = f(in[j]);
  std::memcpy(y + i, out, rest);
}

template <class T>
void gelu_with_derivative(std::int64_t n, const T* x, T* value, T* slope) {
  T in[kMapBlock], out[kMapBlock], der[kMapBlock];
  for (std::int64_t i = 0; i < n; i += kMapBlock) {
    const std::int64_t count = n - i < kMapBlock ? n - i : kMapBlock;
    const T* from = x + i;
    if (count < kMapBlock) {
      for (int j = 0; j < kMapBlock; ++j) in[j] = T(1);
      std::memcpy(in, from, static_cast<std::size_t>(count) * sizeof(T));
      from = in;
    }
    for (int j = 0; j < kMapBlock; ++j) {
      const ValueAndSlope<T> at = gelu_value_and_slope(from[j]);
      out[j] = at.value;
      der[j] = at.slope;
    }
    std::memcpy(value + i, out, static_cast<std::size_t>(count) * sizeof(T));
    std::memcpy(slope + i, der, static_cast<std::size_t>(count) * sizeof(T));
  }
}

/// Sum of n elements in an order that depends on n only: 16 lanes over at most 256 elements, then halves.
template <class T>
T tree_sum(std::int64_t n, const T* x) {
  if (n <= 256) {
    T lanes[16];
    for (int j = 0; j < 16; ++j) lanes[j] = T(0);
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16)
      for (int j = 0; j < 16; ++j) lanes[j] = lanes[j] + x[i + j];
    for (int j = 0; i < n; ++i, ++j) lanes[j] = lanes[j] + x[i];
    for (int width = 8; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lanes[j] = lanes[j] + lanes[j + width];
    return lanes[0];
  }
  std::int64_t half = 256;
  while (2 * half < n) half *= 2;
  return tree_sum(half, x) + tree_sum(n - half, x + half);
}

}  // namespace rankine::kernels
