// A model on a grid of tiles, all on this rank, and the whole grid as one array.
#pragma once

#include "src/nn/fno2d.hpp"

namespace rankine::testing {

inline ModelContext serial_context(const TileGrid& grid, std::int64_t inputs, std::int64_t outputs,
                                   bool final_gelu = false) {
  return {TilePartition(grid, 1, 0), local_tile_sum(grid.tiles()), inputs, outputs, final_gelu};
}

/// [B, C, nt, nx] to this rank's tiles [L, B, C, Tt, Tx].
inline Tensor cut_tiles(const Tensor& whole, const TilePartition& partition) {
  const TileGrid& grid = partition.grid();
  std::vector<Tensor> tiles;
  for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
    const TileExtent e = grid.extent(tile);
    const Tensor part = slice(slice(whole, 2, e.t_begin, e.t_end), 3, e.x_begin, e.x_end);
    tiles.push_back(reshape(part, {1, whole.shape()[0], whole.shape()[1], grid.tile_nt(), grid.tile_nx()}));
  }
  return concat(tiles, 0);
}

/// The inverse, where all tiles are here.
inline Tensor join_tiles(const Tensor& tiles, const TileGrid& grid) {
  std::vector<Tensor> rows;
  for (std::int64_t i = 0; i < grid.t_tiles(); ++i) {
    std::vector<Tensor> row;
    for (std::int64_t j = 0; j < grid.x_tiles(); ++j) {
      const std::int64_t l = grid.number(i, j);
      const Tensor one = slice(tiles, 0, l, l + 1);
      row.push_back(reshape(one, {one.shape()[1], one.shape()[2], one.shape()[3], one.shape()[4]}));
    }
    rows.push_back(concat(row, 3));
  }
  return concat(rows, 2);
}

}  // namespace rankine::testing
