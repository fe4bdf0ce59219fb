// The tile grid divides the global grid into equal tiles; the partition distributes the tiles over ranks. The
// deck fixes the tiles, and only the partition depends on the number of ranks. Therefore results can be the
// same on any number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace rankine {

/// Distributes `count` items over `parts` owners in contiguous blocks, whose sizes differ by at most one.
/// Larger blocks come first. There may be more owners than items; the last owners have none then.
class BlockPartition {
 public:
  BlockPartition(std::int64_t count, int parts);

  std::int64_t count() const { return count_; }
  int parts() const { return parts_; }
  std::int64_t begin(int part) const;
  std::int64_t end(int part) const { return begin(part + 1); }
  std::int64_t size(int part) const { return end(part) - begin(part); }
  int owner(std::int64_t index) const;

 private:
  std::int64_t count_ = 0;
  int parts_ = 1;
};

/// The extent of a tile: the points [t_begin, t_end) x [x_begin, x_end) of the global grid.
struct TileExtent {
  std::int64_t t_begin = 0, t_end = 0, x_begin = 0, x_end = 0;
  bool operator==(const TileExtent&) const = default;
};

/// A grid of nt x nx points (x varies fastest), divided into t_tiles x x_tiles equal tiles. The number of a
/// tile is t_index * x_tiles + x_index.
class TileGrid {
 public:
  /// Throws InputError if a number of tiles is below 1 or does not divide the points.
  TileGrid(std::int64_t nt, std::int64_t nx, std::int64_t t_tiles, std::int64_t x_tiles);

  std::int64_t nt() const { return nt_; }
  std::int64_t nx() const { return nx_; }
  std::int64_t t_tiles() const { return t_tiles_; }
  std::int64_t x_tiles() const { return x_tiles_; }
  std::int64_t tiles() const { return t_tiles_ * x_tiles_; }
  /// Numbers of points of a tile.
  std::int64_t tile_nt() const { return nt_ / t_tiles_; }
  std::int64_t tile_nx() const { return nx_ / x_tiles_; }
  std::int64_t tile_points() const { return tile_nt() * tile_nx(); }

  std::int64_t number(std::int64_t t_index, std::int64_t x_index) const {
    return t_index * x_tiles_ + x_index;
  }
  std::int64_t t_index(std::int64_t tile) const { return tile / x_tiles_; }
  std::int64_t x_index(std::int64_t tile) const { return tile % x_tiles_; }
  TileExtent extent(std::int64_t tile) const;
  /// The tile that is dt tiles later and dx tiles to the right; negative numbers mean earlier and to the
  /// left. Nothing if it lies beyond the edge of the grid. With periodic_x the left and right edges are
  /// joined.
  std::optional<std::int64_t> neighbour(std::int64_t tile, int dt, int dx, bool periodic_x = false) const;

  /// The grid as text, such as "2 x 4 tiles of 51 x 256 points".
  std::string describe() const;
  bool operator==(const TileGrid&) const = default;

 private:
  std::int64_t nt_, nx_, t_tiles_, x_tiles_;
};

/// A contiguous range of tile numbers for each rank. Every rank has at least one tile.
class TilePartition {
 public:
  /// Throws InputError if there are more ranks than tiles.
  TilePartition(const TileGrid& grid, int ranks, int rank);

  const TileGrid& grid() const { return grid_; }
  int ranks() const { return blocks_.parts(); }
  int rank() const { return rank_; }
  int owner(std::int64_t tile) const { return blocks_.owner(tile); }
  bool is_local(std::int64_t tile) const { return tile >= begin() && tile < end(); }
  /// This rank's tiles are the numbers [begin(), end()).
  std::int64_t begin() const { return blocks_.begin(rank_); }
  std::int64_t end() const { return blocks_.end(rank_); }
  std::int64_t begin(int rank) const { return blocks_.begin(rank); }
  std::int64_t end(int rank) const { return blocks_.end(rank); }
  std::int64_t local_tiles() const { return end() - begin(); }
  const BlockPartition& blocks() const { return blocks_; }

 private:
  TileGrid grid_;
  BlockPartition blocks_;
  int rank_;
};

}  // namespace rankine
