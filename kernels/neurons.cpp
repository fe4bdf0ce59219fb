#include "kernels/neurons.hpp"

#include "kernels/activations.hpp"
#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/rows.hpp"

namespace rankine::kernels {
namespace {

// Calls f with the functors of the activation and of its derivative.
template <class F>
void with_activation(const Activation& which, const F& f) {
  switch (which.kind) {
    case ActivationKind::relu:
      return f(Relu{}, ReluBackward{});
    case ActivationKind::leaky_relu:
      return f(LeakyRelu{which.a}, LeakyReluBackward{which.a});
    case ActivationKind::sigmoid:
      return f(Sigmoid{}, SigmoidBackward{});
    case ActivationKind::silu:
      return f(Silu{}, SiluBackward{});
    case ActivationKind::softplus:
      return f(Softplus{which.a}, SoftplusBackward{which.a});
    case ActivationKind::elu:
      return f(Elu{which.a, which.b}, EluBackward{which.a, which.b});
    case ActivationKind::sin:
      return f(Sin{}, SinBackward{});
    case ActivationKind::cos:
      return f(Cos{}, CosBackward{});
  }
}

template <class T, Bound side>
struct Step {
  double bound;
  T yes, no;
  RANKINE_FORCEINLINE T operator()(T x) const {
    const double v = static_cast<double>(x);
    if constexpr (side == Bound::at_least) return v >= bound ? yes : no;
    if constexpr (side == Bound::above) return v > bound ? yes : no;
    return v < bound ? yes : no;
  }
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

// Calls f with the SurrogateSlope of `kind`.
template <class F>
void with_surrogate(Surrogate kind, const F& f) {
  switch (kind) {
    case Surrogate::triangle:
      return f(SurrogateSlope<Surrogate::triangle>{});
    case Surrogate::rectangle:
      return f(SurrogateSlope<Surrogate::rectangle>{});
    case Surrogate::atan:
      return f(SurrogateSlope<Surrogate::atan>{});
    case Surrogate::sigmoid:
      return f(SurrogateSlope<Surrogate::sigmoid>{});
  }
}

template <class T, class Slope>
struct SurrogateBackward {
  Slope slope;
  T width;
  RANKINE_FORCEINLINE T operator()(T x, T dy) const { return dy * slope(x, width); }
};

template <class T>
struct LifForward {
  T decay, gain, threshold, reset_to;
  Reset reset;
  View<const T> v, current;
  View<T> u, spike, v_next;
  RANKINE_KERNEL void operator()(std::int64_t /*unit*/, const Columns& columns) const {
    columns.each([this](std::int64_t i) {
      const T at = multiply_add(gain, current[i], v.defined() ? decay * v[i] : T(0));
      const bool fires = at >= threshold;
      u[i] = at;
      spike[i] = fires ? T(1) : T(0);
      v_next[i] = !fires || reset == Reset::none ? at : reset == Reset::soft ? at - threshold : reset_to;
    });
  }
};

template <class T, class Slope>
struct LifBackward {
  Slope slope;
  T threshold, reset_to, width;
  Reset reset;
  bool detach_reset;
  View<const T> u, d_spike, d_v_next;
  View<T> d_u;
  RANKINE_KERNEL void operator()(std::int64_t /*unit*/, const Columns& columns) const {
    columns.each([this](std::int64_t i) {
      const T h = slope(u[i] - threshold, width);
      T sum = d_spike.defined() ? d_spike[i] * h : T(0);
      if (d_v_next.defined()) {
        T direct = T(1), through = T(0);
        if (reset == Reset::soft) {
          through = -threshold;
        } else if (reset == Reset::hard) {
          direct = u[i] >= threshold ? T(0) : T(1);
          through = reset_to - u[i];
        }
        sum = multiply_add(d_v_next[i], detach_reset ? direct : multiply_add(through, h, direct), sum);
      }
      d_u[i] = sum;
    });
  }
};

}  // namespace

template <class T>
void activate(const Activation& f, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y) {
  with_activation(f, [&](auto forward, auto) { map("activation", forward, n, y, x); });
}

template <class T>
void activate_backward(const Activation& f, std::int64_t n, DevicePtr<const T> kept, DevicePtr<const T> dy,
                       DevicePtr<T> dx) {
  with_activation(f, [&](auto, auto backward) { map("activation_backward", backward, n, dx, kept, dy); });
}

template <class T>
void step_values(Bound side, double bound, double yes, double no, std::int64_t n, DevicePtr<const T> x,
                 DevicePtr<T> y) {
  const T t = static_cast<T>(yes), f = static_cast<T>(no);
  switch (side) {
    case Bound::at_least:
      return map("step_values", Step<T, Bound::at_least>{bound, t, f}, n, y, x);
    case Bound::above:
      return map("step_values", Step<T, Bound::above>{bound, t, f}, n, y, x);
    case Bound::below:
      return map("step_values", Step<T, Bound::below>{bound, t, f}, n, y, x);
  }
}

template <class T>
void surrogate_backward(Surrogate kind, double width, std::int64_t n, DevicePtr<const T> x,
                        DevicePtr<const T> dy, DevicePtr<T> dx) {
  with_surrogate(kind, [&](auto slope) {
    map("surrogate_backward", SurrogateBackward<T, decltype(slope)>{slope, static_cast<T>(width)}, n, dx, x,
        dy);
  });
}

template <class T>
void lif_forward(const LifDynamics& lif, std::int64_t n, DevicePtr<const T> v, DevicePtr<const T> current,
                 DevicePtr<T> u, DevicePtr<T> spike, DevicePtr<T> v_next) {
  count_work("lif_step", {4 * static_cast<double>(n), in_bytes<T>(5 * n)});
  columns("lif_step", 1, n,
          LifForward<T>{static_cast<T>(lif.decay), static_cast<T>(lif.gain), static_cast<T>(lif.threshold),
                        static_cast<T>(lif.reset_to), lif.reset, v, current, u, spike, v_next});
}

template <class T>
void lif_backward(const LifDynamics& lif, std::int64_t n, DevicePtr<const T> u, DevicePtr<const T> d_spike,
                  DevicePtr<const T> d_v_next, DevicePtr<T> d_u) {
  count_work("lif_step_backward", {8 * static_cast<double>(n), in_bytes<T>(4 * n)});
  with_surrogate(lif.surrogate, [&](auto slope) {
    columns("lif_step_backward", 1, n,
            LifBackward<T, decltype(slope)>{slope, static_cast<T>(lif.threshold),
                                            static_cast<T>(lif.reset_to), static_cast<T>(lif.width),
                                            lif.reset, lif.detach_reset, u, d_spike, d_v_next, d_u});
  });
}

#define RANKINE_INSTANTIATE(T)                                                                              \
  template void activate(const Activation&, std::int64_t, DevicePtr<const T>, DevicePtr<T>);                \
  template void activate_backward(const Activation&, std::int64_t, DevicePtr<const T>, DevicePtr<const T>,  \
                                  DevicePtr<T>);                                                            \
  template void step_values(Bound, double, double, double, std::int64_t, DevicePtr<const T>, DevicePtr<T>); \
  template void surrogate_backward(Surrogate, double, std::int64_t, DevicePtr<const T>, DevicePtr<const T>, \
                                   DevicePtr<T>);                                                           \
  template void lif_forward(const LifDynamics&, std::int64_t, DevicePtr<const T>, DevicePtr<const T>,       \
                            DevicePtr<T>, DevicePtr<T>, DevicePtr<T>);                                      \
  template void lif_backward(const LifDynamics&, std::int64_t, DevicePtr<const T>, DevicePtr<const T>,      \
                             DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
