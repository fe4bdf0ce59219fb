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
  int t = 0;                ///< points before and after a tile in time
  int x = 0;                ///< points left and right of it
  bool corners = false;     ///< whether diagonal neighbours count, as for stencils with mixed derivatives
  bool periodic_x = false;  ///< whether the left and right edges of the grid are joined
};

/// Gives each tile the points of its neighbours that a stencil needs. Arrays are dense, with tiles in the
/// order of their numbers:
///   tiles   [local_tile][channels][tile_nt][tile_nx]
///   padded  [local_tile][channels][tile_nt + 2 shape.t][tile_nx + 2 shape.x]
/// `channels` is the product of all axes between tile and grid, such as batch x channels. All methods are
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
  /// A rectangle of points of tile `from`, of which tile `to` holds copies.
  struct Strip {
    std::int64_t to, from;
    std::int64_t t_to, x_to;      // first point in the padded tile `to`
    std::int64_t t_from, x_from;  // first point in the tile `from`
    std::int64_t nt, nx;
    std::int64_t offset;  // of its first point in the message
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

  const Communicator& communicator_;
  TilePartition partition_;
  HaloShape shape_;
  std::vector<Partner> partners_;
  std::vector<AdjointStep> adjoint_order_;  // outgoing strips, ordered by `from`, then by `to`
};

}  // namespace rankine
