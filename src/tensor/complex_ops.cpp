#include "src/tensor/complex_ops.hpp"

#include <cmath>

#include "kernels/elementwise.hpp"
#include "kernels/fft.hpp"
#include "kernels/indexing.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/strided.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

DType complex_type(DType real) { return real == DType::f32 ? DType::c64 : DType::c128; }
DType real_type(DType type) { return type == DType::c64 ? DType::f32 : DType::f64; }

void need_complex(const Tensor& x, const char* what) {
  RANKINE_ASSERT(is_complex(x.dtype()), std::string(what) + " of " + name_of(x.dtype()));
}

Cost pointwise_cost(const Tensor& x, double flops) {
  const double n = static_cast<double>(x.count());
  return {flops * n, 2 * n * static_cast<double>(size_of(x.dtype()))};
}

// Every second number of x's memory from `first`, as real.
Tensor part(const Tensor& x, std::int64_t first) {
  Tensor y = Tensor::empty(x.shape(), real_type(x.dtype()));
  Shape pairs = x.strides();
  for (int axis = 0; axis < x.rank(); ++axis) pairs[axis] *= 2;
  const std::size_t size = size_of(y.dtype());
  kernels::copy(size, strided<2>(x.shape(), {y.strides(), pairs}),
                x.address() + first * static_cast<std::int64_t>(size), y.address());
  return y;
}

}  // namespace

Tensor complex_of(const Tensor& re, const Tensor& im) {
  const Region<"complex_of"> region;
  RANKINE_ASSERT(re.shape() == im.shape() && re.dtype() == im.dtype(),
                 "complex_of: parts " + re.shape().text() + " and " + im.shape().text());
  Tensor y = Tensor::empty(re.shape(), complex_type(re.dtype()));
  dispatch_real(re.dtype(), "complex_of", [&](auto zero) {
    using T = decltype(zero);
    kernels::make_complex<T>(strided<3>(re.shape(), {y.strides(), re.strides(), im.strides()}), re.data<T>(),
                             im.data<T>(), y.data<std::complex<T>>());
  });
  return apply_op("complex_of", {re, im}, y,
                  [](const List& g, const auto&) {
                    return List{real_part(g[0]), imaginary_part(g[0])};
                  },
                  {.cost = pointwise_cost(y, 0)});
}

Tensor real_part(const Tensor& x) {
  const Region<"real_part"> region;
  need_complex(x, "real_part");
  return apply_op("real_part", {x}, part(x, 0),
                  [](const List& g, const auto&) {
                    return List{complex_of(g[0], Tensor::zeros(g[0].shape(), g[0].dtype()))};
                  },
                  {.cost = pointwise_cost(x, 0)});
}

Tensor imaginary_part(const Tensor& x) {
  const Region<"imaginary_part"> region;
  need_complex(x, "imaginary_part");
  return apply_op("imaginary_part", {x}, part(x, 1),
                  [](const List& g, const auto&) {
                    return List{complex_of(Tensor::zeros(g[0].shape(), g[0].dtype()), g[0])};
                  },
                  {.cost = pointwise_cost(x, 0)});
}

Tensor complex_exp(const Tensor& x) {
  const Region<"complex_exp"> region;
  need_complex(x, "complex_exp");
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_complex(x.dtype(), "complex_exp", [&](auto zero) {
    using T = decltype(zero);
    kernels::complex_exp<T>(strided<2>(x.shape(), {y.strides(), x.strides()}), x.data<std::complex<T>>(),
                            y.data<std::complex<T>>());
  });
  return apply_op(
      "complex_exp", {x}, y,
      [](const List& g, const VjpContext& context) { return List{mul(g[0], conj(context.output(0)))}; },
      {.cost = pointwise_cost(x, 60), .save_outputs = true});
}

namespace {

Tensor transform(const Tensor& x, int axis, bool backward) {
  const char* name = backward ? "inverse_fft" : "fft";
  need_complex(x, name);
  axis = normal_axis(axis, x.rank(), name);
  const std::int64_t n = x.shape()[axis];
  RANKINE_ASSERT(n > 0, std::string(name) + " along an empty axis");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  std::int64_t inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x.shape()[i];
  dispatch_real(real_type(x.dtype()), name, [&](auto zero) {
    using T = decltype(zero);
    using C = std::complex<T>;
    const kernels::FftLines lines{.outer = inner == 0 ? 0 : x.count() / (n * inner), .n = n, .inner = inner};
    const std::int64_t room = kernels::fft_work<T>(lines);
    const Tensor work = room > 0 ? Tensor::empty({room}, x.dtype()) : Tensor();
    kernels::fft(lines, backward ? kernels::FftDirection::backward : kernels::FftDirection::forward,
                 backward ? T(1) / static_cast<T>(n) : T(1), DevicePtr<const C>(in.data<C>()), y.data<C>(),
                 work.defined() ? work.data<C>() : DevicePtr<C>());
  });
  const double size = static_cast<double>(n);
  // The adjoint of the transform is n times its inverse.
  return apply_op(
      name, {x}, y,
      [axis, backward, size](const List& g, const auto&) {
        return List{backward ? scale(fft(g[0], axis), 1 / size) : scale(inverse_fft(g[0], axis), size)};
      },
      {.cost = pointwise_cost(x, 5 * std::log2(size + 1))});
}

}  // namespace

Tensor fft(const Tensor& x, int axis) {
  const Region<"fft"> region;
  return transform(x, axis, false);
}
Tensor inverse_fft(const Tensor& x, int axis) {
  const Region<"inverse_fft"> region;
  return transform(x, axis, true);
}

}  // namespace rankine
