// The tile grid divides the global grid into equal tiles; the partition distributes the tiles over ranks. The
// deck fixes the tiles, and only the partition depends on the number of ranks. Therefore results can be the
// same on any number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

/// A number for each axis of a grid: axis 0 is t, then come x, y and z. Points and tiles are row-major, the
/// last axis fastest.
using PerAxis = std::vector<std::int64_t>;
inline constexpr int max_axes = 4;
/// "t", "x", "y" or "z".
const char* axis_name(int axis);

/// The points of the global grid from begin to end, without end, along each axis.
struct TileExtent {
  PerAxis begin, end;
  bool operator==(const TileExtent&) const = default;
};

/// Calls row(at) for each row of a box, in order. A row lies along the last axis; `at` is where its first
/// point lies in plane number `plane` of an array [planes][shape]. The box begins at `begin` and has `size`
/// points along each axis.
template <class Row>
void over_rows(std::int64_t plane, const PerAxis& shape, const PerAxis& begin, const PerAxis& size,
               const Row& row) {
  const auto descend = [&](const auto& self, std::size_t axis, std::int64_t before) -> void {
    const std::int64_t first = before * shape[axis] + begin[axis];
    if (axis + 1 == shape.size()) return row(first);
    for (std::int64_t i = 0; i < size[axis]; ++i) self(self, axis + 1, first + i);
  };
  descend(descend, 0, plane);
}

/// A grid of t and up to three space axes, in equal tiles. They are numbered along the last axis first.
class TileGrid {
 public:
  /// Points and tiles along each axis. Throws InputError if a number of tiles is below 1 or does not divide
  /// the points.
  TileGrid(PerAxis points, PerAxis tiles);
  TileGrid(std::int64_t nt, std::int64_t nx, std::int64_t t_tiles, std::int64_t x_tiles)
      : TileGrid({nt, nx}, {t_tiles, x_tiles}) {}

  int axes() const { return static_cast<int>(points_.size()); }
  const PerAxis& points() const { return points_; }
  const PerAxis& tiling() const { return tiling_; }          ///< tiles along each axis
  const PerAxis& tile_shape() const { return tile_shape_; }  ///< points of a tile
  std::int64_t tiles() const { return tiles_; }
  std::int64_t tile_points() const { return tile_points_; }

  // Along t and x.
  std::int64_t nt() const { return points_[0]; }
  std::int64_t nx() const { return points_[1]; }
  std::int64_t t_tiles() const { return tiling_[0]; }
  std::int64_t x_tiles() const { return tiling_[1]; }
  std::int64_t tile_nt() const { return tile_shape_[0]; }
  std::int64_t tile_nx() const { return tile_shape_[1]; }

  /// A tile's place among the tiles, and back.
  PerAxis index(std::int64_t tile) const;
  std::int64_t number(const PerAxis& index) const;
  TileExtent extent(std::int64_t tile) const;
  /// The tile that lies so many tiles further along each axis (negative: earlier, left), or none beyond the
  /// grid's edge. The two ends of an axis that is `periodic` are joined; none is where that is left out.
  std::optional<std::int64_t> neighbour(std::int64_t tile, const PerAxis& offset,
                                        const std::vector<bool>& periodic = {}) const;

  /// The grid as text, such as "2 x 4 tiles of 51 x 256 points".
  std::string describe() const;
  bool operator==(const TileGrid&) const = default;

 private:
  PerAxis points_, tiling_, tile_shape_;
  std::int64_t tiles_ = 1, tile_points_ = 1;
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
