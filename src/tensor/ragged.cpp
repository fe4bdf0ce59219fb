#include "src/tensor/ragged.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

// x as [outer, extent, inner].
struct Extents {
  int axis;
  std::int64_t outer = 1, extent, inner = 1, segments;
};
Extents extents_of(const Tensor& x, int axis, const Offsets& offsets, bool whole, const char* what) {
  Extents e{normal_axis(axis, x.rank(), what), 1, 0, 1, static_cast<std::int64_t>(offsets.size()) - 1};
  e.extent = x.shape()[e.axis];
  RANKINE_ASSERT(!offsets.empty() && offsets.front() == 0 && std::is_sorted(offsets.begin(), offsets.end()) &&
                     (whole ? offsets.back() : e.segments) == e.extent,
                 std::string(what) + ": offsets do not fit an axis of " + std::to_string(e.extent));
  for (int i = 0; i < e.axis; ++i) e.outer *= x.shape()[i];
  for (int i = e.axis + 1; i < x.rank(); ++i) e.inner *= x.shape()[i];
  return e;
}

Shape with_extent(const Tensor& x, int axis, std::int64_t extent) {
  Shape shape = x.shape();
  shape[axis] = extent;
  return shape;
}

Cost cost_of(const Tensor& x, double flops) {
  const double n = static_cast<double>(x.count());
  return {flops * n, 2 * n * static_cast<double>(size_of(x.dtype()))};
}

}  // namespace

Tensor segment_sum(const Tensor& x, int axis, const Offsets& offsets) {
  const Extents e = extents_of(x, axis, offsets, true, "segment_sum");
  const Tensor in = dense(x);
  Tensor y = Tensor::zeros(with_extent(x, e.axis, e.segments), x.dtype());
  dispatch_floating(x.dtype(), "segment_sum", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t s = 0; s < e.segments; ++s) {
        T* to = y.data<T>() + (o * e.segments + s) * e.inner;
        for (std::int64_t k = offsets[static_cast<std::size_t>(s)];
             k < offsets[static_cast<std::size_t>(s) + 1]; ++k) {
          const T* from = in.data<T>() + (o * e.extent + k) * e.inner;
          for (std::int64_t i = 0; i < e.inner; ++i) to[i] += from[i];
        }
      }
  });
  return apply_op("segment_sum", {x}, y,
                  [axis = e.axis, offsets](const List& g, const auto&) {
                    return List{repeat_segments(g[0], axis, offsets)};
                  },
                  {.cost = cost_of(x, 1)});
}

Tensor repeat_segments(const Tensor& x, int axis, const Offsets& offsets) {
  const Extents e = extents_of(x, axis, offsets, false, "repeat_segments");
  const Tensor in = dense(x);
  const std::int64_t extent = offsets.back();
  Tensor y = Tensor::empty(with_extent(x, e.axis, extent), x.dtype());
  dispatch_floating(x.dtype(), "repeat_segments", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t s = 0; s < e.segments; ++s)
        for (std::int64_t k = offsets[static_cast<std::size_t>(s)];
             k < offsets[static_cast<std::size_t>(s) + 1]; ++k)
          std::copy_n(in.data<T>() + (o * e.segments + s) * e.inner, e.inner,
                      y.data<T>() + (o * extent + k) * e.inner);
  });
  return apply_op(
      "repeat_segments", {x}, y,
      [axis = e.axis, offsets](const List& g, const auto&) { return List{segment_sum(g[0], axis, offsets)}; },
      {.cost = cost_of(y, 0)});
}

Tensor segment_max(const Tensor& x, int axis, const Offsets& offsets) {
  const Extents e = extents_of(x, axis, offsets, true, "segment_max");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_extent(x, e.axis, e.segments), x.dtype());
  Tensor first = Tensor::zeros(x.shape(), x.dtype());  // 1 at the largest
  dispatch_real(x.dtype(), "segment_max", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t s = 0; s < e.segments; ++s)
        for (std::int64_t i = 0; i < e.inner; ++i) {
          T top = -std::numeric_limits<T>::infinity();
          std::int64_t where = -1;
          for (std::int64_t k = offsets[static_cast<std::size_t>(s)];
               k < offsets[static_cast<std::size_t>(s) + 1]; ++k) {
            const std::int64_t at = (o * e.extent + k) * e.inner + i;
            if (where >= 0 && !(in.data<T>()[at] > top)) continue;
            top = in.data<T>()[at];
            where = at;
          }
          y.data<T>()[(o * e.segments + s) * e.inner + i] = top;
          if (where >= 0) first.data<T>()[where] = 1;
        }
  });
  return apply_op("segment_max", {x}, y,
                  [axis = e.axis, offsets, first](const List& g, const auto&) {
                    return List{mul(first, repeat_segments(g[0], axis, offsets))};
                  },
                  {.cost = cost_of(x, 1)});
}

Tensor segment_softmax(const Tensor& x, int axis, const Offsets& offsets) {
  const Extents e = extents_of(x, axis, offsets, true, "segment_softmax");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "segment_softmax", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t o = 0; o < e.outer; ++o)
      for (std::int64_t s = 0; s < e.segments; ++s)
        for (std::int64_t i = 0; i < e.inner; ++i) {
          const std::int64_t begin = offsets[static_cast<std::size_t>(s)],
                             end = offsets[static_cast<std::size_t>(s) + 1];
          const auto at = [&](std::int64_t k) { return (o * e.extent + k) * e.inner + i; };
          T top = -std::numeric_limits<T>::infinity(), total = 0;
          for (std::int64_t k = begin; k < end; ++k) top = std::max(top, in.data<T>()[at(k)]);
          for (std::int64_t k = begin; k < end; ++k)
            total += y.data<T>()[at(k)] = std::exp(in.data<T>()[at(k)] - top);
          for (std::int64_t k = begin; k < end; ++k) y.data<T>()[at(k)] /= total;
        }
  });
  return apply_op("segment_softmax", {x}, y,
                  [axis = e.axis, offsets](const List& g, const VjpContext& context) {
                    const Tensor p = context.output(0);
                    const Tensor inner = segment_sum(mul(p, g[0]), axis, offsets);
                    return List{mul(p, sub(g[0], repeat_segments(inner, axis, offsets)))};
                  },
                  {.cost = cost_of(x, 24), .save_outputs = true});
}

}  // namespace rankine
