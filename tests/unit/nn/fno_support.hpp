// A model on a grid of tiles, all on this rank, and the whole grid as one array.
#pragma once

#include "src/nn/fno.hpp"

namespace rankine::testing {

inline ModelContext serial_context(const TileGrid& grid, std::int64_t inputs, std::int64_t outputs,
                                   bool final_gelu = false) {
  return {TilePartition(grid, 1, 0), local_tile_sum(grid.tiles()), inputs, outputs, final_gelu};
}

/// [B, C, points of the grid] to this rank's tiles [L, B, C, points of a tile].
inline Tensor cut_tiles(const Tensor& whole, const TilePartition& partition) {
  const TileGrid& grid = partition.grid();
  std::vector<Tensor> tiles;
  for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
    const TileExtent e = grid.extent(tile);
    Tensor part = whole;
    for (int axis = 0; axis < grid.axes(); ++axis) part = slice(part, 2 + axis, e.begin[axis], e.end[axis]);
    Shape shape = part.shape();
    shape.insert(0, 1);
    tiles.push_back(reshape(part, shape));
  }
  return concat(tiles, 0);
}

/// The inverse, where all tiles are here.
inline Tensor join_tiles(const Tensor& tiles, const TileGrid& grid) {
  std::vector<Tensor> parts;
  Shape shape = tiles.shape();
  shape.erase(0);
  for (std::int64_t tile = 0; tile < grid.tiles(); ++tile)
    parts.push_back(reshape(slice(tiles, 0, tile, tile + 1), shape));
  for (int axis = grid.axes() - 1; axis >= 0; --axis) {
    const auto n = static_cast<std::size_t>(grid.tiling()[axis]);
    std::vector<Tensor> longer;
    for (std::size_t i = 0; i < parts.size(); i += n)
      longer.push_back(
          concat({parts.begin() + std::ptrdiff_t(i), parts.begin() + std::ptrdiff_t(i + n)}, 2 + axis));
    parts = longer;
  }
  return parts.front();
}

}  // namespace rankine::testing
