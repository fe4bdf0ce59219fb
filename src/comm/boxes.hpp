// Copies between boxes of one grid that ranks own: from disjoint boxes that cover it, such as tiles, to boxes
// that may overlap, such as tiles with the points around them.
#pragma once

#include <span>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

/// Points from `begin` on, so many along each axis. Along a ring a box may begin before the first point or end
/// after the last one.
struct GridBox {
  PerAxis begin, size;
  std::int64_t points() const;
  bool operator==(const GridBox&) const = default;
};

/// Boxes and the rank that has each of them. Every rank knows all of them.
struct OwnedBoxes {
  std::vector<GridBox> boxes;
  std::vector<int> owner;
  /// Numbers of the boxes of a rank, rising.
  std::vector<int> of_rank(int rank) const;
};
OwnedBoxes tiles_as_boxes(const TilePartition& partition);

/// Arrays hold a rank's boxes end to end, in the order of their numbers:
///   [box of the rank][channels][points of the box]
/// `channels` is whatever stands between box and points, for example batch x unknowns. All methods are
/// collective.
class BoxExchange {
 public:
  /// `points`: of the grid. `from` covers it without overlap. The communicator must outlive the exchange. Not
  /// collective.
  BoxExchange(const Communicator& communicator, PerAxis points, OwnedBoxes from, OwnedBoxes to);

  std::int64_t from_points() const { return from_points_; }  ///< of this rank's boxes
  std::int64_t to_points() const { return to_points_; }

  /// Overwrites `to`. T: float, double.
  template <class T>
  void exchange(std::span<const T> from, std::span<T> to, std::int64_t channels) const;
  /// The adjoint. Overwrites `from_bar`: the gradient of a point is the sum over all its copies in `to_bar`, in
  /// the order of the boxes' numbers, so that its bits do not depend on the ranks.
  template <class T>
  void exchange_adjoint(std::span<const T> to_bar, std::span<T> from_bar, std::int64_t channels) const;

  /// Ranks that this one sends to, without itself, and the points a channel that go there, for exchange().
  int partners() const;
  std::int64_t points_sent() const;

 private:
  /// Points of a box of `from` that are copied to one of `to`.
  struct Piece {
    int from, to;  // places in the lists of this rank's boxes, where it has them
    int number;    // of the box of `to` among all
    PerAxis in_from, in_to, size;
    std::int64_t points;
  };
  /// What goes to a rank, or comes from it, in one message: pieces in the order of the boxes of `to`, then of
  /// `from`.
  struct Message {
    int rank;
    std::vector<Piece> pieces;
    std::int64_t points = 0;
  };
  struct Side {
    std::vector<GridBox> boxes;        // of this rank
    std::vector<std::int64_t> offset;  // [box] points before it
  };
  template <class Row>
  static void rows(const Side& side, int box, const PerAxis& begin, const PerAxis& size,
                   std::int64_t channels, const Row& row);

  const Communicator& communicator_;
  Side from_, to_;
  std::int64_t from_points_ = 0, to_points_ = 0;
  std::vector<Message> outgoing_, incoming_;
};

}  // namespace rankine
