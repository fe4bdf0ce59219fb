#include "src/tensor/ragged.hpp"

#include <algorithm>

#include "kernels/reductions.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

// Offsets that have been looked at, and their copy in device memory, which the backward uses too.
struct Segments {
  explicit Segments(const Offsets& offsets)
      : count(static_cast<std::int64_t>(offsets.size()) - 1),
        extent(offsets.empty() ? 0 : offsets.back()),
        right(!offsets.empty() && offsets.front() == 0 && std::is_sorted(offsets.begin(), offsets.end())),
        offsets(Tensor::from(offsets, {static_cast<std::int64_t>(offsets.size())})) {}
  DevicePtr<const std::int64_t> device() const { return offsets.data<std::int64_t>(); }
  std::int64_t count, extent;
  bool right;
  Tensor offsets;
};

// x as [outer, extent, inner], where the axis holds all that the segments cover, or one row for each.
struct Extents {
  int axis;
  std::int64_t outer = 1, inner = 1;
};
Extents extents_of(const Tensor& x, int axis, const Segments& segments, bool whole, const char* what) {
  Extents e{normal_axis(axis, x.rank(), what)};
  const std::int64_t extent = x.shape()[e.axis];
  RANKINE_ASSERT(segments.right && (whole ? segments.extent : segments.count) == extent,
                 std::string(what) + ": offsets do not fit an axis of " + std::to_string(extent));
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

Tensor repeat_of(const Tensor& x, int axis, const Segments& segments);

Tensor sum_of(const Tensor& x, int axis, const Segments& segments) {
  const Region<"segment_sum"> region;
  const Extents e = extents_of(x, axis, segments, true, "segment_sum");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_extent(x, e.axis, segments.count), x.dtype());
  dispatch_floating(x.dtype(), "segment_sum", [&](auto zero) {
    using T = decltype(zero);
    kernels::segment_sum<T>(e.outer, segments.extent, e.inner, segments.count, segments.device(),
                            in.data<T>(), y.data<T>());
  });
  return apply_op(
      "segment_sum", {x}, y,
      [axis = e.axis, segments](const List& g, const auto&) { return List{repeat_of(g[0], axis, segments)}; },
      {.cost = cost_of(x, 1)});
}

Tensor repeat_of(const Tensor& x, int axis, const Segments& segments) {
  const Region<"repeat_segments"> region;
  const Extents e = extents_of(x, axis, segments, false, "repeat_segments");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_extent(x, e.axis, segments.extent), x.dtype());
  kernels::repeat_segments(size_of(x.dtype()), e.outer, segments.extent, e.inner, segments.count,
                           segments.device(), in.address(), y.address());
  return apply_op(
      "repeat_segments", {x}, y,
      [axis = e.axis, segments](const List& g, const auto&) { return List{sum_of(g[0], axis, segments)}; },
      {.cost = cost_of(y, 0)});
}

}  // namespace

Tensor segment_sum(const Tensor& x, int axis, const Offsets& offsets) {
  return sum_of(x, axis, Segments(offsets));
}

Tensor repeat_segments(const Tensor& x, int axis, const Offsets& offsets) {
  return repeat_of(x, axis, Segments(offsets));
}

Tensor segment_max(const Tensor& x, int axis, const Offsets& offsets) {
  const Region<"segment_max"> region;
  const Segments segments(offsets);
  const Extents e = extents_of(x, axis, segments, true, "segment_max");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_extent(x, e.axis, segments.count), x.dtype());
  Tensor first = Tensor::empty(x.shape(), x.dtype());  // 1 at the largest
  dispatch_real(x.dtype(), "segment_max", [&](auto zero) {
    using T = decltype(zero);
    kernels::segment_max<T>(e.outer, segments.extent, e.inner, segments.count, segments.device(),
                            in.data<T>(), y.data<T>(), first.data<T>());
  });
  return apply_op("segment_max", {x}, y,
                  [axis = e.axis, segments, first](const List& g, const auto&) {
                    return List{mul(first, repeat_of(g[0], axis, segments))};
                  },
                  {.cost = cost_of(x, 1)});
}

Tensor segment_softmax(const Tensor& x, int axis, const Offsets& offsets) {
  const Region<"segment_softmax"> region;
  const Segments segments(offsets);
  const Extents e = extents_of(x, axis, segments, true, "segment_softmax");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "segment_softmax", [&](auto zero) {
    using T = decltype(zero);
    kernels::segment_softmax<T>(e.outer, segments.extent, e.inner, segments.count, segments.device(),
                                in.data<T>(), y.data<T>());
  });
  return apply_op("segment_softmax", {x}, y,
                  [axis = e.axis, segments](const List& g, const VjpContext& context) {
                    const Tensor p = context.output(0);
                    const Tensor inner = sum_of(mul(p, g[0]), axis, segments);
                    return List{mul(p, sub(g[0], repeat_of(inner, axis, segments)))};
                  },
                  {.cost = cost_of(x, 24), .save_outputs = true});
}

}  // namespace rankine
