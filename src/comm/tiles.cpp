#include "src/comm/tiles.hpp"

#include <algorithm>
#include <utility>

#include "kernels/error.hpp"

namespace rankine {

BlockPartition::BlockPartition(std::int64_t count, int parts) : count_(count), parts_(parts) {
  RANKINE_ASSERT(count >= 0 && parts >= 1, "a block partition of " + std::to_string(count) +
                                               " things among " + std::to_string(parts) + " owners");
}

std::int64_t BlockPartition::begin(int part) const {
  RANKINE_ASSERT(part >= 0 && part <= parts_,
                 "block " + std::to_string(part) + " of " + std::to_string(parts_));
  return (count_ / parts_) * part + std::min<std::int64_t>(part, count_ % parts_);
}

int BlockPartition::owner(std::int64_t index) const {
  RANKINE_ASSERT(index >= 0 && index < count_,
                 "thing " + std::to_string(index) + " of " + std::to_string(count_));
  const std::int64_t small = count_ / parts_, larger_blocks = count_ % parts_;
  const std::int64_t in_larger = larger_blocks * (small + 1);
  if (index < in_larger) return static_cast<int>(index / (small + 1));
  return static_cast<int>(larger_blocks + (index - in_larger) / small);
}

namespace {

/// The divisors of n that are nearest to `wanted`, at most twelve.
std::string divisors_near(std::int64_t n, std::int64_t wanted) {
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    divisors.push_back(d);
    if (d != n / d) divisors.push_back(n / d);
  }
  const auto distance = [wanted](std::int64_t d) { return d < wanted ? wanted - d : d - wanted; };
  std::sort(divisors.begin(), divisors.end(), [&](std::int64_t a, std::int64_t b) {
    return distance(a) != distance(b) ? distance(a) < distance(b) : a < b;
  });
  const bool all = divisors.size() <= 12;
  if (!all) divisors.resize(12);
  std::sort(divisors.begin(), divisors.end());
  std::string text;
  for (const std::int64_t d : divisors) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return all ? text : text + " (the nearest)";
}

void check_divides(const char* axis, std::int64_t tiles, std::int64_t points) {
  const std::string place = std::string("tiles along ") + axis + ": " + std::to_string(tiles);
  const std::string grid = "the grid's " + std::to_string(points) + " points along " + axis;
  if (points < 1) {
    throw InputError("grid along " + std::string(axis) + ": " + std::to_string(points) +
                     " points; it needs at least 1");
  }
  if (tiles < 1 || points % tiles != 0) {
    throw InputError(place + " does not divide " + grid +
                     " into equal tiles; allowed: " + divisors_near(points, tiles));
  }
}

}  // namespace

const char* axis_name(int axis) {
  constexpr const char* names[] = {"t", "x", "y", "z"};
  RANKINE_ASSERT(axis >= 0 && axis < max_axes, "axis " + std::to_string(axis));
  return names[axis];
}

TileGrid::TileGrid(PerAxis points, PerAxis tiles)
    : points_(std::move(points)), tiling_(std::move(tiles)), tile_shape_(points_) {
  RANKINE_ASSERT(axes() >= 1 && axes() <= max_axes && tiling_.size() == points_.size(),
                 "tiles along " + std::to_string(tiling_.size()) + " of " + std::to_string(axes()) + " axes");
  for (int axis = 0; axis < axes(); ++axis) {
    check_divides(axis_name(axis), tiling_[axis], points_[axis]);
    tile_shape_[axis] /= tiling_[axis];
    tiles_ *= tiling_[axis];
    tile_points_ *= tile_shape_[axis];
  }
}

std::int64_t TileGrid::number(const PerAxis& index) const {
  std::int64_t tile = 0;
  for (int axis = 0; axis < axes(); ++axis) tile = tile * tiling_[axis] + index[axis];
  return tile;
}

PerAxis TileGrid::index(std::int64_t tile) const {
  RANKINE_ASSERT(tile >= 0 && tile < tiles_,
                 "tile " + std::to_string(tile) + " of " + std::to_string(tiles_));
  PerAxis index(points_.size());
  for (int axis = axes() - 1; axis >= 0; tile /= tiling_[axis--]) index[axis] = tile % tiling_[axis];
  return index;
}

TileExtent TileGrid::extent(std::int64_t tile) const {
  TileExtent e{index(tile), tile_shape_};
  for (int axis = 0; axis < axes(); ++axis) {
    e.begin[axis] *= tile_shape_[axis];
    e.end[axis] += e.begin[axis];
  }
  return e;
}

std::optional<std::int64_t> TileGrid::neighbour(std::int64_t tile, const PerAxis& offset,
                                                const std::vector<bool>& periodic) const {
  PerAxis at = index(tile);
  for (int axis = 0; axis < axes(); ++axis) {
    const std::int64_t n = tiling_[axis];
    at[axis] += offset[axis];
    if (!periodic.empty() && periodic[axis]) at[axis] = (at[axis] % n + n) % n;
    if (at[axis] < 0 || at[axis] >= n) return std::nullopt;
  }
  return number(at);
}

std::string TileGrid::describe() const {
  const auto product = [](const PerAxis& numbers) {
    std::string text;
    for (const std::int64_t n : numbers) text += (text.empty() ? "" : " x ") + std::to_string(n);
    return text;
  };
  return product(tiling_) + " tiles of " + product(tile_shape_) + " points";
}

TilePartition::TilePartition(const TileGrid& grid, int ranks, int rank)
    : grid_(grid), blocks_(grid.tiles(), ranks), rank_(rank) {
  RANKINE_ASSERT(rank >= 0 && rank < ranks, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  if (ranks > grid.tiles()) {
    std::string tiling;
    for (int axis = 0; axis < grid.axes(); ++axis)
      tiling += (axis > 0 ? ", " : "") + std::to_string(grid.tiling()[axis]) + " along " + axis_name(axis);
    throw InputError(std::to_string(ranks) + " ranks for " + std::to_string(grid.tiles()) + " tiles (" +
                     tiling + "): every rank needs a tile; start " + std::to_string(grid.tiles()) +
                     " ranks at most (mpirun -n " + std::to_string(grid.tiles()) +
                     "), or divide the grid into more tiles");
  }
}

}  // namespace rankine
