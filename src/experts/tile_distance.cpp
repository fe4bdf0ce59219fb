#include "src/experts/tile_distance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rankine {
namespace {

/// [tile][sample]... to [tile][sample].
Tensor sums_of(const Tensor& x) {
  return sum(reshape(x, {x.extent(0), x.extent(1), x.count() / (x.extent(0) * x.extent(1))}), {2});
}

}  // namespace

Tensor target_distance(const Tensor& v, const Tensor& target, const PdeBatch& batch, int frames,
                       const SharedTileSum& tiles) {
  const Region<"target_distance"> region;
  const Tensor goal = target.detach();
  std::vector<double> size = sum_over_tiles(sums_of(square(goal)), tiles).to_vector();
  const size_t width = batch.initial.size() / size.size();
  for (size_t s = 0; s < size.size(); ++s) {
    double initial = 0;
    for (size_t i = 0; i < width; ++i) initial += std::pow(batch.initial[s * width + i], 2) * frames;
    size[s] = std::sqrt(std::max(initial, size[s]));
    if (!(size[s] > 0)) size[s] = 1;
  }
  const Tensor distance = sum_over_tiles(sums_of(square(sub(v, goal))), tiles);
  // The smallest number keeps the root's slope finite where v is its own target.
  const Tensor length = sqrt(add_scalar(distance, std::numeric_limits<double>::min()));
  return mean(div(length, Tensor::from(size, {static_cast<std::int64_t>(size.size())})));
}

}  // namespace rankine
