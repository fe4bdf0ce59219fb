#include "src/tensor/tile_ops.hpp"

#include <utility>

namespace rankine {
namespace {

class LocalTileSum final : public TileSum {
 public:
  explicit LocalTileSum(std::int64_t tiles) : tiles_(tiles) {}
  std::int64_t local_tiles() const override { return tiles_; }
  void sum_parts(std::span<const std::span<const float>> parts, std::span<float> total) const override {
    tree_sum_parts(parts, tiles_, 0, tiles_, total);
  }
  void sum_parts(std::span<const std::span<const double>> parts, std::span<double> total) const override {
    tree_sum_parts(parts, tiles_, 0, tiles_, total);
  }

 private:
  std::int64_t tiles_;
};

class DistributedTileSum final : public TileSum {
 public:
  explicit DistributedTileSum(TileTree tree) : tree_(std::move(tree)) {}
  std::int64_t local_tiles() const override { return tree_.local_count(); }
  void sum_parts(std::span<const std::span<const float>> parts, std::span<float> total) const override {
    tree_.sum_parts(parts, total);
  }
  void sum_parts(std::span<const std::span<const double>> parts, std::span<double> total) const override {
    tree_.sum_parts(parts, total);
  }

 private:
  TileTree tree_;
};

}  // namespace

SharedTileSum local_tile_sum(std::int64_t tiles) { return std::make_shared<LocalTileSum>(tiles); }
SharedTileSum distributed_tile_sum(TileTree tree) {
  return std::make_shared<DistributedTileSum>(std::move(tree));
}

Tensor sum_over_tiles(const Tensor& x, const SharedTileSum& tiles) {
  RANKINE_ASSERT(
      x.rank() >= 1 && x.shape()[0] == tiles->local_tiles(),
      "sum over " + std::to_string(tiles->local_tiles()) + " local tiles of a tensor " + x.shape().text());
  const Tensor in = x.contiguous() ? x.detach() : x.clone();
  Shape shape = x.shape();
  shape.erase(0);
  Tensor y = Tensor::empty(shape, x.dtype());
  dispatch_real(x.dtype(), "sum_over_tiles", [&](auto zero) {
    using T = decltype(zero);
    tiles->sum(std::span<const T>(in.data<T>(), static_cast<std::size_t>(in.count())),
               std::span<T>(y.data<T>(), static_cast<std::size_t>(y.count())));
  });
  const double bytes = static_cast<double>(in.count() + y.count()) * static_cast<double>(size_of(x.dtype()));
  return apply_op(
      "sum_over_tiles", {x}, y,
      [tiles](const auto& g, const auto&) { return std::vector<Tensor>{replicate_over_tiles(g[0], tiles)}; },
      {.cost = {static_cast<double>(in.count()), bytes}});
}

Tensor replicate_over_tiles(const Tensor& x, const SharedTileSum& tiles) {
  Shape shape = x.shape(), strides = x.strides();
  shape.insert(0, tiles->local_tiles());
  strides.insert(0, 0);
  return apply_op("replicate_over_tiles", {x}, x.view(shape, strides), [tiles](const auto& g, const auto&) {
    return std::vector<Tensor>{sum_over_tiles(g[0], tiles)};
  });
}

}  // namespace rankine
