#include "src/experts/tile_fit.hpp"

#include "src/tensor/small_solve.hpp"

namespace rankine {
namespace {

/// x with axes of extent 1 appended until it has `rank`.
Tensor padded(const Tensor& x, int rank) {
  Shape shape = x.shape();
  while (shape.rank() < rank) shape.push_back(1);
  return reshape(x, shape);
}

}  // namespace

TileFit::TileFit(const TilePartition& tiles, const std::vector<int>& experts, SharedTileSum sum, double ridge)
    : sum_(std::move(sum)), ridge_(ridge) {
  const TileGrid of_experts(tiles.grid().tiling(), PerAxis(experts.begin(), experts.end()));
  std::vector<double> marks;
  for (std::int64_t tile = tiles.begin(); tile < tiles.end(); ++tile) {
    PerAxis index = tiles.grid().index(tile);
    for (size_t axis = 0; axis < index.size(); ++axis) index[axis] /= of_experts.tile_shape()[axis];
    const std::int64_t expert = of_experts.number(index);
    for (std::int64_t k = 0; k < of_experts.tiles(); ++k) marks.push_back(k == expert ? 1 : 0);
  }
  one_hot_ = Tensor::from(marks, {tiles.local_tiles(), of_experts.tiles()});
}

Tensor TileFit::fitted(const Tensor& basis, const Tensor& y) const {
  const Region<"tile_fit"> region;
  const std::int64_t tiles = y.extent(0), samples = y.extent(1), unknowns = y.extent(2),
                     points = y.count() / (tiles * samples * unknowns), n = basis.count() / y.count();
  const Tensor b = reshape(basis, {tiles, samples, unknowns, n, points}),
               target = reshape(y, {tiles, samples, unknowns, points, 1});
  const auto of_experts = [&](const Tensor& x) {  // [tile]... to [expert]...
    Shape shape = x.shape();
    shape.insert(1, 1);
    return sum_over_tiles(mul(padded(one_hot_, shape.rank()), reshape(x, shape)), sum_);
  };
  std::vector<double> factors(n * n, 1.0);
  for (std::int64_t i = 0; i < n; ++i) factors[i * n + i] += ridge_;
  const Tensor gram = mul(of_experts(matmul(b, transpose(b, 3, 4))), Tensor::from(factors, {n, n})),
               right = of_experts(reshape(matmul(b, target), {tiles, samples, unknowns, n}));
  const Tensor w = solve_spd(gram, right);  // [expert][sample][unknown][n]
  const Tensor of_tiles = sum(mul(padded(one_hot_, 5), replicate_over_tiles(w, sum_)), {1});
  return reshape(matmul(reshape(of_tiles, {tiles, samples, unknowns, 1, n}), b), y.shape());
}

}  // namespace rankine
