#include "src/tensor/scan.hpp"

#include "kernels/reductions.hpp"
#include "src/tensor/op_support.hpp"

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
  const Region<"diagonal_scan"> region;
  axis = normal_axis(axis, b.rank(), "diagonal_scan");
  RANKINE_ASSERT(a.dtype() == b.dtype(), "diagonal_scan: factors and terms of one type");
  const Tensor factors = expand(a, b.shape()), f = dense(factors), terms = dense(b);
  Tensor h = Tensor::empty(b.shape(), b.dtype());
  const std::int64_t outer = axis == 0 ? 1 : extents(b.shape(), 0, axis),
                     inner = extents(b.shape(), axis + 1);
  dispatch_floating(b.dtype(), "diagonal_scan", [&](auto zero) {
    using T = decltype(zero);
    kernels::diagonal_scan<T>(outer, b.extent(axis), inner, reverse, f.data<T>(), terms.data<T>(),
                              h.data<T>());
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
