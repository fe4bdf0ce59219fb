#include "src/comm/halo.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "kernels/error.hpp"

namespace rankine {

namespace {
constexpr int halo_tag = 101;
constexpr int halo_adjoint_tag = 102;

void check_width(const char* axis, std::int64_t width, std::int64_t points) {
  RANKINE_ASSERT(width >= 0, std::string("negative halo along ") + axis);
  if (width > points) {
    throw InputError("tiles along " + std::string(axis) + ": a tile has " + std::to_string(points) +
                     " points along " + axis + ", but the stencil reaches " + std::to_string(width) +
                     " points into the next tile; use fewer tiles along " + axis + " (at least " +
                     std::to_string(width) + " points each)");
  }
}

std::int64_t product(const PerAxis& numbers) {
  std::int64_t all = 1;
  for (const std::int64_t n : numbers) all *= n;
  return all;
}
}  // namespace

HaloExchange::HaloExchange(const Communicator& communicator, const TilePartition& partition, HaloShape shape)
    : communicator_(communicator), partition_(partition), shape_(std::move(shape)) {
  const TileGrid& grid = partition_.grid();
  RANKINE_ASSERT(partition.ranks() == communicator.size() && partition.rank() == communicator.rank(),
                 "the halo's partition is that of another communicator");
  const std::size_t axes = grid.points().size();
  if (shape_.periodic.empty()) shape_.periodic.resize(axes);
  RANKINE_ASSERT(
      shape_.width.size() == axes && shape_.periodic.size() == axes,
      "a halo along " + std::to_string(shape_.width.size()) + " of " + std::to_string(axes) + " axes");
  padded_shape_ = grid.tile_shape();
  std::int64_t all_directions = 1;
  for (std::size_t a = 0; a < axes; ++a) {
    if (grid.tiling()[a] > 1 || shape_.periodic[a])
      check_width(axis_name(static_cast<int>(a)), shape_.width[a], grid.tile_shape()[a]);
    padded_shape_[a] += 2 * shape_.width[a];
    all_directions *= 3;
  }

  // Where neighbours lie, -1, 0 or 1 tiles along each axis, and what comes from there. The last axis is the
  // fastest.
  struct Direction {
    PerAxis step;
    Strip strip;
    std::int64_t points = 1;
  };
  std::vector<Direction> directions;
  for (std::int64_t number = 0; number < all_directions; ++number) {
    const PerAxis none(axes);
    Direction direction{none, {0, 0, none, none, none, 0}};
    std::int64_t rest = number;
    int along = 0;
    for (std::size_t a = axes; a-- > 0; rest /= 3) {
      const std::int64_t d = rest % 3 - 1, width = shape_.width[a], n = grid.tile_shape()[a];
      direction.step[a] = d;
      direction.strip.in_padded[a] = d < 0 ? 0 : d == 0 ? width : width + n;
      direction.strip.in_tile[a] = d < 0 ? n - width : 0;
      direction.strip.size[a] = d == 0 ? n : width;
      direction.points *= direction.strip.size[a];
      along += d != 0;
    }
    if (along > 0 && along <= shape_.diagonal && direction.points > 0) directions.push_back(direction);
  }

  std::map<int, Partner> partners;
  for (std::int64_t to = 0; to < grid.tiles(); ++to) {
    for (const Direction& direction : directions) {
      const auto from = grid.neighbour(to, direction.step, shape_.periodic);
      if (!from) continue;
      const auto add = [&](std::int64_t& points, std::vector<Strip>& strips) {
        Strip& strip = strips.emplace_back(direction.strip);
        strip.to = to;
        strip.from = *from;
        strip.offset = points;
        points += direction.points;
      };
      if (partition_.is_local(to)) {
        Partner& partner = partners[partition_.owner(*from)];
        add(partner.incoming_points, partner.incoming);
      }
      if (partition_.is_local(*from)) {
        Partner& partner = partners[partition_.owner(to)];
        add(partner.outgoing_points, partner.outgoing);
      }
    }
  }
  for (auto& [rank, partner] : partners) {
    partner.rank = rank;
    partners_.push_back(std::move(partner));
  }
  for (std::size_t p = 0; p < partners_.size(); ++p) {
    for (std::size_t s = 0; s < partners_[p].outgoing.size(); ++s) adjoint_order_.push_back({p, s});
  }
  // A stable sort, so that strips between the same two tiles stay in the order of their directions.
  std::stable_sort(adjoint_order_.begin(), adjoint_order_.end(),
                   [&](const AdjointStep& a, const AdjointStep& b) {
                     const Strip& left = partners_[a.partner].outgoing[a.strip];
                     const Strip& right = partners_[b.partner].outgoing[b.strip];
                     return left.from != right.from ? left.from < right.from : left.to < right.to;
                   });
}

std::size_t HaloExchange::tile_size(std::int64_t channels) const {
  return static_cast<std::size_t>(partition_.local_tiles() * channels * partition_.grid().tile_points());
}

std::size_t HaloExchange::padded_size(std::int64_t channels) const {
  return static_cast<std::size_t>(partition_.local_tiles() * channels * product(padded_shape_));
}

template <class Row>
void HaloExchange::rows(const Strip& strip, std::int64_t channels, bool in_padded, const Row& row) const {
  const PerAxis& shape = in_padded ? padded_shape_ : partition_.grid().tile_shape();
  const PerAxis& begin = in_padded ? strip.in_padded : strip.in_tile;
  const std::int64_t local = (in_padded ? strip.to : strip.from) - partition_.begin(), n = strip.size.back();
  std::int64_t in_message = strip.offset * channels;
  for (std::int64_t c = 0; c < channels; ++c)
    over_rows(local * channels + c, shape, begin, strip.size, [&](std::int64_t in_array) {
      row(in_array, in_message, n);
      in_message += n;
    });
}

template <class Row>
void HaloExchange::interior(std::int64_t channels, const Row& row) const {
  const PerAxis& tile = partition_.grid().tile_shape();
  for (std::int64_t plane = 0; plane < partition_.local_tiles() * channels; ++plane)
    over_rows(plane, padded_shape_, shape_.width, tile, [&](std::int64_t at) { row(at, tile.back()); });
}

template <class T>
void HaloExchange::exchange(std::span<const T> tiles, std::span<T> padded, std::int64_t channels) const {
  RANKINE_ASSERT(tiles.size() == tile_size(channels) && padded.size() == padded_size(channels),
                 "halo exchange of arrays of another size than its partition's");
  std::vector<std::vector<T>> in(partners_.size()), out(partners_.size());
  Exchange messages(communicator_);
  for (std::size_t p = 0; p < partners_.size(); ++p) {
    const Partner& partner = partners_[p];
    out[p].resize(static_cast<std::size_t>(partner.outgoing_points * channels));
    for (const Strip& strip : partner.outgoing) {
      rows(strip, channels, false, [&](std::int64_t tile, std::int64_t message, std::int64_t n) {
        std::copy_n(tiles.data() + tile, n, out[p].data() + message);
      });
    }
    if (partner.rank == communicator_.rank()) {
      in[p] = std::move(out[p]);
      continue;
    }
    in[p].resize(static_cast<std::size_t>(partner.incoming_points * channels));
    messages.receive(std::span<T>(in[p]), partner.rank, halo_tag);
    messages.send(std::span<const T>(out[p]), partner.rank, halo_tag);
  }

  // The interior and the grid's edges, while the messages travel.
  std::fill(padded.begin(), padded.end(), T(0));
  const T* source = tiles.data();
  interior(channels, [&](std::int64_t in_padded, std::int64_t n) {
    std::copy_n(source, n, padded.data() + in_padded);
    source += n;
  });

  messages.wait();
  for (std::size_t p = 0; p < partners_.size(); ++p) {
    for (const Strip& strip : partners_[p].incoming) {
      rows(strip, channels, true, [&](std::int64_t tile, std::int64_t message, std::int64_t n) {
        std::copy_n(in[p].data() + message, n, padded.data() + tile);
      });
    }
  }
}

template <class T>
void HaloExchange::exchange_adjoint(std::span<const T> padded_bar, std::span<T> tiles_bar,
                                    std::int64_t channels) const {
  RANKINE_ASSERT(tiles_bar.size() == tile_size(channels) && padded_bar.size() == padded_size(channels),
                 "halo exchange of arrays of another size than its partition's");
  // What came in goes back out, and the other way round.
  std::vector<std::vector<T>> back(partners_.size()), arrived(partners_.size());
  Exchange messages(communicator_);
  for (std::size_t p = 0; p < partners_.size(); ++p) {
    const Partner& partner = partners_[p];
    back[p].resize(static_cast<std::size_t>(partner.incoming_points * channels));
    for (const Strip& strip : partner.incoming) {
      rows(strip, channels, true, [&](std::int64_t tile, std::int64_t message, std::int64_t n) {
        std::copy_n(padded_bar.data() + tile, n, back[p].data() + message);
      });
    }
    if (partner.rank == communicator_.rank()) {
      arrived[p] = std::move(back[p]);
      continue;
    }
    arrived[p].resize(static_cast<std::size_t>(partner.outgoing_points * channels));
    messages.receive(std::span<T>(arrived[p]), partner.rank, halo_adjoint_tag);
    messages.send(std::span<const T>(back[p]), partner.rank, halo_adjoint_tag);
  }

  T* target = tiles_bar.data();
  interior(channels, [&](std::int64_t in_padded, std::int64_t n) {
    std::copy_n(padded_bar.data() + in_padded, n, target);
    target += n;
  });

  messages.wait();
  for (const AdjointStep& step : adjoint_order_) {
    const T* values = arrived[step.partner].data();
    rows(partners_[step.partner].outgoing[step.strip], channels, false,
         [&](std::int64_t tile, std::int64_t message, std::int64_t n) {
           for (std::int64_t i = 0; i < n; ++i)
             tiles_bar[static_cast<std::size_t>(tile + i)] += values[message + i];
         });
  }
}

template void HaloExchange::exchange<float>(std::span<const float>, std::span<float>, std::int64_t) const;
template void HaloExchange::exchange<double>(std::span<const double>, std::span<double>, std::int64_t) const;
template void HaloExchange::exchange_adjoint<float>(std::span<const float>, std::span<float>,
                                                    std::int64_t) const;
template void HaloExchange::exchange_adjoint<double>(std::span<const double>, std::span<double>,
                                                     std::int64_t) const;

}  // namespace rankine
