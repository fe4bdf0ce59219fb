#include "src/nn/conv.hpp"

#include "kernels/conv.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

kernels::ConvExtents extents_of(const Shape& x, const Shape& w, const Shape& y,
                                const ConvGeometry& geometry) {
  const std::string what = "convolution of " + x.text() + " with " + w.text() + " to " + y.text();
  RANKINE_ASSERT(x.rank() == 5 && w.rank() == 5 && y.rank() == 5 && x[0] == w[0] && x[0] == y[0] &&
                     x[1] == y[1] && y[2] == w[1] && x[2] == w[2] * geometry.groups &&
                     w[1] % geometry.groups == 0,
                 what);
  return {.batch = x[1],
          .channels = x[2],
          .height = x[3],
          .width = x[4],
          .outputs = y[2],
          .out_height = y[3],
          .out_width = y[4],
          .kernel_height = w[3],
          .kernel_width = w[4],
          .stride_height = geometry.stride[0],
          .stride_width = geometry.stride[1],
          .pad_height = geometry.padding[0],
          .pad_width = geometry.padding[1],
          .dilation_height = geometry.dilation[0],
          .dilation_width = geometry.dilation[1],
          .groups = geometry.groups};
}

Cost cost_of(const kernels::ConvExtents& e, const Tensor& x, const Tensor& w, const Tensor& y) {
  return {2 * e.multiply_adds() * static_cast<double>(x.extent(0)), bytes_of(x) + bytes_of(w) + bytes_of(y)};
}

// bias [L, C] along the channels of y [L, B, C, H, W].
Tensor add_bias(const Tensor& y, const Tensor& bias) {
  return add(y, reshape(bias, {bias.extent(0), 1, bias.extent(1), 1, 1}));
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& geometry,
              std::int64_t height, std::int64_t width) {
  const Region<"conv2d"> region;
  Tensor y = Tensor::empty({x.extent(0), x.extent(1), w.extent(1), height, width}, x.dtype());
  const kernels::ConvExtents e = extents_of(x.shape(), w.shape(), y.shape(), geometry);
  const Tensor in = dense(x), weights = dense_slices(w);
  const Tensor offsets = dense_slices(bias);
  dispatch_real(x.dtype(), "conv2d", [&](auto zero) {
    using T = decltype(zero);
    kernels::conv_forward<T>(e, x.extent(0), in.data<T>(), weights.data<T>(), slice_step(weights),
                             device_or_null<T>(offsets), slice_step(offsets), y.data<T>());
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) {
    std::vector<Tensor> back(bias.defined() ? 3 : 2);
    if (context.needs(0)) back[0] = conv2d_transpose(g[0], w, {}, geometry, x.extent(3), x.extent(4));
    if (context.needs(1)) back[1] = conv2d_weights(x, g[0], geometry, w.extent(3), w.extent(4));
    if (bias.defined() && context.needs(2)) back[2] = sum_by_channel(g[0]);
    return back;
  };
  const std::vector<Tensor> inputs =
      bias.defined() ? std::vector<Tensor>{x, w, bias} : std::vector<Tensor>{x, w};
  return apply_op("conv2d", inputs, y, vjp, {.cost = cost_of(e, x, w, y)});
}

Tensor conv2d_transpose(const Tensor& y, const Tensor& w, const Tensor& bias, const ConvGeometry& geometry,
                        std::int64_t height, std::int64_t width) {
  const Region<"conv2d_transpose"> region;
  if (bias.defined()) return add_bias(conv2d_transpose(y, w, {}, geometry, height, width), bias);
  Tensor x =
      Tensor::empty({y.extent(0), y.extent(1), w.extent(2) * geometry.groups, height, width}, y.dtype());
  const kernels::ConvExtents e = extents_of(x.shape(), w.shape(), y.shape(), geometry);
  const Tensor from = dense(y), weights = dense_slices(w);
  dispatch_real(y.dtype(), "conv2d_transpose", [&](auto zero) {
    using T = decltype(zero);
    kernels::conv_backward_data<T>(e, y.extent(0), from.data<T>(), weights.data<T>(), slice_step(weights),
                                   x.data<T>());
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) {
    std::vector<Tensor> back(2);
    if (context.needs(0)) back[0] = conv2d(g[0], w, {}, geometry, y.extent(3), y.extent(4));
    if (context.needs(1)) back[1] = conv2d_weights(g[0], y, geometry, w.extent(3), w.extent(4));
    return back;
  };
  return apply_op("conv2d_transpose", {y, w}, x, vjp, {.cost = cost_of(e, x, w, y)});
}

Tensor conv2d_weights(const Tensor& x, const Tensor& y, const ConvGeometry& geometry,
                      std::int64_t kernel_height, std::int64_t kernel_width) {
  const Region<"conv2d_weights"> region;
  Tensor w;
  {
    const Uncounted scope;
    w = Tensor::empty({x.extent(0), y.extent(2), x.extent(2) / geometry.groups, kernel_height, kernel_width},
                      x.dtype());
  }
  const kernels::ConvExtents e = extents_of(x.shape(), w.shape(), y.shape(), geometry);
  const Tensor in = dense(x), from = dense(y);
  const Tensor parts = Tensor::empty({kernels::conv_weights_workspace(e, x.extent(0))}, x.dtype());
  dispatch_real(x.dtype(), "conv2d_weights", [&](auto zero) {
    using T = decltype(zero);
    kernels::conv_backward_weights<T>(e, x.extent(0), in.data<T>(), from.data<T>(), w.data<T>(),
                                      parts.data<T>());
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) {
    std::vector<Tensor> back(2);
    if (context.needs(0)) back[0] = conv2d_transpose(y, g[0], {}, geometry, x.extent(3), x.extent(4));
    if (context.needs(1)) back[1] = conv2d(x, g[0], {}, geometry, y.extent(3), y.extent(4));
    return back;
  };
  return apply_op("conv2d_weights", {x, y}, w, vjp, {.cost = cost_of(e, x, w, y)});
}

Tensor sum_by_channel(const Tensor& x) {
  const Region<"sum_by_channel"> region;
  RANKINE_ASSERT(x.rank() >= 3, "sum_by_channel of " + x.shape().text());
  const std::int64_t shards = x.extent(0), batch = x.extent(1), channels = x.extent(2);
  const Tensor in = dense(x);
  Tensor y;
  {
    const Uncounted scope;
    y = Tensor::empty({shards, channels}, x.dtype());
  }
  const Tensor planes = Tensor::empty({shards * batch * channels}, x.dtype());
  dispatch_real(x.dtype(), "sum_by_channel", [&](auto zero) {
    using T = decltype(zero);
    kernels::channel_sums<T>(shards, batch, channels, extents(x.shape(), 2) / channels, in.data<T>(),
                             y.data<T>(), planes.data<T>());
  });
  const auto vjp = [shape = x.shape()](const std::vector<Tensor>& g, const VjpContext&) {
    Shape column = shape;
    for (int i = 1; i < shape.rank(); ++i)
      if (i != 2) column[i] = 1;
    return std::vector<Tensor>{expand(reshape(g[0], column), shape)};
  };
  return apply_op("sum_by_channel", {x}, y, vjp, {.cost = {static_cast<double>(x.count()), bytes_of(x)}});
}

}  // namespace rankine
