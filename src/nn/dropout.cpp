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

Tensor dropout(const Tensor& x, double p, const RandomStream& stream, std::int64_t step,
               std::span<const std::int64_t> samples) {
  RANKINE_ASSERT(x.rank() >= 2 && p >= 0 && p < 1 &&
                     static_cast<std::int64_t>(samples.size()) == x.extent(0) * x.extent(1),
                 "dropout of " + x.shape().text() + " with p = " + std::to_string(p));
  const std::int64_t length = extents(x.shape(), 2), rows = static_cast<std::int64_t>(samples.size());
  for (const std::int64_t id : samples) RandomStream::check_counter(step, id, length);
  const Tensor ids = Tensor::from(std::vector<std::int64_t>(samples.begin(), samples.end()), {rows});
  const Tensor kept = Tensor::empty(x.shape(), DType::u8);
  kernels::dropout_mask(stream.philox(), static_cast<std::uint32_t>(step), 1 - p, rows, length,
                        ids.data<std::int64_t>(), kept.data<std::uint8_t>());
  return masked(x, kept, 1 / (1 - p));
}

}  // namespace rankine
