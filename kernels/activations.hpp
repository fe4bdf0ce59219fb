// Activations and the derivatives that go with them, one pair of functors each: the value at x, and dx = dy
// f' from what the backward pass keeps, which is x or, where f' is a function of it, y = f(x). Branch-free
// where it can be, so that compilers vectorise them (kernels/pointwise.hpp).
#pragma once

#include <cmath>

#include "kernels/pointwise.hpp"

namespace rankine::kernels {

/// max(x, 0), or slope x below 0; from y (slope >= 0) or x.
struct LeakyRelu {
  double slope = 0;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x > T(0) ? x : static_cast<T>(slope) * x;
  }
};
struct LeakyReluBackward {
  double slope = 0;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T y, T dy) const {
    return y > T(0) ? dy : static_cast<T>(slope) * dy;
  }
};

/// max(x, 0). Its own, because 0 x is -0 below 0 and NaN at -inf.
struct Relu {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x < T(0) ? T(0) : x;
  }
};
struct ReluBackward {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T y, T dy) const {
    return y > T(0) ? dy : T(0);
  }
};

/// 1 / (1 + exp(-x)); from y: dy y (1 - y).
struct Sigmoid {
  static constexpr double kFlops = 22;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T bound = sizeof(T) == 4 ? T(87) : T(700);
    const auto e = exp_parts(clamp(-x, -bound, bound));
    return T(1) / (T(1) + (e.power + e.power * e.tail));
  }
};
struct SigmoidBackward {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T y, T dy) const {
    return dy * (y - y * y);
  }
};

/// From y = tanh(x): dy (1 - y^2).
struct TanhBackward {
  static constexpr double kFlops = 3;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T y, T dy) const {
    return dy - dy * (y * y);
  }
};

/// x / (1 + exp(-x)); from x.
struct Silu {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return x * Sigmoid{}(x);
  }
};
struct SiluBackward {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T dy) const {
    const T s = Sigmoid{}(x);
    return dy * (s + x * (s - s * s));
  }
};

/// log(1 + t) for 0 <= t <= 1, by 2 artanh(t / (2 + t)).
template <class T>
RANKINE_FORCEINLINE T log1p_of_unit(T t) {
  constexpr int terms = sizeof(T) == 4 ? 8 : 17;
  const T s = t / (T(2) + t), s2 = s * s;
  T sum = T(1) / T(2 * terms + 1);
  for (int k = terms - 1; k >= 0; --k) sum = sum * s2 + T(1) / T(2 * k + 1);
  return T(2) * s * sum;
}

/// log(1 + exp(b x)) / b; from x: dy / (1 + exp(-b x)).
struct Softplus {
  double b = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T u = static_cast<T>(b) * x, magnitude = u < T(0) ? -u : u;
    const T low = sizeof(T) == 4 ? T(-87) : T(-700);
    const auto e = exp_parts(clamp(-magnitude, low, T(0)));
    const T positive = u < T(0) ? T(0) : u;
    return (positive + log1p_of_unit(e.power + e.power * e.tail)) / static_cast<T>(b);
  }
};
struct SoftplusBackward {
  double b = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T dy) const {
    return dy * Sigmoid{}(static_cast<T>(b) * x);
  }
};

/// scale x above 0 and scale alpha (exp(x) - 1) below; from y: dy scale above 0 and dy (y + scale alpha)
/// below.
struct Elu {
  double alpha = 1, scale = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    const T low = sizeof(T) == 4 ? T(-87) : T(-700);
    const auto e = exp_parts(clamp(x, low, T(0)));
    const T below = static_cast<T>(scale * alpha) * (e.power * e.tail + (e.power - T(1)));
    return x > T(0) ? static_cast<T>(scale) * x : below;
  }
};
struct EluBackward {
  double alpha = 1, scale = 1;
  template <class T>
  RANKINE_FORCEINLINE T operator()(T y, T dy) const {
    return dy * (y > T(0) ? static_cast<T>(scale) : y + static_cast<T>(scale * alpha));
  }
};

/// sin(x + quarters pi/2) by its series about the nearest multiple of pi, which is taken off in three parts.
/// Absolute error below 1e-7 (float, |x| < 1e3) and 1e-15 (double, |x| < 1e6).
template <class T>
RANKINE_FORCEINLINE T sine(T x, bool cosine) {
  const T magic = sizeof(T) == 4 ? T(12582912) : T(6755399441055744.0);
  const T half = cosine ? T(0.5) : T(0);
  const T shifted = (x * T(0.3183098861837907) + half) + magic;
  const T n = shifted - magic, m = n - half;  // x = m pi + r
  T r;
  if constexpr (sizeof(T) == 4) {
    r = ((x - m * T(3.140625)) - m * T(9.67502593994140625e-4)) - m * T(1.509957990978376432e-7);
  } else {
    r = ((x - m * T(3.14159265160560607910)) - m * T(1.98418714791870343106e-9)) -
        m * T(1.14423774522196636802e-17);
  }
  const T r2 = r * r;
  T p;
  if constexpr (sizeof(T) == 4) {
    p = T(-2.5052108e-8);
    p = p * r2 + T(2.7557319e-6);
  } else {
    p = T(1.9572941063391263e-20);  // 1/21!
    p = p * r2 + T(-8.2206352466243295e-18);
    p = p * r2 + T(2.8114572543455206e-15);
    p = p * r2 + T(-7.6471637318198164e-13);
    p = p * r2 + T(1.6059043836821613e-10);
    p = p * r2 + T(-2.5052108385441720e-8);
    p = p * r2 + T(2.7557319223985893e-6);
  }
  p = p * r2 + T(-1.9841269841269841e-4);
  p = p * r2 + T(8.3333333333333333e-3);
  p = p * r2 + T(-1.6666666666666667e-1);
  const T value = r + r * r2 * p;
  // (-1)^n, from n's last bit.
  const T even = (n * T(0.5) + magic) - magic;
  return n - even * T(2) == T(0) ? value : -value;
}
struct Sin {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return sine(x, false);
  }
};
struct Cos {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x) const {
    return sine(x, true);
  }
};
struct SinBackward {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T dy) const {
    return dy * sine(x, true);
  }
};
struct CosBackward {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T dy) const {
    return -dy * sine(x, false);
  }
};

}  // namespace rankine::kernels
