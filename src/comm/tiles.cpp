#include "src/comm/tiles.hpp"

#include <algorithm>
#include <vector>

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

TileGrid::TileGrid(std::int64_t nt, std::int64_t nx, std::int64_t t_tiles, std::int64_t x_tiles)
    : nt_(nt), nx_(nx), t_tiles_(t_tiles), x_tiles_(x_tiles) {
  check_divides("t", t_tiles, nt);
  check_divides("x", x_tiles, nx);
}

TileExtent TileGrid::extent(std::int64_t tile) const {
  RANKINE_ASSERT(tile >= 0 && tile < tiles(),
                 "tile " + std::to_string(tile) + " of " + std::to_string(tiles()));
  const std::int64_t t = t_index(tile) * tile_nt(), x = x_index(tile) * tile_nx();
  return {t, t + tile_nt(), x, x + tile_nx()};
}

std::optional<std::int64_t> TileGrid::neighbour(std::int64_t tile, int dt, int dx, bool periodic_x) const {
  const std::int64_t t = t_index(tile) + dt;
  std::int64_t x = x_index(tile) + dx;
  if (periodic_x) x = ((x % x_tiles_) + x_tiles_) % x_tiles_;
  if (t < 0 || t >= t_tiles_ || x < 0 || x >= x_tiles_) return std::nullopt;
  return number(t, x);
}

std::string TileGrid::describe() const {
  return std::to_string(t_tiles_) + " x " + std::to_string(x_tiles_) + " tiles of " +
         std::to_string(tile_nt()) + " x " + std::to_string(tile_nx()) + " points";
}

TilePartition::TilePartition(const TileGrid& grid, int ranks, int rank)
    : grid_(grid), blocks_(grid.tiles(), ranks), rank_(rank) {
  RANKINE_ASSERT(rank >= 0 && rank < ranks, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  if (ranks > grid.tiles()) {
    throw InputError(std::to_string(ranks) + " ranks for " + std::to_string(grid.tiles()) + " tiles (" +
                     std::to_string(grid.t_tiles()) + " along t, " + std::to_string(grid.x_tiles()) +
                     " along x): every rank needs a tile; start " + std::to_string(grid.tiles()) +
                     " ranks at most (mpirun -n " + std::to_string(grid.tiles()) +
                     "), or divide the grid into more tiles");
  }
}

}  // namespace rankine
