// The halo exchange between tiles, and its exact adjoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

struct HaloShape {
  PerAxis width;               ///< points before and after a tile along each axis
  std::vector<bool> periodic;  ///< axes whose two ends are neighbours; empty: none
  /// Along how many axes at once a neighbour may lie further: 1 for those across a face, 2 with those across
  /// an edge, for stencils with mixed derivatives, and so on.
  int diagonal = 1;
};

/// Gives each tile the points of its neighbours that a stencil needs. Arrays are dense, tiles in the order of
/// their numbers:
///   tiles   [local_tile][channels][points of a tile]
///   padded  [local_tile][channels][points of a tile + 2 width, along each axis]
/// `channels` is whatever stands between tile and grid, for example batch x channels. All methods are
/// collective.
class HaloExchange {
 public:
  /// Throws InputError if the halo is wider than a tile. The communicator must outlive the exchange. Not
  /// collective.
  HaloExchange(const Communicator& communicator, const TilePartition& partition, HaloShape shape);

  std::size_t tile_size(std::int64_t channels) const;
  std::size_t padded_size(std::int64_t channels) const;

  /// Overwrites all of `padded` by the tile, the points of its neighbours around it, and zeros beyond the
  /// grid. T: float, double.
  template <class T>
  void exchange(std::span<const T> tiles, std::span<T> padded, std::int64_t channels) const;

  /// The adjoint. Overwrites `tiles_bar`: the gradient of a point is the sum over all its copies in
  /// `padded_bar`. The sum runs in the order of tile numbers, so that its bits do not depend on the ranks.
  template <class T>
  void exchange_adjoint(std::span<const T> padded_bar, std::span<T> tiles_bar, std::int64_t channels) const;

 private:
  /// Points of tile `from` that tile `to` keeps copies of: a box.
  struct Strip {
    std::int64_t to, from;
    PerAxis in_padded, in_tile;  // first point in the padded tile `to`, in the tile `from`
    PerAxis size;
    std::int64_t offset;  // points before it in its message
  };
  /// The strips that one rank (which may be this one) receives and sends in the forward direction, in one
  /// message each. Both sides order the strips by `to`, then by direction.
  struct Partner {
    int rank;
    std::vector<Strip> incoming, outgoing;
    std::int64_t incoming_points = 0, outgoing_points = 0;
  };
  struct AdjointStep {
    std::size_t partner, strip;
  };

  /// Calls row(in_array, in_message, n) for each row of n points of a strip. `in_array` is the row's offset
  /// in an array of padded tiles (for the side `to`) or of plain tiles (for the side `from`).
  template <class Row>
  void rows(const Strip& strip, std::int64_t channels, bool in_padded, const Row& row) const;

  /// Calls row(in_padded, n) for each row of the tiles' own points, in the order of plain tiles.
  template <class Row>
  void interior(std::int64_t channels, const Row& row) const;

  const Communicator& communicator_;
  TilePartition partition_;
  HaloShape shape_;
  PerAxis padded_shape_;
  std::vector<Partner> partners_;
  std::vector<AdjointStep> adjoint_order_;  // outgoing strips, ordered by `from`, then by `to`
};

}  // namespace rankine
