#include "src/tensor/elementary.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/reductions.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/strided.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;
using kernels::Unary;

Cost pointwise_cost(const Tensor& x, double flops) {
  const double n = static_cast<double>(x.count());
  return {flops * n, 2 * n * static_cast<double>(size_of(x.dtype()))};
}

// f of each element, off the tape.
Tensor each(Unary f, const char* name, const Tensor& x, kernels::Numbers numbers = {}) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::unary<T>(f, strided<2>(x.shape(), {y.strides(), x.strides()}), x.data<T>(), y.data<T>(),
                      numbers);
  });
  return y;
}

// y with the derivative `slope`, which is constant but for jumps.
Tensor piecewise(const char* name, const Tensor& x, const Tensor& y, const Tensor& slope) {
  return apply_op(name, {x}, y, [slope](const List& g, const auto&) { return List{mul(g[0], slope)}; },
                  {.cost = pointwise_cost(x, 1)});
}

}  // namespace

Tensor sign(const Tensor& x) { return each(Unary::sign, "sign", x); }

Tensor abs(const Tensor& x) {
  const Region<"abs"> region;
  return piecewise("abs", x, each(Unary::abs, "abs", x), sign(x.detach()));
}

Tensor pow(const Tensor& x, double p) {
  const Region<"pow"> region;
  const Tensor y = each(Unary::power, "pow", x, {p});
  return apply_op("pow", {x}, y,
                  [x, p](const List& g, const auto&) {
                    if (p == 0) return List{Tensor()};
                    return List{mul(g[0], scale(pow(x, p - 1), p))};
                  },
                  {.cost = pointwise_cost(x, 40)});
}

Tensor maximum(const Tensor& x, double bound) {
  const Region<"maximum"> region;
  return piecewise("maximum", x, each(Unary::at_least, "maximum", x, {bound}),
                   each(Unary::above, "maximum", x, {bound}));
}

Tensor minimum(const Tensor& x, double bound) {
  const Region<"minimum"> region;
  return piecewise("minimum", x, each(Unary::at_most, "minimum", x, {bound}),
                   each(Unary::below, "minimum", x, {bound}));
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  const Tensor first = each(Unary::not_below, "maximum", sub(a.detach(), b.detach()), {0});
  return add(mul(a, first), mul(b, add_scalar(neg(first), 1)));
}

Tensor minimum(const Tensor& a, const Tensor& b) { return neg(maximum(neg(a), neg(b))); }

Tensor clamp(const Tensor& x, double low, double high) {
  const Region<"clamp"> region;
  return piecewise("clamp", x, each(Unary::clamp, "clamp", x, {low, high}),
                   each(Unary::inside, "clamp", x, {low, high}));
}

namespace {

// x as [outer, extent, inner].
struct Extents {
  int axis;
  std::int64_t outer = 1, extent = 0, inner = 1;
};
Extents extents_of(const Tensor& x, int axis, const char* what) {
  Extents e{normal_axis(axis, x.rank(), what)};
  e.extent = x.shape()[e.axis];
  for (int i = 0; i < e.axis; ++i) e.outer *= x.shape()[i];
  for (int i = e.axis + 1; i < x.rank(); ++i) e.inner *= x.shape()[i];
  return e;
}

Tensor first_extreme(const char* name, const Tensor& x, int axis, int direction) {
  const Extents e = extents_of(x, axis, name);
  RANKINE_ASSERT(e.extent > 0, std::string(name) + " along an empty axis of " + x.shape().text());
  const Tensor in = dense(x);
  Shape shape = x.shape();
  shape.erase(e.axis);
  Tensor index = Tensor::empty(shape, DType::i64);
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::first_extreme<T>(e.outer, e.extent, e.inner, direction > 0, in.data<T>(),
                              index.data<std::int64_t>());
  });
  return index;
}

// 1 at the indices along the axis, else 0.
Tensor marks(const Tensor& x, const Extents& e, const Tensor& index) {
  Tensor mark = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "extreme", [&](auto zero) {
    using T = decltype(zero);
    kernels::mark_index<T>(e.outer, e.extent, e.inner, index.data<std::int64_t>(), mark.data<T>());
  });
  return mark;
}

Tensor extreme(const char* name, const Tensor& x, int axis, bool keep, int direction) {
  const Extents e = extents_of(x, axis, name);
  const Tensor index = first_extreme(name, x, e.axis, direction), in = dense(x);
  Shape kept = x.shape();
  kept[e.axis] = 1;
  Tensor y = Tensor::empty(keep ? kept : index.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::at_index<T>(e.outer, e.extent, e.inner, index.data<std::int64_t>(), in.data<T>(), y.data<T>());
  });
  return apply_op(name, {x}, y,
                  [e, index, kept, like = x.detach()](const List& g, const auto&) {
                    return List{mul(marks(like, e, index), reshape(g[0], kept))};
                  },
                  {.cost = pointwise_cost(x, 1)});
}

}  // namespace

Tensor argmax(const Tensor& x, int axis) { return first_extreme("argmax", x, axis, 1); }
Tensor argmin(const Tensor& x, int axis) { return first_extreme("argmin", x, axis, -1); }
Tensor max(const Tensor& x, int axis, bool keep) {
  const Region<"max"> region;
  return extreme("max", x, axis, keep, 1);
}
Tensor min(const Tensor& x, int axis, bool keep) {
  const Region<"min"> region;
  return extreme("min", x, axis, keep, -1);
}

Tensor cumulative_sum(const Tensor& x, int axis, bool reverse) {
  const Region<"cumulative_sum"> region;
  const Extents e = extents_of(x, axis, "cumulative_sum");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_floating(x.dtype(), "cumulative_sum", [&](auto zero) {
    using T = decltype(zero);
    kernels::cumulative_sum<T>(e.outer, e.extent, e.inner, reverse, in.data<T>(), y.data<T>());
  });
  return apply_op("cumulative_sum", {x}, y,
                  [axis = e.axis, reverse](const List& g, const auto&) {
                    return List{cumulative_sum(g[0], axis, !reverse)};
                  },
                  {.cost = pointwise_cost(x, 1)});
}

Tensor straight_through(const Tensor& x, const Tensor& value) {
  const Region<"straight_through"> region;
  RANKINE_ASSERT(x.shape() == value.shape() && x.dtype() == value.dtype(),
                 "straight_through: values " + value.shape().text() + " for " + x.shape().text());
  return apply_op("straight_through", {x}, value.detach(),
                  [](const List& g, const auto&) { return List{g[0]}; });
}

Tensor fake_quantise(const Tensor& x, double step, double low, double high) {
  const Region<"fake_quantise"> region;
  RANKINE_ASSERT(step > 0 && low <= high, "fake_quantise: step " + std::to_string(step));
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "fake_quantise", [&](auto zero) {
    using T = decltype(zero);
    kernels::quantise<T>(strided<2>(x.shape(), {y.strides(), x.strides()}), step, low, high, x.data<T>(),
                         y.data<T>());
  });
  return piecewise("fake_quantise", x, y,
                   each(Unary::inside, "fake_quantise", x, {(low - 0.5) * step, (high + 0.5) * step}));
}

}  // namespace rankine
