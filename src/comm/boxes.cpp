#include "src/comm/boxes.hpp"

#include <algorithm>
#include <map>

#include "kernels/error.hpp"

namespace rankine {

namespace {
constexpr int box_tag = 103;

/// A stretch of a row of points that two boxes share along one axis.
struct Overlap {
  std::int64_t in_from, in_to, size;
};

/// `to` may reach beyond the ends of a ring of n points, by less than n.
std::vector<Overlap> overlaps(std::int64_t from, std::int64_t from_size, std::int64_t to,
                              std::int64_t to_size, std::int64_t n) {
  std::vector<Overlap> out;
  for (const std::int64_t turn : {-n, std::int64_t{0}, n}) {
    const std::int64_t begin = std::max(from, to + turn),
                       end = std::min(from + from_size, to + turn + to_size);
    if (begin < end) out.push_back({begin - from, begin - turn - to, end - begin});
  }
  return out;
}
}  // namespace

std::int64_t GridBox::points() const {
  std::int64_t all = 1;
  for (const std::int64_t n : size) all *= n;
  return all;
}

std::vector<int> OwnedBoxes::of_rank(int rank) const {
  std::vector<int> out;
  for (std::size_t k = 0; k < owner.size(); ++k)
    if (owner[k] == rank) out.push_back(static_cast<int>(k));
  return out;
}

OwnedBoxes tiles_as_boxes(const TilePartition& partition) {
  OwnedBoxes out;
  const TileGrid& grid = partition.grid();
  for (std::int64_t tile = 0; tile < grid.tiles(); ++tile) {
    out.boxes.push_back({grid.extent(tile).begin, grid.tile_shape()});
    out.owner.push_back(partition.owner(tile));
  }
  return out;
}

BoxExchange::BoxExchange(const Communicator& communicator, PerAxis points, OwnedBoxes from, OwnedBoxes to)
    : communicator_(communicator) {
  const int me = communicator.rank();
  const auto side_of = [&](const OwnedBoxes& all, std::vector<int>& place, std::int64_t& total) {
    Side side;
    place.assign(all.boxes.size(), -1);
    for (const int k : all.of_rank(me)) {
      place[k] = static_cast<int>(side.boxes.size());
      side.boxes.push_back(all.boxes[k]);
      side.offset.push_back(total);
      total += all.boxes[k].points();
    }
    return side;
  };
  std::vector<int> from_place, to_place;
  from_ = side_of(from, from_place, from_points_);
  to_ = side_of(to, to_place, to_points_);

  std::map<int, Message> outgoing, incoming;
  const std::size_t axes = points.size();
  for (std::size_t t = 0; t < to.boxes.size(); ++t)
    for (std::size_t f = 0; f < from.boxes.size(); ++f) {
      if (from.owner[f] != me && to.owner[t] != me) continue;
      std::vector<Piece> pieces{{from_place[f], to_place[t], static_cast<int>(t), {}, {}, {}, 1}};
      for (std::size_t axis = 0; axis < axes; ++axis) {
        std::vector<Piece> longer;
        for (const Piece& piece : pieces)
          for (const Overlap& o : overlaps(from.boxes[f].begin[axis], from.boxes[f].size[axis],
                                           to.boxes[t].begin[axis], to.boxes[t].size[axis], points[axis])) {
            Piece& next = longer.emplace_back(piece);
            next.in_from.push_back(o.in_from);
            next.in_to.push_back(o.in_to);
            next.size.push_back(o.size);
            next.points *= o.size;
          }
        pieces = std::move(longer);
      }
      const auto add = [&](Message& message, int rank) {
        message.rank = rank;
        for (const Piece& piece : pieces) {
          message.pieces.push_back(piece);
          message.points += piece.points;
        }
      };
      if (pieces.empty()) continue;
      if (from.owner[f] == me) add(outgoing[to.owner[t]], to.owner[t]);
      if (to.owner[t] == me) add(incoming[from.owner[f]], from.owner[f]);
    }
  for (auto& [rank, message] : outgoing) outgoing_.push_back(std::move(message));
  for (auto& [rank, message] : incoming) incoming_.push_back(std::move(message));
}

int BoxExchange::partners() const {
  return static_cast<int>(std::count_if(outgoing_.begin(), outgoing_.end(),
                                        [&](const Message& m) { return m.rank != communicator_.rank(); }));
}

std::int64_t BoxExchange::points_sent() const {
  std::int64_t points = 0;
  for (const Message& message : outgoing_)
    if (message.rank != communicator_.rank()) points += message.points;
  return points;
}

template <class Row>
void BoxExchange::rows(const Side& side, int box, const PerAxis& begin, const PerAxis& size,
                       std::int64_t channels, const Row& row) {
  const GridBox& whole = side.boxes[box];
  for (std::int64_t c = 0; c < channels; ++c)
    over_rows(c, whole.size, begin, size,
              [&](std::int64_t at) { row(side.offset[box] * channels + at, size.back()); });
}

template <class T>
void BoxExchange::exchange(std::span<const T> from, std::span<T> to, std::int64_t channels) const {
  RANKINE_ASSERT(static_cast<std::int64_t>(from.size()) == from_points_ * channels &&
                     static_cast<std::int64_t>(to.size()) == to_points_ * channels,
                 "exchange of arrays of another size than the boxes'");
  std::vector<std::vector<T>> out(outgoing_.size()), in(incoming_.size());
  Exchange messages(communicator_);
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    if (incoming_[i].rank == communicator_.rank()) continue;
    in[i].resize(static_cast<std::size_t>(incoming_[i].points * channels));
    messages.receive(std::span<T>(in[i]), incoming_[i].rank, box_tag);
  }
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    const Message& message = outgoing_[i];
    out[i].reserve(static_cast<std::size_t>(message.points * channels));
    for (const Piece& piece : message.pieces)
      rows(from_, piece.from, piece.in_from, piece.size, channels, [&](std::int64_t at, std::int64_t n) {
        out[i].insert(out[i].end(), from.begin() + at, from.begin() + at + n);
      });
    if (message.rank != communicator_.rank())
      messages.send(std::span<const T>(out[i]), message.rank, box_tag);
    else
      for (std::size_t k = 0; k < incoming_.size(); ++k)
        if (incoming_[k].rank == message.rank) in[k] = std::move(out[i]);
  }
  messages.wait();
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    const T* values = in[i].data();
    for (const Piece& piece : incoming_[i].pieces)
      rows(to_, piece.to, piece.in_to, piece.size, channels, [&](std::int64_t at, std::int64_t n) {
        std::copy_n(values, n, to.begin() + at);
        values += n;
      });
  }
}

template <class T>
void BoxExchange::exchange_adjoint(std::span<const T> to_bar, std::span<T> from_bar,
                                   std::int64_t channels) const {
  RANKINE_ASSERT(static_cast<std::int64_t>(from_bar.size()) == from_points_ * channels &&
                     static_cast<std::int64_t>(to_bar.size()) == to_points_ * channels,
                 "exchange of arrays of another size than the boxes'");
  std::vector<std::vector<T>> back(incoming_.size()), arrived(outgoing_.size());
  Exchange messages(communicator_);
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    arrived[i].resize(static_cast<std::size_t>(outgoing_[i].points * channels));
    if (outgoing_[i].rank != communicator_.rank())
      messages.receive(std::span<T>(arrived[i]), outgoing_[i].rank, box_tag);
  }
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    const Message& message = incoming_[i];
    back[i].reserve(static_cast<std::size_t>(message.points * channels));
    for (const Piece& piece : message.pieces)
      rows(to_, piece.to, piece.in_to, piece.size, channels, [&](std::int64_t at, std::int64_t n) {
        back[i].insert(back[i].end(), to_bar.begin() + at, to_bar.begin() + at + n);
      });
    if (message.rank != communicator_.rank())
      messages.send(std::span<const T>(back[i]), message.rank, box_tag);
    else
      for (std::size_t k = 0; k < outgoing_.size(); ++k)
        if (outgoing_[k].rank == message.rank) arrived[k] = std::move(back[i]);
  }
  messages.wait();
  std::fill(from_bar.begin(), from_bar.end(), T(0));
  // All pieces in the order of the boxes they come back from, whichever rank has those.
  struct Arrived {
    const Piece* piece;
    const T* values;
  };
  std::vector<Arrived> pieces;
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    const T* values = arrived[i].data();
    for (const Piece& piece : outgoing_[i].pieces) {
      pieces.push_back({&piece, values});
      values += piece.points * channels;
    }
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Arrived& a, const Arrived& b) { return a.piece->number < b.piece->number; });
  for (const Arrived& next : pieces) {
    const T* values = next.values;
    rows(from_, next.piece->from, next.piece->in_from, next.piece->size, channels,
         [&](std::int64_t at, std::int64_t n) {
           for (std::int64_t i = 0; i < n; ++i) from_bar[at + i] += *values++;
         });
  }
}

#define RANKINE_INSTANTIATE(T)                                                               \
  template void BoxExchange::exchange(std::span<const T>, std::span<T>, std::int64_t) const; \
  template void BoxExchange::exchange_adjoint(std::span<const T>, std::span<T>, std::int64_t) const;
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine
