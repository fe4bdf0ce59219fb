// What acts on each neuron by itself: activations, leaky integrate-and-fire neurons. Each function
// is one launch. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

enum class ActivationKind { relu, leaky_relu, sigmoid, silu, softplus, elu, sin, cos };

/// An activation with its constants: leaky_relu (slope), softplus (b), elu (alpha, scale). The formulas are
/// in kernels/activations.hpp.
struct Activation {
  ActivationKind kind;
  double a = 0, b = 0;
};

/// y = f(x), n elements.
template <class T>
void activate(const Activation& f, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y);
/// dx = dy f'(x) from what the backward pass keeps: x of silu, softplus, sin and cos, else y.
template <class T>
void activate_backward(const Activation& f, std::int64_t n, DevicePtr<const T> kept, DevicePtr<const T> dy,
                       DevicePtr<T> dx);

enum class Bound { at_least, above, below };

/// y = yes where x is on that side of `bound`, compared in double, else no.
template <class T>
void step_values(Bound side, double bound, double yes, double no, std::int64_t n, DevicePtr<const T> x,
                 DevicePtr<T> y);

/// Derivatives that stand in for that of H(x) (Neftci, Mostafa, Zenke, arXiv 1901.09948). Each has the
/// integral 1 and the value 1/width at 0.
enum class Surrogate {
  triangle,   ///< max(0, 1 - |x|/w) / w
  rectangle,  ///< 1/w where |x| < w/2
  atan,       ///< 1 / (w (1 + (pi x/w)^2))
  sigmoid,    ///< 4/w s (1 - s), s = 1 / (1 + exp(-4x/w))
};

/// dx = dy times the surrogate at x.
template <class T>
void surrogate_backward(Surrogate kind, double width, std::int64_t n, DevicePtr<const T> x,
                        DevicePtr<const T> dy, DevicePtr<T> dx);

enum class Reset { soft, hard, none };

/// One time step: u = decay v + gain i; spike = u >= threshold; v' = u - threshold spike (soft), reset_to
/// where there is a spike and u elsewhere (hard), or u.
struct LifDynamics {
  double decay = 0.5, gain = 1, threshold = 1, reset_to = 0, width = 1;
  Reset reset = Reset::soft;
  /// The derivative of the reset with respect to the spike is left out.
  bool detach_reset = false;
  Surrogate surrogate = Surrogate::triangle;
};

/// v may be null: 0. v_next may be v.
template <class T>
void lif_forward(const LifDynamics& lif, std::int64_t n, DevicePtr<const T> v, DevicePtr<const T> current,
                 DevicePtr<T> u, DevicePtr<T> spike, DevicePtr<T> v_next);
/// The cotangent of u; d_spike or d_v_next may be null: 0.
template <class T>
void lif_backward(const LifDynamics& lif, std::int64_t n, DevicePtr<const T> u, DevicePtr<const T> d_spike,
                  DevicePtr<const T> d_v_next, DevicePtr<T> d_u);

}  // namespace rankine::kernels
