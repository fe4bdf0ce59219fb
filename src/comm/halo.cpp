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

void check_width(const char* axis, int width, std::int64_t points) {
  RANKINE_ASSERT(width >= 0, std::string("negative halo along ") + axis);
  if (width > points) {
    throw InputError("tiles along " + std::string(axis) + ": a tile has " + std::to_string(points) +
                     " points along " + axis + ", but the stencil reaches " + std::to_string(width) +
                     " points into the next tile; use fewer tiles along " + axis + " (at least " +
                     std::to_string(width) + " points each)");
  }
}
}  // namespace

HaloExchange::HaloExchange(const Communicator& communicator, const TilePartition& partition, HaloShape shape)
    : communicator_(communicator), partition_(partition), shape_(shape) {
  const TileGrid& grid = partition_.grid();
  RANKINE_ASSERT(partition.ranks() == communicator.size() && partition.rank() == communicator.rank(),
                 "the halo's partition is that of another communicator");
  if (grid.t_tiles() > 1) check_width("t", shape.t, grid.tile_nt());
  if (grid.x_tiles() > 1 || shape.periodic_x) check_width("x", shape.x, grid.tile_nx());

  std::map<int, Partner> partners;
  // Along one axis: where a strip begins in the padded tile and in the tile that it comes from, and its
  // length.
  const auto along = [](int d, std::int64_t width, std::int64_t n, std::int64_t& to, std::int64_t& from,
                        std::int64_t& length) {
    to = d < 0 ? 0 : d == 0 ? width : width + n;
    from = d < 0 ? n - width : 0;
    length = d == 0 ? n : width;
  };
  for (std::int64_t to = 0; to < grid.tiles(); ++to) {
    for (int dt = -1; dt <= 1; ++dt) {
      for (int dx = -1; dx <= 1; ++dx) {
        if ((dt == 0 && dx == 0) || (dt != 0 && shape.t == 0) || (dx != 0 && shape.x == 0)) continue;
        if (dt != 0 && dx != 0 && !shape.corners) continue;
        const auto from = grid.neighbour(to, dt, dx, shape.periodic_x);
        if (!from) continue;
        Strip strip{};
        strip.to = to;
        strip.from = *from;
        along(dt, shape.t, grid.tile_nt(), strip.t_to, strip.t_from, strip.nt);
        along(dx, shape.x, grid.tile_nx(), strip.x_to, strip.x_from, strip.nx);
        if (partition_.is_local(to)) {
          Partner& partner = partners[partition_.owner(*from)];
          strip.offset = partner.incoming_points;
          partner.incoming_points += strip.nt * strip.nx;
          partner.incoming.push_back(strip);
        }
        if (partition_.is_local(*from)) {
          Partner& partner = partners[partition_.owner(to)];
          strip.offset = partner.outgoing_points;
          partner.outgoing_points += strip.nt * strip.nx;
          partner.outgoing.push_back(strip);
        }
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
  const TileGrid& grid = partition_.grid();
  return static_cast<std::size_t>(partition_.local_tiles() * channels * (grid.tile_nt() + 2 * shape_.t) *
                                  (grid.tile_nx() + 2 * shape_.x));
}

template <class Row>
void HaloExchange::rows(const Strip& strip, std::int64_t channels, bool in_padded, const Row& row) const {
  const TileGrid& grid = partition_.grid();
  const std::int64_t nt = in_padded ? grid.tile_nt() + 2 * shape_.t : grid.tile_nt();
  const std::int64_t nx = in_padded ? grid.tile_nx() + 2 * shape_.x : grid.tile_nx();
  const std::int64_t local = (in_padded ? strip.to : strip.from) - partition_.begin();
  const std::int64_t t0 = in_padded ? strip.t_to : strip.t_from, x0 = in_padded ? strip.x_to : strip.x_from;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t t = 0; t < strip.nt; ++t) {
      const std::int64_t in_array = ((local * channels + c) * nt + t0 + t) * nx + x0;
      const std::int64_t in_message = strip.offset * channels + (c * strip.nt + t) * strip.nx;
      row(in_array, in_message, strip.nx);
    }
  }
}

template <class T>
void HaloExchange::exchange(std::span<const T> tiles, std::span<T> padded, std::int64_t channels) const {
  RANKINE_ASSERT(tiles.size() == tile_size(channels) && padded.size() == padded_size(channels),
                 "halo exchange of arrays of another size than its partition's");
  const TileGrid& grid = partition_.grid();
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

  // Copies the interior and fills the edges of the grid while the messages are in progress.
  const std::int64_t nt = grid.tile_nt(), nx = grid.tile_nx(), row = nx + 2 * shape_.x;
  for (std::int64_t plane = 0; plane < partition_.local_tiles() * channels; ++plane) {
    const T* source = tiles.data() + plane * nt * nx;
    T* target = padded.data() + plane * (nt + 2 * shape_.t) * row;
    std::fill_n(target, shape_.t * row, T(0));
    target += shape_.t * row;
    for (std::int64_t t = 0; t < nt; ++t, target += row, source += nx) {
      std::fill_n(target, shape_.x, T(0));
      std::copy_n(source, nx, target + shape_.x);
      std::fill_n(target + shape_.x + nx, shape_.x, T(0));
    }
    std::fill_n(target, shape_.t * row, T(0));
  }

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
  const TileGrid& grid = partition_.grid();
  // The adjoint sends what the forward direction receives, and the other way round.
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

  const std::int64_t nt = grid.tile_nt(), nx = grid.tile_nx(), row = nx + 2 * shape_.x;
  for (std::int64_t plane = 0; plane < partition_.local_tiles() * channels; ++plane) {
    const T* source = padded_bar.data() + plane * (nt + 2 * shape_.t) * row + shape_.t * row + shape_.x;
    T* target = tiles_bar.data() + plane * nt * nx;
    for (std::int64_t t = 0; t < nt; ++t) std::copy_n(source + t * row, nx, target + t * nx);
  }

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
