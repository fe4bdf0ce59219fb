#include "src/nn/spiking.hpp"

#include <algorithm>
#include <numbers>

#include "src/tensor/op_support.hpp"

namespace rankine {

const std::vector<std::string> surrogate_names{"triangle", "rectangle", "atan", "sigmoid"};

Surrogate surrogate_of(const std::string& name) {
  const auto found = std::find(surrogate_names.begin(), surrogate_names.end(), name);
  RANKINE_ASSERT(found != surrogate_names.end(), "no surrogate '" + name + "'");
  return static_cast<Surrogate>(found - surrogate_names.begin());
}

namespace {

using List = std::vector<Tensor>;
using kernels::Bound;
using kernels::Reset;

Cost pointwise_cost(const Tensor& x, double flops, double arrays) {
  const double n = static_cast<double>(x.count());
  return {flops * n, arrays * n * static_cast<double>(size_of(x.dtype()))};
}

// 1 where x is on that side of the bound, else 0; off the tape.
Tensor indicator(const Tensor& x, Bound side, double bound) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "heaviside_surrogate", [&](auto zero) {
    using T = decltype(zero);
    kernels::step_values<T>(side, bound, 1, 0, in.count(), in.data<T>(), y.data<T>());
  });
  return y;
}
// 1 where |x| < bound.
Tensor inside(const Tensor& x, double bound) {
  return mul(indicator(x, Bound::below, bound), indicator(x, Bound::above, -bound));
}

// The surrogate derivative in ops, so that it can be differentiated again.
Tensor slope_in_ops(const Tensor& x, Surrogate kind, double width) {
  const double r = 1 / width;
  switch (kind) {
    case Surrogate::triangle: {
      const Tensor sign = sub(indicator(x, Bound::above, 0), indicator(x, Bound::below, 0));
      return mul(inside(x, width), scale(add_scalar(scale(mul(x, sign), -r), 1), r));
    }
    case Surrogate::rectangle:
      return scale(inside(x, width / 2), r);
    case Surrogate::atan:
      return scale(
          div(Tensor::full(x.shape(), x.dtype(), 1), add_scalar(square(scale(x, std::numbers::pi * r)), 1)),
          r);
    case Surrogate::sigmoid:
      break;
  }
  // 4/w s (1 - s) = (1 - tanh(2x/w)^2) / w.
  return scale(add_scalar(neg(square(tanh(scale(x, 2 * r)))), 1), r);
}

}  // namespace

Tensor heaviside_surrogate(const Tensor& x, Surrogate kind, double width) {
  const Region<"heaviside_surrogate"> region;
  const Tensor y = indicator(x, Bound::at_least, 0);
  return apply_op("heaviside_surrogate", {x}, y,
                  [x, kind, width](const List& g, const VjpContext& context) -> List {
                    if (context.create_graph()) return {mul(g[0], slope_in_ops(x, kind, width))};
                    const Tensor at = dense(x), from = dense(g[0]);
                    Tensor back = Tensor::empty(x.shape(), x.dtype());
                    dispatch_real(x.dtype(), "heaviside_surrogate", [&](auto zero) {
                      using T = decltype(zero);
                      kernels::surrogate_backward<T>(kind, width, at.count(), at.data<T>(), from.data<T>(),
                                                     back.data<T>());
                    });
                    return {back};
                  },
                  {.cost = pointwise_cost(x, 1, 2)});
}

namespace {

// d_u in ops.
Tensor backward_in_ops(const LifDynamics& d, const Tensor& u, const Tensor& d_spike, const Tensor& d_next) {
  const Tensor h = slope_in_ops(add_scalar(u, -d.threshold), d.surrogate, d.width);
  const Tensor from_spike = d_spike.defined() ? mul(d_spike, h) : Tensor();
  if (!d_next.defined()) return from_spike;
  Tensor factor = Tensor::full(u.shape(), u.dtype(), 1);
  if (d.reset == Reset::soft && !d.detach_reset) factor = add_scalar(scale(h, -d.threshold), 1);
  if (d.reset == Reset::hard) {
    factor = indicator(u, Bound::below, d.threshold);
    if (!d.detach_reset) factor = add(factor, mul(add_scalar(neg(u), d.reset_to), h));
  }
  const Tensor from_next = mul(d_next, factor);
  return from_spike.defined() ? add(from_spike, from_next) : from_next;
}

}  // namespace

std::pair<Tensor, Tensor> lif_step(const Tensor& potential, const Tensor& current,
                                   const LifDynamics& dynamics) {
  const Region<"lif_step"> region;
  RANKINE_ASSERT(!potential.defined() || potential.shape() == current.shape(),
                 "lif_step: potential " + potential.shape().text() + ", current " + current.shape().text());
  const Tensor v = potential.defined() ? dense(potential) : Tensor(), i = dense(current);
  const Shape& shape = current.shape();
  const Tensor u = Tensor::empty(shape, i.dtype());
  List out{Tensor::empty(shape, i.dtype()), Tensor::empty(shape, i.dtype())};
  dispatch_real(i.dtype(), "lif_step", [&](auto zero) {
    using T = decltype(zero);
    kernels::lif_forward<T>(dynamics, i.count(), device_or_null<T>(v), i.data<T>(), u.data<T>(),
                            out[0].data<T>(), out[1].data<T>());
  });
  const auto vjp = [dynamics, u, potential, current](const List& g, const VjpContext& context) -> List {
    if (context.create_graph()) {
      Tensor at = scale(current, dynamics.gain);
      if (potential.defined()) at = add(scale(potential, dynamics.decay), at);
      const Tensor d_u = backward_in_ops(dynamics, at, g[0], g[1]);
      return {context.needs(0) ? scale(d_u, dynamics.decay) : Tensor(), scale(d_u, dynamics.gain)};
    }
    const Tensor d_spike = g[0].defined() ? dense(g[0]) : Tensor(),
                 d_next = g[1].defined() ? dense(g[1]) : Tensor();
    const Tensor d_u = Tensor::empty(u.shape(), u.dtype());
    dispatch_real(u.dtype(), "lif_step", [&](auto zero) {
      using T = decltype(zero);
      kernels::lif_backward<T>(dynamics, u.count(), u.data<T>(), device_or_null<T>(d_spike),
                               device_or_null<T>(d_next), d_u.data<T>());
    });
    count_cost("lif_step_backward", pointwise_cost(u, 8, 4));
    return {context.needs(0) ? scale(d_u, dynamics.decay) : Tensor(),
            dynamics.gain == 1 ? d_u : scale(d_u, dynamics.gain)};
  };
  out = apply_op("lif_step", {potential, current}, out, vjp, {.cost = pointwise_cost(current, 4, 5)});
  return {out[0], out[1]};
}

}  // namespace rankine
