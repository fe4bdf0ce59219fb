#include "src/tensor/tile_ops.hpp"

#include <utility>

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

class LocalTileSum final : public TileSum {
 public:
  explicit LocalTileSum(std::int64_t tiles) : tiles_(tiles) {}
  std::int64_t local_tiles() const override { return tiles_; }
  std::int64_t tiles() const override { return tiles_; }
  std::int64_t first_tile() const override { return 0; }
  void sum_parts(std::span<const std::span<const float>> parts, std::span<float> total) const override {
    tree_sum_parts(parts, tiles_, 0, tiles_, total);
  }
  void sum_parts(std::span<const std::span<const double>> parts, std::span<double> total) const override {
    tree_sum_parts(parts, tiles_, 0, tiles_, total);
  }
  void sum_parts(const std::vector<kernels::Part<float>>& parts, DevicePtr<float> total) const override {
    kernels::sum_parts(parts, 0, tiles_, total);
  }
  void sum_parts(const std::vector<kernels::Part<double>>& parts, DevicePtr<double> total) const override {
    kernels::sum_parts(parts, 0, tiles_, total);
  }

 private:
  std::int64_t tiles_;
};

class DistributedTileSum final : public TileSum {
 public:
  explicit DistributedTileSum(TileTree tree) : tree_(std::move(tree)) {}
  std::int64_t local_tiles() const override { return tree_.local_count(); }
  std::int64_t tiles() const override { return tree_.count(); }
  std::int64_t first_tile() const override { return tree_.begin(); }
  void sum_parts(std::span<const std::span<const float>> parts, std::span<float> total) const override {
    tree_.sum_parts(parts, total);
  }
  void sum_parts(std::span<const std::span<const double>> parts, std::span<double> total) const override {
    tree_.sum_parts(parts, total);
  }
  void sum_parts(const std::vector<kernels::Part<float>>& parts, DevicePtr<float> total) const override {
    sum_on_device(parts, total);
  }
  void sum_parts(const std::vector<kernels::Part<double>>& parts, DevicePtr<double> total) const override {
    sum_on_device(parts, total);
  }

 private:
  template <class T>
  void sum_on_device(const std::vector<kernels::Part<T>>& parts, DevicePtr<T> total) const {
    std::int64_t m = 0;
    for (const kernels::Part<T>& part : parts) m += part.width;
    const Tensor partial = Tensor::empty({tree_.partial_sums(), m}, dtype_of<T>);
    tree_.sum_parts(parts, total, partial.data<T>());
  }

  TileTree tree_;
};

/// Of parts [L, ...], and what it costs.
std::pair<Tensor, Cost> summed(const std::vector<Tensor>& parts, DType type, const SharedTileSum& tiles) {
  std::int64_t width = 0, read = 0;
  std::vector<Tensor> from;
  for (const Tensor& part : parts) {
    RANKINE_ASSERT(part.rank() >= 1 && part.shape()[0] == tiles->local_tiles() && part.dtype() == type,
                   "sum over " + std::to_string(tiles->local_tiles()) + " local tiles of a tensor " +
                       part.shape().text() + " " + name_of(part.dtype()));
    Shape shape = part.shape();
    shape.erase(0);
    width += shape.count();
    read += part.count();
    from.push_back(dense(part));
  }
  const Tensor sum = Tensor::empty({width}, type);
  dispatch_real(type, "sum_over_tiles", [&](auto zero) {
    using T = decltype(zero);
    std::vector<kernels::Part<T>> values;
    for (const Tensor& part : from) values.push_back({part.data<T>(), extents(part.shape(), 1)});
    tiles->sum_parts(values, sum.data<T>());
  });
  return {sum, {static_cast<double>(read), static_cast<double>((read + width) * size_of(type))}};
}

}  // namespace

SharedTileSum local_tile_sum(std::int64_t tiles) { return std::make_shared<LocalTileSum>(tiles); }
SharedTileSum distributed_tile_sum(TileTree tree) {
  return std::make_shared<DistributedTileSum>(std::move(tree));
}

Tensor sum_parts_over_tiles(const std::vector<Tensor>& parts, DType type, const SharedTileSum& tiles) {
  const Region<"sum_over_tiles"> region;
  const auto [sum, cost] = summed(parts, type, tiles);
  count_cost("sum_over_tiles", cost);
  return sum;
}

Tensor sum_over_tiles(const Tensor& x, const SharedTileSum& tiles) {
  const Region<"sum_over_tiles"> region;
  const auto [sum, cost] = summed({x}, x.dtype(), tiles);
  Shape shape = x.shape();
  shape.erase(0);
  return apply_op(
      "sum_over_tiles", {x}, sum.view(shape, row_major_strides(shape), 0),
      [tiles](const auto& g, const auto&) { return std::vector<Tensor>{replicate_over_tiles(g[0], tiles)}; },
      {.cost = cost});
}

Tensor replicate_over_tiles(const Tensor& x, const SharedTileSum& tiles) {
  const Region<"replicate_over_tiles"> region;
  Shape shape = x.shape(), strides = x.strides();
  shape.insert(0, tiles->local_tiles());
  strides.insert(0, 0);
  return apply_op("replicate_over_tiles", {x}, x.view(shape, strides), [tiles](const auto& g, const auto&) {
    return std::vector<Tensor>{sum_over_tiles(g[0], tiles)};
  });
}

}  // namespace rankine
