#include "src/nn/dropout.hpp"

#include <vector>

#include "kernels/neurons.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// x * factor where kept, else 0: its own adjoint.
Tensor masked(const Tensor& x, const Tensor& kept, double factor) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "dropout", [&](auto zero) {
    using T = decltype(zero);
    kernels::keep_scaled<T>(factor, in.count(), kept.device<std::uint8_t>(), in.device<T>(), y.device<T>());
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
  const auto length = static_cast<std::size_t>(extents(x.shape(), 2));
  const Tensor kept = Tensor::empty(x.shape(), DType::u8);
  {
    std::vector<double> draws(length);
    const HostWrite<std::uint8_t> all(kept);
    std::uint8_t* keep = all;
    for (const std::int64_t id : samples) {
      stream.fill_uniform(std::span<double>(draws), step, id);
      for (std::size_t i = 0; i < length; ++i) keep[i] = draws[i] < 1 - p ? 1 : 0;
      keep += length;
    }
  }
  return masked(x, kept, 1 / (1 - p));
}

}  // namespace rankine
