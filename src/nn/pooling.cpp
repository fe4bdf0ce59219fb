#include "src/nn/pooling.hpp"

#include "kernels/pooling.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

kernels::PoolExtents extents_of(const Shape& x, const Shape& y, const PoolGeometry& geometry) {
  RANKINE_ASSERT(x.rank() == 5 && y.rank() == 5, "pooling of " + x.text() + " to " + y.text());
  return {.planes = x[0] * x[1] * x[2],
          .height = x[3],
          .width = x[4],
          .out_height = y[3],
          .out_width = y[4],
          .kernel_height = geometry.kernel[0],
          .kernel_width = geometry.kernel[1],
          .stride_height = geometry.stride[0],
          .stride_width = geometry.stride[1],
          .pad_height = geometry.padding[0],
          .pad_width = geometry.padding[1]};
}

Shape with_space(const Tensor& x, std::int64_t height, std::int64_t width) {
  return {x.extent(0), x.extent(1), x.extent(2), height, width};
}

Cost cost_of(const Tensor& y, const PoolGeometry& geometry, const Tensor& x) {
  return {static_cast<double>(y.count() * geometry.kernel[0] * geometry.kernel[1]),
          bytes_of(x) + bytes_of(y)};
}

// Calls f with the taps' numbers.
template <class F>
void dispatch_taps(const Tensor& taps, F f) {
  if (taps.dtype() == DType::u8) return f(taps.data<std::uint8_t>());
  f(taps.data<std::int32_t>());
}

Tensor place(const Tensor& y, const Tensor& taps, const PoolGeometry& geometry, std::int64_t height,
             std::int64_t width);

Tensor pick(const Tensor& x, const Tensor& taps, const PoolGeometry& geometry) {
  const Region<"pick_taps"> region;
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(taps.shape(), x.dtype());
  dispatch_real(x.dtype(), "max_pool", [&](auto zero) {
    using T = decltype(zero);
    dispatch_taps(taps, [&]<class Tap>(DevicePtr<Tap> tap) {
      kernels::pick_taps<T, Tap>(extents_of(x.shape(), y.shape(), geometry), in.data<T>(), tap, y.data<T>());
    });
  });
  const auto vjp = [taps, geometry, h = x.extent(3), w = x.extent(4)](const std::vector<Tensor>& g,
                                                                      const VjpContext&) {
    return std::vector<Tensor>{place(g[0], taps, geometry, h, w)};
  };
  return apply_op("pick_taps", {x}, y, vjp, {.cost = cost_of(y, geometry, x)});
}

Tensor place(const Tensor& y, const Tensor& taps, const PoolGeometry& geometry, std::int64_t height,
             std::int64_t width) {
  const Region<"place_taps"> region;
  const Tensor from = dense(y);
  Tensor x = Tensor::empty(with_space(y, height, width), y.dtype());
  dispatch_real(y.dtype(), "max_pool", [&](auto zero) {
    using T = decltype(zero);
    dispatch_taps(taps, [&]<class Tap>(DevicePtr<Tap> tap) {
      kernels::place_taps<T, Tap>(extents_of(x.shape(), y.shape(), geometry), from.data<T>(), tap,
                                  x.data<T>());
    });
  });
  const auto vjp = [taps, geometry](const std::vector<Tensor>& g, const VjpContext&) {
    return std::vector<Tensor>{pick(g[0], taps, geometry)};
  };
  return apply_op("place_taps", {y}, x, vjp, {.cost = cost_of(y, geometry, x)});
}

}  // namespace

Tensor max_pool(const Tensor& x, const PoolGeometry& geometry, std::int64_t height, std::int64_t width) {
  const Region<"max_pool"> region;
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_space(x, height, width), x.dtype());
  const bool narrow = geometry.kernel[0] * geometry.kernel[1] <= 256;
  const Tensor taps = Tensor::empty(y.shape(), narrow ? DType::u8 : DType::i32);
  dispatch_real(x.dtype(), "max_pool", [&](auto zero) {
    using T = decltype(zero);
    dispatch_taps(taps, [&]<class Tap>(DevicePtr<Tap> tap) {
      kernels::max_pool_forward<T, Tap>(extents_of(x.shape(), y.shape(), geometry), in.data<T>(), y.data<T>(),
                                        tap);
    });
  });
  const auto vjp = [taps, geometry, h = x.extent(3), w = x.extent(4)](const std::vector<Tensor>& g,
                                                                      const VjpContext&) {
    return std::vector<Tensor>{place(g[0], taps, geometry, h, w)};
  };
  return apply_op("max_pool", {x}, y, vjp, {.cost = cost_of(y, geometry, x)});
}

Tensor sum_pool(const Tensor& x, double factor, const PoolGeometry& geometry, std::int64_t height,
                std::int64_t width) {
  const Region<"sum_pool"> region;
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(with_space(x, height, width), x.dtype());
  dispatch_real(x.dtype(), "sum_pool", [&](auto zero) {
    using T = decltype(zero);
    kernels::sum_pool_forward<T>(extents_of(x.shape(), y.shape(), geometry), static_cast<T>(factor),
                                 in.data<T>(), y.data<T>());
  });
  const auto vjp = [factor, geometry, h = x.extent(3), w = x.extent(4)](const std::vector<Tensor>& g,
                                                                        const VjpContext&) {
    return std::vector<Tensor>{spread_pool(g[0], factor, geometry, h, w)};
  };
  return apply_op("sum_pool", {x}, y, vjp, {.cost = cost_of(y, geometry, x)});
}

Tensor spread_pool(const Tensor& y, double factor, const PoolGeometry& geometry, std::int64_t height,
                   std::int64_t width) {
  const Region<"spread_pool"> region;
  const Tensor from = dense(y);
  Tensor x = Tensor::empty(with_space(y, height, width), y.dtype());
  dispatch_real(y.dtype(), "spread_pool", [&](auto zero) {
    using T = decltype(zero);
    kernels::sum_pool_backward<T>(extents_of(x.shape(), y.shape(), geometry), static_cast<T>(factor),
                                  from.data<T>(), x.data<T>());
  });
  const auto vjp = [factor, geometry, h = y.extent(3), w = y.extent(4)](const std::vector<Tensor>& g,
                                                                        const VjpContext&) {
    return std::vector<Tensor>{sum_pool(g[0], factor, geometry, h, w)};
  };
  return apply_op("spread_pool", {y}, x, vjp, {.cost = cost_of(y, geometry, x)});
}

Tensor global_average_pool(const Tensor& x) {
  const Region<"global_average_pool"> region;
  RANKINE_ASSERT(x.rank() >= 4, "global_average_pool of " + x.shape().text());
  const std::int64_t rows = x.extent(0) * x.extent(1) * x.extent(2), n = extents(x.shape(), 3);
  const Tensor in = dense(x);
  Tensor y = Tensor::empty({x.extent(0), x.extent(1), x.extent(2)}, x.dtype());
  dispatch_real(x.dtype(), "global_average_pool", [&](auto zero) {
    using T = decltype(zero);
    kernels::row_means<T>(rows, n, in.data<T>(), y.data<T>());
  });
  const auto vjp = [shape = x.shape(), n](const std::vector<Tensor>& g, const VjpContext&) {
    Shape column = shape;
    for (int i = 3; i < shape.rank(); ++i) column[i] = 1;
    return std::vector<Tensor>{expand(reshape(scale(g[0], 1 / static_cast<double>(n)), column), shape)};
  };
  return apply_op("global_average_pool", {x}, y, vjp,
                  {.cost = {static_cast<double>(x.count()), bytes_of(x) + bytes_of(y)}});
}

}  // namespace rankine
