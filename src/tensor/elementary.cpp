#include "src/tensor/elementary.hpp"

#include <algorithm>
#include <cmath>

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

Cost pointwise_cost(const Tensor& x, double flops) {
  const double n = static_cast<double>(x.count());
  return {flops * n, 2 * n * static_cast<double>(size_of(x.dtype()))};
}

// f of each element, off the tape.
template <class F>
Tensor each(const char* name, const Tensor& x, F f) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const T* from = in.data<T>();
    std::transform(from, from + in.count(), y.data<T>(), f);
  });
  return y;
}

// 1 where f holds, else 0.
template <class F>
Tensor where(const Tensor& x, F f) {
  return each("comparison", x, [f](auto v) { return f(v) ? decltype(v)(1) : decltype(v)(0); });
}

// y with the derivative `slope`, which is constant but for jumps.
Tensor piecewise(const char* name, const Tensor& x, const Tensor& y, const Tensor& slope) {
  return apply_op(name, {x}, y, [slope](const List& g, const auto&) { return List{mul(g[0], slope)}; },
                  {.cost = pointwise_cost(x, 1)});
}

}  // namespace

Tensor sign(const Tensor& x) {
  return each("sign", x, [](auto v) {
    using T = decltype(v);
    return v > 0 ? T(1) : v < 0 ? T(-1) : T(0);
  });
}

Tensor abs(const Tensor& x) {
  return piecewise("abs", x, each("abs", x, [](auto v) { return std::abs(v); }), sign(x.detach()));
}

Tensor pow(const Tensor& x, double p) {
  const Tensor y = each("pow", x, [p](auto v) { return std::pow(v, static_cast<decltype(v)>(p)); });
  return apply_op("pow", {x}, y,
                  [x, p](const List& g, const auto&) {
                    if (p == 0) return List{Tensor()};
                    return List{mul(g[0], scale(pow(x, p - 1), p))};
                  },
                  {.cost = pointwise_cost(x, 40)});
}

Tensor maximum(const Tensor& x, double bound) {
  return piecewise(
      "maximum", x,
      each("maximum", x, [bound](auto v) { return std::max(v, static_cast<decltype(v)>(bound)); }),
      where(x, [bound](auto v) { return v > bound; }));
}

Tensor minimum(const Tensor& x, double bound) {
  return piecewise(
      "minimum", x,
      each("minimum", x, [bound](auto v) { return std::min(v, static_cast<decltype(v)>(bound)); }),
      where(x, [bound](auto v) { return v < bound; }));
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  const Tensor first = where(sub(a.detach(), b.detach()), [](auto v) { return v >= 0; });
  return add(mul(a, first), mul(b, add_scalar(neg(first), 1)));
}

Tensor minimum(const Tensor& a, const Tensor& b) { return neg(maximum(neg(a), neg(b))); }

Tensor clamp(const Tensor& x, double low, double high) {
  const Tensor y = each("clamp", x, [=](auto v) {
    return std::clamp(v, static_cast<decltype(v)>(low), static_cast<decltype(v)>(high));
  });
  return piecewise("clamp", x, y, where(x, [=](auto v) { return v >= low && v <= high; }));
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
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t i = 0; i < e.inner; ++i) {
        const T* from = in.data<T>() + o * e.extent * e.inner + i;
        std::int64_t best = 0;
        for (std::int64_t k = 1; k < e.extent; ++k) {
          const T here = from[k * e.inner], top = from[best * e.inner];
          if (direction > 0 ? here > top : here < top) best = k;
        }
        index.data<std::int64_t>()[o * e.inner + i] = best;
      }
  });
  return index;
}

// 1 at the indices along the axis, else 0.
Tensor marks(const Tensor& x, const Extents& e, const Tensor& index) {
  Tensor mark = Tensor::zeros(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "extreme", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t i = 0; i < e.inner; ++i)
        mark.data<T>()[(o * e.extent + index.data<std::int64_t>()[o * e.inner + i]) * e.inner + i] = 1;
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
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t i = 0; i < e.inner; ++i) {
        const std::int64_t k = index.data<std::int64_t>()[o * e.inner + i];
        y.data<T>()[o * e.inner + i] = in.data<T>()[(o * e.extent + k) * e.inner + i];
      }
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
Tensor max(const Tensor& x, int axis, bool keep) { return extreme("max", x, axis, keep, 1); }
Tensor min(const Tensor& x, int axis, bool keep) { return extreme("min", x, axis, keep, -1); }

Tensor cumulative_sum(const Tensor& x, int axis, bool reverse) {
  const Extents e = extents_of(x, axis, "cumulative_sum");
  Tensor y = x.clone();
  dispatch_floating(x.dtype(), "cumulative_sum", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t n = 1; n < e.extent; ++n) {
        const std::int64_t k = reverse ? e.extent - 1 - n : n, before = reverse ? k + 1 : k - 1;
        T* to = y.data<T>() + (o * e.extent + k) * e.inner;
        const T* from = y.data<T>() + (o * e.extent + before) * e.inner;
        for (std::int64_t i = 0; i < e.inner; ++i) to[i] += from[i];
      }
  });
  return apply_op("cumulative_sum", {x}, y,
                  [axis = e.axis, reverse](const List& g, const auto&) {
                    return List{cumulative_sum(g[0], axis, !reverse)};
                  },
                  {.cost = pointwise_cost(x, 1)});
}

Tensor straight_through(const Tensor& x, const Tensor& value) {
  RANKINE_ASSERT(x.shape() == value.shape() && x.dtype() == value.dtype(),
                 "straight_through: values " + value.shape().text() + " for " + x.shape().text());
  return apply_op("straight_through", {x}, value.detach(),
                  [](const List& g, const auto&) { return List{g[0]}; });
}

Tensor fake_quantise(const Tensor& x, double step, double low, double high) {
  RANKINE_ASSERT(step > 0 && low <= high, "fake_quantise: step " + std::to_string(step));
  const Tensor y = each("fake_quantise", x, [=](auto v) {
    using T = decltype(v);
    return static_cast<T>(step) *
           std::clamp(std::nearbyint(v / static_cast<T>(step)), static_cast<T>(low), static_cast<T>(high));
  });
  return piecewise("fake_quantise", x, y,
                   where(x, [=](auto v) { return v >= (low - 0.5) * step && v <= (high + 0.5) * step; }));
}

}  // namespace rankine
