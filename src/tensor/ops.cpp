#include "src/tensor/ops.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/elementwise.hpp"
#include "kernels/indexing.hpp"
#include "kernels/product.hpp"
#include "kernels/reductions.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/step_report.hpp"
#include "src/tensor/strided.hpp"

namespace rankine {
namespace {

void need_same_dtype(const Tensor& a, const Tensor& b, const char* what) {
  RANKINE_ASSERT(a.dtype() == b.dtype(),
                 std::string(what) + ": " + name_of(a.dtype()) + " with " + name_of(b.dtype()));
}

Shape broadcast(const Shape& a, const Shape& b, const char* what) {
  Shape out = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  const int lead = out.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    std::int64_t& extent = out[i + lead];
    RANKINE_ASSERT(extent == shorter[i] || extent == 1 || shorter[i] == 1,
                   std::string(what) + ": shapes " + a.text() + " and " + b.text() + " do not broadcast");
    if (extent == 1) extent = shorter[i];
  }
  return out;
}

// Strides of x seen through `shape`, 0 where x is repeated.
Shape expanded_strides(const Tensor& x, const Shape& shape) {
  const int lead = shape.rank() - x.rank();
  RANKINE_ASSERT(lead >= 0, "expand " + x.shape().text() + " to " + shape.text());
  Shape strides = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i < lead) {
      strides[i] = 0;
    } else {
      const std::int64_t extent = x.shape()[i - lead];
      RANKINE_ASSERT(extent == shape[i] || extent == 1, "expand " + x.shape().text() + " to " + shape.text());
      strides[i] = extent == shape[i] ? x.strides()[i - lead] : 0;
    }
  }
  return strides;
}

Tensor unary(kernels::Unary f, const char* name, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::unary<T>(f, strided<2>(x.shape(), {y.strides(), x.strides()}), x.data<T>(), y.data<T>());
  });
  return y;
}

Tensor binary(kernels::Binary f, const char* name, const Tensor& a, const Tensor& b) {
  need_same_dtype(a, b, name);
  const Shape shape = broadcast(a.shape(), b.shape(), name);
  Tensor y = Tensor::empty(shape, a.dtype());
  dispatch_floating(a.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::binary<T>(
        f, strided<3>(shape, {y.strides(), expanded_strides(a, shape), expanded_strides(b, shape)}),
        a.data<T>(), b.data<T>(), y.data<T>());
  });
  return y;
}

Cost pointwise_cost(const Tensor& out, double inputs, double flops = 1) {
  return {flops * static_cast<double>(out.count()), (inputs + 1) * bytes_of(out)};
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  const Region<"add"> region;
  Tensor y = binary(kernels::Binary::add, "add", a, b);
  return apply_op("add", {a, b}, y,
                  [sa = a.shape(), sb = b.shape()](const auto& g, const auto& context) {
                    return std::vector<Tensor>{context.needs(0) ? sum_to(g[0], sa) : Tensor(),
                                               context.needs(1) ? sum_to(g[0], sb) : Tensor()};
                  },
                  {.cost = pointwise_cost(y, 2)});
}

Tensor sub(const Tensor& a, const Tensor& b) {
  const Region<"sub"> region;
  Tensor y = binary(kernels::Binary::subtract, "sub", a, b);
  return apply_op("sub", {a, b}, y,
                  [sa = a.shape(), sb = b.shape()](const auto& g, const auto& context) {
                    return std::vector<Tensor>{context.needs(0) ? sum_to(g[0], sa) : Tensor(),
                                               context.needs(1) ? neg(sum_to(g[0], sb)) : Tensor()};
                  },
                  {.cost = pointwise_cost(y, 2)});
}

Tensor mul(const Tensor& a, const Tensor& b) {
  const Region<"mul"> region;
  Tensor y = binary(kernels::Binary::multiply, "mul", a, b);
  return apply_op("mul", {a, b}, y,
                  [a, b](const auto& g, const auto& context) {
                    return std::vector<Tensor>{
                        context.needs(0) ? sum_to(mul(g[0], conj(b)), a.shape()) : Tensor(),
                        context.needs(1) ? sum_to(mul(g[0], conj(a)), b.shape()) : Tensor()};
                  },
                  {.cost = pointwise_cost(y, 2)});
}

Tensor div(const Tensor& a, const Tensor& b) {
  const Region<"div"> region;
  Tensor y = binary(kernels::Binary::divide, "div", a, b);
  return apply_op("div", {a, b}, y,
                  [a, b](const auto& g, const auto& context) {
                    const Tensor ga = div(g[0], conj(b));
                    return std::vector<Tensor>{
                        context.needs(0) ? sum_to(ga, a.shape()) : Tensor(),
                        context.needs(1) ? neg(sum_to(mul(ga, conj(div(a, b))), b.shape())) : Tensor()};
                  },
                  {.cost = pointwise_cost(y, 2)});
}

Tensor scale(const Tensor& x, double factor) {
  const Region<"scale"> region;
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_floating(x.dtype(), "scale", [&](auto zero) {
    using T = decltype(zero);
    kernels::scale<T>(strided<2>(x.shape(), {y.strides(), x.strides()}), factor, x.data<T>(), y.data<T>());
  });
  return apply_op("scale", {x}, y,
                  [factor](const auto& g, const auto&) { return std::vector<Tensor>{scale(g[0], factor)}; },
                  {.cost = pointwise_cost(y, 1)});
}

Tensor neg(const Tensor& x) { return scale(x, -1.0); }

Tensor add_scalar(const Tensor& x, double term) { return add(x, Tensor::full({}, x.dtype(), term)); }

Tensor square(const Tensor& x) { return mul(x, x); }

Tensor conj(const Tensor& x) {
  const Region<"conj"> region;
  if (!is_complex(x.dtype())) return x;
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_complex(x.dtype(), "conj", [&](auto zero) {
    using T = decltype(zero);
    kernels::conjugate<T>(strided<2>(x.shape(), {y.strides(), x.strides()}), x.data<std::complex<T>>(),
                          y.data<std::complex<T>>());
  });
  return apply_op("conj", {x}, y, [](const auto& g, const auto&) { return std::vector<Tensor>{conj(g[0])}; },
                  {.cost = pointwise_cost(y, 1, 0)});
}

Tensor exp(const Tensor& x) {
  const Region<"exp"> region;
  Tensor y = unary(kernels::Unary::exp, "exp", x);
  return apply_op(
      "exp", {x}, y,
      [](const auto& g, const auto& context) { return std::vector<Tensor>{mul(g[0], context.output(0))}; },
      {.cost = pointwise_cost(y, 1, 20), .save_outputs = true});
}

Tensor log(const Tensor& x) {
  const Region<"log"> region;
  Tensor y = unary(kernels::Unary::log, "log", x);
  return apply_op("log", {x}, y,
                  [x](const auto& g, const auto&) { return std::vector<Tensor>{div(g[0], x)}; },
                  {.cost = pointwise_cost(y, 1, 20)});
}

Tensor sqrt(const Tensor& x) {
  const Region<"sqrt"> region;
  Tensor y = unary(kernels::Unary::sqrt, "sqrt", x);
  return apply_op("sqrt", {x}, y,
                  [](const auto& g, const auto& context) {
                    return std::vector<Tensor>{div(scale(g[0], 0.5), context.output(0))};
                  },
                  {.cost = pointwise_cost(y, 1, 1), .save_outputs = true});
}

Tensor tanh(const Tensor& x) {
  const Region<"tanh"> region;
  Tensor y = unary(kernels::Unary::tanh, "tanh", x);
  return apply_op("tanh", {x}, y,
                  [](const auto& g, const auto& context) {
                    const Tensor t = context.output(0);
                    if (context.create_graph()) return std::vector<Tensor>{sub(g[0], mul(g[0], mul(t, t)))};
                    Tensor back = Tensor::empty(t.shape(), t.dtype());
                    dispatch_real(t.dtype(), "tanh", [&](auto zero) {
                      using T = decltype(zero);
                      kernels::tanh_backward<T>(
                          strided<3>(t.shape(), {back.strides(), t.strides(), g[0].strides()}),
                          t.template data<T>(), g[0].template data<T>(), back.template data<T>());
                    });
                    count_cost("tanh_backward", pointwise_cost(back, 2, 3));
                    return std::vector<Tensor>{back};
                  },
                  {.cost = pointwise_cost(y, 1, 22), .save_outputs = true});
}

Tensor gelu(const Tensor& x) {
  const Region<"gelu"> region;
  Tensor y = unary(kernels::Unary::gelu, "gelu", x);
  return apply_op("gelu", {x}, y,
                  [x](const auto& g, const auto& context) -> std::vector<Tensor> {
                    if (!context.create_graph()) {
                      Tensor back = Tensor::empty(x.shape(), x.dtype());
                      dispatch_real(x.dtype(), "gelu", [&](auto zero) {
                        using T = decltype(zero);
                        kernels::gelu_backward<T>(
                            strided<3>(x.shape(), {back.strides(), x.strides(), g[0].strides()}),
                            x.template data<T>(), g[0].template data<T>(), back.template data<T>());
                      });
                      count_cost("gelu_backward", pointwise_cost(back, 2, 30));
                      return {back};
                    }
                    // gelu' spelled out in ops, so that it can be differentiated again: t = tanh(c (x + a
                    // x^3)), gelu' = (1 + t)/2 + x/2 (1 - t^2) c (1 + 3 a x^2).
                    constexpr double c = 0.7978845608028654, a = 0.044715;
                    const Tensor x2 = mul(x, x);
                    const Tensor t = tanh(scale(mul(x, add_scalar(scale(x2, a), 1.0)), c));
                    const Tensor slope = scale(add_scalar(scale(x2, 3 * a), 1.0), 0.5 * c);
                    const Tensor bend = mul(mul(x, slope), add_scalar(neg(mul(t, t)), 1.0));
                    return {mul(g[0], add(scale(add_scalar(t, 1.0), 0.5), bend))};
                  },
                  {.cost = pointwise_cost(y, 1, 26)});
}

Tensor identity(const Tensor& x) {
  const Region<"identity"> region;
  return apply_op("identity", {x}, x.detach(),
                  [](const auto& g, const auto&) { return std::vector<Tensor>{g[0]}; });
}

Tensor select(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const Region<"select"> region;
  need_same_dtype(a, b, "select");
  RANKINE_ASSERT(
      condition.dtype() == DType::boolean && condition.shape() == a.shape() && a.shape() == b.shape(),
      "select: condition " + condition.shape().text() + ", values " + a.shape().text() + ", " +
          b.shape().text());
  const Tensor flags = condition.detach();
  Tensor y = Tensor::empty(a.shape(), a.dtype());
  kernels::select(size_of(a.dtype()),
                  strided<4>(a.shape(), {y.strides(), flags.strides(), a.strides(), b.strides()}),
                  flags.data<bool>(), a.address(), b.address(), y.address());
  return apply_op("select", {a, b}, y,
                  [flags](const auto& g, const auto&) {
                    const Tensor none = Tensor::zeros(g[0].shape(), g[0].dtype());
                    return std::vector<Tensor>{select(flags, g[0], none), select(flags, none, g[0])};
                  },
                  {.cost = pointwise_cost(y, 2, 0)});
}

Tensor cast(const Tensor& x, DType type) {
  const Region<"cast"> region;
  if (x.dtype() == type) return x;
  RANKINE_ASSERT(
      !is_complex(x.dtype()) || is_complex(type),
      std::string("cast from ") + name_of(x.dtype()) + " to " + name_of(type) + " loses the imaginary part");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), type);
  kernels::cast(in.count(), x.dtype(), in.address(), type, y.address());
  const Cost cost{0, bytes_of(x) + bytes_of(y)};
  if (!is_differentiable(type) || !is_differentiable(x.dtype()) ||
      is_complex(type) != is_complex(x.dtype())) {
    count_cost("cast", cost);
    return y;
  }
  return apply_op(
      "cast", {x}, y,
      [back = x.dtype()](const auto& g, const auto&) { return std::vector<Tensor>{cast(g[0], back)}; },
      {.cost = cost});
}

namespace {

Tensor sum_axis(const Tensor& x, int axis) {
  const Tensor in = dense(x);
  Shape shape = x.shape();
  std::int64_t outer = 1, inner = 1;
  const std::int64_t rows = shape[axis];
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  shape[axis] = 1;
  Tensor y = Tensor::empty(shape, x.dtype());
  dispatch_floating(x.dtype(), "sum", [&](auto zero) {
    using T = decltype(zero);
    if (inner != 1) return kernels::sum_columns<T>(outer, rows, inner, in.data<T>(), y.data<T>());
    const std::int64_t room = kernels::sum_rows_workspace(outer, rows);
    const Tensor work = room > 0 ? Tensor::empty({room}, x.dtype()) : Tensor();
    kernels::sum_rows<T>(outer, rows, in.data<T>(), y.data<T>(), device_or_null<T>(work));
  });
  return y;
}

}  // namespace

Tensor sum(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Region<"sum"> region;
  std::vector<int> which;
  for (const int axis : axes) which.push_back(normal_axis(axis, x.rank(), "sum"));
  Tensor y;
  Shape kept = x.shape();
  if (axes.empty()) {
    for (int i = 0; i < x.rank(); ++i) kept[i] = 1;
    const Tensor in = dense(x);
    y = sum_axis(in.view({x.count()}, {1}), 0);
    y = y.view(kept, row_major_strides(kept));
  } else {
    y = x.detach();
    for (const int axis : which) {
      y = sum_axis(y, axis);
      kept[axis] = 1;
    }
  }
  Shape shape;
  for (int i = 0; i < x.rank(); ++i)
    if (keep || (!axes.empty() && std::find(which.begin(), which.end(), i) == which.end()))
      shape.push_back(kept[i]);
  y = y.view(shape, row_major_strides(shape));
  return apply_op("sum", {x}, y,
                  [kept, full = x.shape()](const auto& g, const auto&) {
                    return std::vector<Tensor>{expand(reshape(g[0], kept), full)};
                  },
                  {.cost = {static_cast<double>(x.count()), bytes_of(x) + bytes_of(y)}});
}

Tensor mean(const Tensor& x, const std::vector<int>& axes, bool keep) {
  const Tensor total = sum(x, axes, keep);
  return scale(
      total, static_cast<double>(total.count()) / static_cast<double>(std::max<std::int64_t>(x.count(), 1)));
}

Tensor reshape(const Tensor& x, const Shape& wanted) {
  const Region<"reshape"> region;
  Shape shape = wanted;
  std::int64_t known = 1;
  int open = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1) {
      open = i;
    } else {
      known *= shape[i];
    }
  }
  if (open >= 0) shape[open] = known == 0 ? 0 : x.count() / known;
  RANKINE_ASSERT(shape.count() == x.count(), "reshape " + x.shape().text() + " to " + wanted.text());
  if (shape == x.shape()) return x;
  const Tensor y = dense(x).view(shape, row_major_strides(shape));
  return apply_op("reshape", {x}, y, [back = x.shape()](const auto& g, const auto&) {
    return std::vector<Tensor>{reshape(g[0], back)};
  });
}

Tensor permute(const Tensor& x, const std::vector<int>& axes) {
  const Region<"permute"> region;
  RANKINE_ASSERT(static_cast<int>(axes.size()) == x.rank(), "permute: one entry for each axis");
  Shape shape, strides;
  std::vector<int> inverse(axes.size(), -1);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int from = normal_axis(axes[i], x.rank(), "permute");
    RANKINE_ASSERT(inverse[static_cast<std::size_t>(from)] == -1, "permute: an axis is named twice");
    inverse[static_cast<std::size_t>(from)] = static_cast<int>(i);
    shape.push_back(x.shape()[from]);
    strides.push_back(x.strides()[from]);
  }
  return apply_op("permute", {x}, x.view(shape, strides), [inverse](const auto& g, const auto&) {
    return std::vector<Tensor>{permute(g[0], inverse)};
  });
}

Tensor transpose(const Tensor& x, int a, int b) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[static_cast<std::size_t>(normal_axis(a, x.rank(), "transpose"))],
            axes[static_cast<std::size_t>(normal_axis(b, x.rank(), "transpose"))]);
  return permute(x, axes);
}

namespace {

Tensor slice_view(const Tensor& x, int axis, std::int64_t begin, std::int64_t count, std::int64_t step) {
  Shape shape = x.shape(), strides = x.strides();
  const std::int64_t offset = begin * strides[axis];
  shape[axis] = count;
  strides[axis] *= step;
  return x.view(shape, strides, offset);
}

}  // namespace

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  const Region<"slice"> region;
  axis = normal_axis(axis, x.rank(), "slice");
  const std::int64_t extent = x.shape()[axis];
  if (begin < 0) begin += extent;
  if (end < 0) end += extent;
  RANKINE_ASSERT(
      0 <= begin && begin <= end && end <= extent && step >= 1,
      "slice " + std::to_string(begin) + ":" + std::to_string(end) + " of extent " + std::to_string(extent));
  const std::int64_t count = (end - begin + step - 1) / step;
  return apply_op("slice", {x}, slice_view(x, axis, begin, count, step),
                  [axis, extent, begin, step](const auto& g, const auto&) {
                    return std::vector<Tensor>{place(g[0], axis, extent, begin, step)};
                  });
}

Tensor place(const Tensor& x, int axis, std::int64_t extent, std::int64_t begin, std::int64_t step) {
  const Region<"place"> region;
  axis = normal_axis(axis, x.rank(), "place");
  const std::int64_t count = x.shape()[axis];
  RANKINE_ASSERT(begin >= 0 && (count == 0 || begin + (count - 1) * step < extent),
                 "place: beyond the extent");
  Shape shape = x.shape();
  shape[axis] = extent;
  Tensor y = Tensor::zeros(shape, x.dtype());
  slice_view(y, axis, begin, count, step).assign(x.detach());
  const std::int64_t end = count == 0 ? begin : begin + (count - 1) * step + 1;
  return apply_op("place", {x}, y,
                  [axis, begin, end, step](const auto& g, const auto&) {
                    return std::vector<Tensor>{slice(g[0], axis, begin, end, step)};
                  },
                  {.cost = {0, bytes_of(x) + bytes_of(y)}});
}

Tensor concat(const std::vector<Tensor>& parts, int axis) {
  const Region<"concat"> region;
  RANKINE_ASSERT(!parts.empty(), "concat of nothing");
  axis = normal_axis(axis, parts[0].rank(), "concat");
  Shape shape = parts[0].shape();
  std::vector<std::int64_t> begins{0};
  for (const Tensor& part : parts) begins.push_back(begins.back() + part.extent(axis));
  shape[axis] = begins.back();
  Tensor y = Tensor::empty(shape, parts[0].dtype());
  for (std::size_t i = 0; i < parts.size(); ++i)
    slice_view(y, axis, begins[i], begins[i + 1] - begins[i], 1).assign(parts[i].detach());
  return apply_op("concat", parts, y,
                  [axis, begins](const auto& g, const auto& context) {
                    std::vector<Tensor> back(begins.size() - 1);
                    for (std::size_t i = 0; i < back.size(); ++i)
                      if (context.needs(i)) back[i] = slice(g[0], axis, begins[i], begins[i + 1]);
                    return back;
                  },
                  {.cost = {0, 2 * bytes_of(y)}});
}

Tensor expand(const Tensor& x, const Shape& shape) {
  const Region<"expand"> region;
  if (x.shape() == shape) return x;
  return apply_op(
      "expand", {x}, x.view(shape, expanded_strides(x, shape)),
      [back = x.shape()](const auto& g, const auto&) { return std::vector<Tensor>{sum_to(g[0], back)}; });
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int lead = x.rank() - shape.rank();
  std::vector<int> axes;
  for (int i = 0; i < x.rank(); ++i)
    if (i < lead || shape[i - lead] != x.shape()[i]) axes.push_back(i);
  return reshape(sum(x, axes, true), shape);
}

Tensor contiguous(const Tensor& x) {
  const Region<"contiguous"> region;
  if (x.contiguous()) return x;
  return apply_op("contiguous", {x}, x.clone(),
                  [](const auto& g, const auto&) { return std::vector<Tensor>{g[0]}; },
                  {.cost = {0, 2 * bytes_of(x)}});
}

namespace {

void need_index(const Tensor& index, const char* what) {
  RANKINE_ASSERT(index.dtype() == DType::i64 && index.rank() == 1,
                 std::string(what) + ": the index is i64 of rank 1");
}

// Kernels stay inside whatever an index says; the complaint may come when a step's report is read.
void check_indices(const Tensor& index, std::int64_t extent, const char* what) {
  if (index.count() == 0) return;
  const CheckFlag flag;
  const Tensor work = Tensor::empty({kernels::first_outside_workspace(index.count())}, DType::i64);
  kernels::first_outside(index.count(), extent, index.data<std::int64_t>(), flag.device(),
                         work.data<std::int64_t>());
  check_flag(flag, [index, extent, what](std::int64_t found) {
    std::int64_t value = 0;
    copy_to_host(&value, index.data<std::int64_t>() + (found - 1), 1);
    RANKINE_ASSERT(false,
                   std::string(what) + ": index " + std::to_string(value) + " of " + std::to_string(extent));
  });
}

// Extents before and after an axis.
std::int64_t outer_of(const Tensor& x, int axis) { return axis == 0 ? 1 : extents(x.shape(), 0, axis); }
std::int64_t inner_of(const Tensor& x, int axis) { return extents(x.shape(), axis + 1); }

Tensor scatter_rows(const Tensor& x, int axis, const Tensor& rows, std::int64_t extent);

// `rows` are in order: dense, and inside.
Tensor gather_rows(const Tensor& x, int axis, const Tensor& rows) {
  const Region<"gather"> region;
  const std::int64_t extent = x.shape()[axis];
  const Tensor in = dense(x);
  Shape shape = x.shape();
  shape[axis] = rows.count();
  Tensor y = Tensor::empty(shape, x.dtype());
  kernels::gather_rows(size_of(x.dtype()), outer_of(x, axis), extent, rows.count(), inner_of(x, axis),
                       rows.data<std::int64_t>(), in.address(), y.address());
  return apply_op("gather", {x}, y,
                  [axis, rows, extent](const auto& g, const auto&) {
                    return std::vector<Tensor>{scatter_rows(g[0], axis, rows, extent)};
                  },
                  {.cost = {0, 2 * bytes_of(y)}});
}

Tensor scatter_rows(const Tensor& x, int axis, const Tensor& rows, std::int64_t extent) {
  const Region<"scatter_add"> region;
  const Tensor in = dense(x);
  Shape shape = x.shape();
  shape[axis] = extent;
  Tensor y = Tensor::empty(shape, x.dtype());
  // Each row of y gathers what is added to it.
  const std::int64_t n = rows.count();
  const Tensor order = Tensor::empty({n}, DType::i64), begin = Tensor::empty({extent + 1}, DType::i64);
  const Tensor work = Tensor::empty({n}, DType::i64);
  kernels::inverse_index(n, extent, rows.data<std::int64_t>(), order.data<std::int64_t>(),
                         begin.data<std::int64_t>(), work.data<std::int64_t>());
  dispatch_floating(x.dtype(), "scatter_add", [&](auto zero) {
    using T = decltype(zero);
    kernels::sum_by_target<T>(outer_of(x, axis), n, extent, inner_of(x, axis), order.data<std::int64_t>(),
                              begin.data<std::int64_t>(), in.data<T>(), y.data<T>());
  });
  return apply_op(
      "scatter_add", {x}, y,
      [axis, rows](const auto& g, const auto&) { return std::vector<Tensor>{gather_rows(g[0], axis, rows)}; },
      {.cost = {static_cast<double>(x.count()), 2 * bytes_of(x) + bytes_of(y)}});
}

}  // namespace

Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  axis = normal_axis(axis, x.rank(), "gather");
  need_index(index, "gather");
  const Tensor rows = dense(index);
  check_indices(rows, x.shape()[axis], "gather");
  return gather_rows(x, axis, rows);
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, std::int64_t extent) {
  axis = normal_axis(axis, x.rank(), "scatter_add");
  need_index(index, "scatter_add");
  const Tensor rows = dense(index);
  RANKINE_ASSERT(rows.count() == x.shape()[axis], "scatter_add: one index for each row");
  check_indices(rows, extent, "scatter_add");
  return scatter_rows(x, axis, rows, extent);
}

namespace {

// The last two axes as BLAS takes them: directly, as a transposed view, or after a copy.
struct MatrixView {
  Tensor tensor;
  blas::Op op = blas::Op::none;
  std::int64_t ld = 1;
};

MatrixView matrix_view(const Tensor& x) {
  const int r = x.rank() - 2, c = x.rank() - 1;
  const Shape& shape = x.shape();
  const Shape& strides = x.strides();
  if ((strides[c] == 1 || shape[c] == 1) && (strides[r] >= shape[c] || shape[r] == 1))
    return {x.detach(), blas::Op::none, std::max(shape[r] == 1 ? shape[c] : strides[r], std::int64_t{1})};
  if ((strides[r] == 1 || shape[r] == 1) && (strides[c] >= shape[r] || shape[c] == 1))
    return {x.detach(), blas::Op::transpose,
            std::max(shape[c] == 1 ? shape[r] : strides[c], std::int64_t{1})};
  return {x.clone(), blas::Op::none, std::max(shape[c], std::int64_t{1})};
}

// The axes before those of the matrices, of the result and its factors.
kernels::Strided<3> leading_axes(const Shape& lead, const Tensor& y, const Tensor& a, const Tensor& b) {
  const auto strides = [&lead](const Tensor& x) {
    Shape with = lead;
    with.push_back(x.shape()[x.rank() - 2]);
    with.push_back(x.shape()[x.rank() - 1]);
    return expanded_strides(x, with);
  };
  const Shape of_y = strides(y), of_a = strides(a), of_b = strides(b);
  kernels::Strided<3> axes;
  for (int i = 0; i < lead.rank(); ++i) axes.append(lead[i], {of_y[i], of_a[i], of_b[i]});
  return axes;
}

// x repeated over all leading axes, row-major.
Tensor matrices(const Tensor& x, Shape lead, std::int64_t rows, std::int64_t columns) {
  lead.push_back(rows);
  lead.push_back(columns);
  return x.view(lead, expanded_strides(x, lead)).clone();
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  const Region<"matmul"> region;
  need_same_dtype(a, b, "matmul");
  RANKINE_ASSERT(a.rank() >= 2 && b.rank() >= 2 && a.extent(-1) == b.extent(-2),
                 "matmul: shapes " + a.shape().text() + " and " + b.shape().text());
  const std::int64_t m = a.extent(-2), k = a.extent(-1), n = b.extent(-1);
  Shape lead_a, lead_b;
  for (int i = 0; i + 2 < a.rank(); ++i) lead_a.push_back(a.shape()[i]);
  for (int i = 0; i + 2 < b.rank(); ++i) lead_b.push_back(b.shape()[i]);
  const Shape lead = broadcast(lead_a, lead_b, "matmul");
  MatrixView va = matrix_view(a), vb = matrix_view(b);
  Shape shape = lead;
  shape.push_back(m);
  shape.push_back(n);
  Tensor y = Tensor::empty(shape, a.dtype());
  kernels::Strided<3> batch = leading_axes(lead, y, va.tensor, vb.tensor);
  if (batch.rank > 3) {  // as many as a launch takes, once each matrix has its own copy
    va = {matrices(a, lead, m, k), blas::Op::none, std::max(k, std::int64_t{1})};
    vb = {matrices(b, lead, k, n), blas::Op::none, std::max(n, std::int64_t{1})};
    batch = leading_axes(lead, y, va.tensor, vb.tensor);
  }
  kernels::Product p{.name = "matmul",
                     .op_a = va.op,
                     .op_b = vb.op,
                     .m = m,
                     .n = n,
                     .k = k,
                     .lda = va.ld,
                     .ldb = vb.ld,
                     .ldc = n};
  for (int axis = 0; axis < batch.rank; ++axis) {
    const int to = 3 - batch.rank + axis;
    p.batch[to] = batch.extent[axis];
    p.c_step[to] = batch.step[0][axis];
    p.a_step[to] = batch.step[1][axis];
    p.b_step[to] = batch.step[2][axis];
  }
  if (lead.count() > 0)
    dispatch_floating(a.dtype(), "matmul", [&](auto zero) {
      using T = decltype(zero);
      kernels::product<T>(p, T(1), va.tensor.data<T>(), vb.tensor.data<T>(), T(0), y.data<T>());
    });
  return apply_op(
      "matmul", {a, b}, y,
      [a, b](const auto& g, const auto& context) {
        return std::vector<Tensor>{
            context.needs(0) ? sum_to(matmul(g[0], transpose(conj(b), -1, -2)), a.shape()) : Tensor(),
            context.needs(1) ? sum_to(matmul(transpose(conj(a), -1, -2), g[0]), b.shape()) : Tensor()};
      },
      {.cost = {(is_complex(a.dtype()) ? 8.0 : 2.0) * static_cast<double>(y.count()) * static_cast<double>(k),
                bytes_of(a) + bytes_of(b) + bytes_of(y)}});
}

Tensor dot(const Tensor& a, const Tensor& b) { return sum(mul(a, conj(b))); }

}  // namespace rankine
