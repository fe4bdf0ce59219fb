#include "src/nn/dropout.hpp"

#include <vector>

#include "kernels/dropout.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// x * factor where kept, else 0: its own adjoint.
Tensor masked(const Tensor& x, const Tensor& kept, double factor) {
  const Region<"dropout"> region;
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "dropout", [&](auto zero) {
    using T = decltype(zero);
    kernels::apply_mask<T>(x.count(), static_cast<T>(factor), in.data<T>(), kept.data<std::uint8_t>(),
                           y.data<T>());
  });
  const auto vjp = [kept, factor](const std::vector<Tensor>& g, const VjpContext&) {
    return std::vector<Tensor>{masked(g[0], kept, factor)};
  };
  return apply_op("dropout", {x}, y, vjp, {.cost = {static_cast<double>(x.count()), 2 * bytes_of(x)}});
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const RandomStream& stream, Pass& pass) {
  RANKINE_ASSERT(x.rank() >= 2 && p >= 0 && p < 1,
                 "dropout of " + x.shape().text() + " with p = " + std::to_string(p));
  const std::int64_t length = extents(x.shape(), 2), rows = x.extent(0) * x.extent(1);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t id = ids[static_cast<std::size_t>(i)] = pass.sample(i);
    RandomStream::check_counter(pass.step, id, length);
  }
  if (ids != pass.on_device.ids) {
    const Uncounted scope;
    pass.on_device = {ids, Tensor::from(ids, {rows})};
  }
  const Tensor kept = Tensor::empty(x.shape(), DType::u8);
  kernels::dropout_mask(stream.philox(), static_cast<std::uint32_t>(pass.step), 1 - p, rows, length,
                        pass.on_device.copy.data<std::int64_t>(), kept.data<std::uint8_t>());
  return masked(x, kept, 1 / (1 - p));
}

}  // namespace rankine
