#include "src/tensor/scan.hpp"

#include "src/tensor/strided.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

// y[t] = x[t + by] along the axis, 0 where that is outside.
Tensor shifted(const Tensor& x, int axis, int by) {
  const std::int64_t n = x.extent(axis);
  if (by > 0) return place(slice(x, axis, 1, n), axis, n, 0);
  return place(slice(x, axis, 0, n - 1), axis, n, 1);
}

}  // namespace

Tensor diagonal_scan(const Tensor& a, const Tensor& b, int axis, bool reverse) {
  axis = normal_axis(axis, b.rank(), "diagonal_scan");
  RANKINE_ASSERT(a.dtype() == b.dtype(), "diagonal_scan: factors and terms of one type");
  const Tensor factors = expand(a, b.shape()), f = factors.detach();
  const std::int64_t steps = b.extent(axis);
  Tensor h = b.clone();
  // One step at a time: rows of h and a without the axis.
  Shape shape = b.shape(), rows = h.strides(), factor_rows = f.strides();
  shape.erase(axis);
  rows.erase(axis);
  factor_rows.erase(axis);
  const std::int64_t row = h.strides()[axis], factor_row = f.strides()[axis];
  dispatch_floating(b.dtype(), "diagonal_scan", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t k = 1; k < steps; ++k) {
      const std::int64_t t = reverse ? steps - 1 - k : k;
      T* to = h.data<T>() + t * row;
      const T* from = to + (reverse ? row : -row);
      const T* factor = f.data<T>() + t * factor_row;
      for_each_strided<2>(shape, {rows, factor_rows}, [&](std::int64_t n, auto start, auto step) {
        for (std::int64_t i = 0; i < n; ++i)
          to[start[0] + i * step[0]] += factor[start[1] + i * step[1]] * from[start[0] + i * step[0]];
      });
    }
  });
  const int forward = reverse ? -1 : 1;
  const double n = static_cast<double>(b.count()) * (is_complex(b.dtype()) ? 4 : 1);
  return apply_op(
      "diagonal_scan", {factors, b}, h,
      [factors, axis, reverse, forward](const List& g, const VjpContext& context) -> List {
        // The cotangents obey the recurrence in the other direction.
        const Tensor s = diagonal_scan(conj(shifted(factors, axis, forward)), g[0], axis, !reverse);
        if (!context.needs(0)) return {Tensor(), s};
        return {mul(s, conj(shifted(context.output(0), axis, -forward))), s};
      },
      {.cost = {2 * n, 3 * static_cast<double>(b.count() * static_cast<std::int64_t>(size_of(b.dtype())))},
       .save_outputs = true});
}

}  // namespace rankine
