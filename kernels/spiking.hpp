// Leaky integrate-and-fire neurons, one time step forward and backward, with a surrogate for the derivative
// of the step function (Neftci, Mostafa, Zenke, arXiv 1901.09948).
#pragma once

#include <cstdint>

#include "kernels/pointwise.hpp"

namespace rankine::kernels {

/// Derivatives that stand in for that of H(x). Each has the integral 1 and the value 1/width at 0.
enum class Surrogate {
  triangle,   ///< max(0, 1 - |x|/w) / w
  rectangle,  ///< 1/w where |x| < w/2
  atan,       ///< 1 / (w (1 + (pi x/w)^2))
  sigmoid,    ///< 4/w s (1 - s), s = 1 / (1 + exp(-4x/w))
};

template <Surrogate kind>
struct SurrogateSlope {
  template <class T>
  RANKINE_FORCEINLINE T operator()(T x, T width) const {
    const T r = T(1) / width, at = x < T(0) ? -x : x;
    if constexpr (kind == Surrogate::triangle) {
      const T y = (T(1) - at * r) * r;
      return y > T(0) ? y : T(0);
    } else if constexpr (kind == Surrogate::rectangle) {
      return T(2) * at < width ? r : T(0);
    } else if constexpr (kind == Surrogate::atan) {
      const T y = T(3.14159265358979323846) * x * r;
      return r / (T(1) + y * y);
    } else {
      const T e = Exp{}(T(-4) * at * r), d = T(1) + e;
      return T(4) * r * e / (d * d);
    }
  }
};

/// Calls f with the SurrogateSlope of `kind`.
template <class F>
decltype(auto) with_surrogate(Surrogate kind, F&& f) {
  switch (kind) {
    case Surrogate::triangle:
      return f(SurrogateSlope<Surrogate::triangle>{});
    case Surrogate::rectangle:
      return f(SurrogateSlope<Surrogate::rectangle>{});
    case Surrogate::atan:
      return f(SurrogateSlope<Surrogate::atan>{});
    case Surrogate::sigmoid:
      break;
  }
  return f(SurrogateSlope<Surrogate::sigmoid>{});
}

enum class Reset { soft, hard, none };

/// u = decay v + gain i; spike = u >= threshold; v' = u - threshold spike (soft), reset_to where there is a
/// spike and u elsewhere (hard), or u.
template <class T>
struct LifStep {
  T decay, gain, threshold, reset_to, width;
  Reset reset;
  bool detach_reset;

  /// `v` may be null: 0. v_next may be v.
  void forward(std::int64_t n, const T* v, const T* current, T* u, T* spike, T* v_next) const {
    for (std::int64_t i = 0; i < n; ++i) {
      const T at = (v == nullptr ? T(0) : decay * v[i]) + gain * current[i];
      const bool fires = at >= threshold;
      u[i] = at;
      spike[i] = fires ? T(1) : T(0);
      switch (reset) {
        case Reset::soft:
          v_next[i] = fires ? at - threshold : at;
          break;
        case Reset::hard:
          v_next[i] = fires ? reset_to : at;
          break;
        case Reset::none:
          v_next[i] = at;
      }
    }
  }
  /// d_u; d_spike or d_v_next may be null: 0. The derivative of the reset with respect to the spike is left
  /// out if detach_reset.
  template <class Slope>
  void backward(Slope slope, std::int64_t n, const T* u, const T* d_spike, const T* d_v_next, T* d_u) const {
    for (std::int64_t i = 0; i < n; ++i) {
      const T h = slope(u[i] - threshold, width);
      T sum = d_spike == nullptr ? T(0) : d_spike[i] * h;
      if (d_v_next != nullptr) {
        T direct = T(1), through = T(0);
        if (reset == Reset::soft) {
          through = -threshold;
        } else if (reset == Reset::hard) {
          direct = u[i] >= threshold ? T(0) : T(1);
          through = reset_to - u[i];
        }
        sum += d_v_next[i] * (detach_reset ? direct : direct + through * h);
      }
      d_u[i] = sum;
    }
  }
};

}  // namespace rankine::kernels
