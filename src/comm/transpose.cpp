#include "src/comm/transpose.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/error.hpp"

namespace rankine {

namespace {

template <class From, class To>
using Shorter = std::conditional_t<(sizeof(From) < sizeof(To)), From, To>;

template <class From, class To>
void convert(const From* from, std::int64_t n, To* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}

/// For each rank the number of values of its samples on this rank's tiles, and of this rank's samples on its
/// tiles. From tiles to samples, the first are sent and the second received.
struct Counts {
  std::vector<std::size_t> of_my_tiles, of_my_samples;
  std::size_t tiles_total = 0, samples_total = 0;

  Counts(const TilePartition& partition, const BlockPartition& samples, std::int64_t channels) {
    const std::int64_t tile = channels * partition.grid().tile_points();
    for (int r = 0; r < partition.ranks(); ++r) {
      const std::int64_t their_tiles = partition.end(r) - partition.begin(r);
      of_my_tiles.push_back(static_cast<std::size_t>(partition.local_tiles() * samples.size(r) * tile));
      of_my_samples.push_back(static_cast<std::size_t>(their_tiles * samples.size(partition.rank()) * tile));
    }
    tiles_total = std::accumulate(of_my_tiles.begin(), of_my_tiles.end(), std::size_t{0});
    samples_total = std::accumulate(of_my_samples.begin(), of_my_samples.end(), std::size_t{0});
  }
};

/// Calls block(in_message, in_tiles, n) for each run of values that is contiguous in messages and tiles: the
/// samples of one rank on one tile. Messages are ordered by rank, then by tile.
template <class Block>
void over_tile_blocks(const TilePartition& partition, const BlockPartition& samples, std::int64_t channels,
                      const Block& block) {
  const std::int64_t sample = channels * partition.grid().tile_points();
  std::int64_t message = 0;
  for (int r = 0; r < partition.ranks(); ++r) {
    const std::int64_t n = samples.size(r) * sample;
    for (std::int64_t tile = 0; tile < partition.local_tiles(); ++tile, message += n) {
      block(message, (tile * samples.count() + samples.begin(r)) * sample, n);
    }
  }
}

/// Calls row(in_message, in_samples, n) for each row of n points of each tile, for each sample of this rank.
template <class Row>
void over_sample_rows(const TilePartition& partition, const BlockPartition& samples, std::int64_t channels,
                      const Row& row) {
  const TileGrid& grid = partition.grid();
  const std::int64_t planes = samples.size(partition.rank()) * channels;
  std::int64_t message = 0;
  // By rank, then tile, because ranges are contiguous.
  for (std::int64_t tile = 0; tile < grid.tiles(); ++tile) {
    const TileExtent extent = grid.extent(tile);
    for (std::int64_t plane = 0; plane < planes; ++plane)
      over_rows(plane, grid.points(), extent.begin, grid.tile_shape(), [&](std::int64_t at) {
        row(message, at, grid.tile_shape().back());
        message += grid.tile_shape().back();
      });
  }
}

}  // namespace

SampleTranspose::SampleTranspose(const Communicator& communicator, const TilePartition& partition)
    : communicator_(communicator), partition_(partition) {
  RANKINE_ASSERT(partition.ranks() == communicator.size() && partition.rank() == communicator.rank(),
                 "the transpose's partition is that of another communicator");
}

std::size_t SampleTranspose::tiles_size(std::int64_t batch, std::int64_t channels) const {
  return static_cast<std::size_t>(partition_.local_tiles() * batch * channels *
                                  partition_.grid().tile_points());
}

std::size_t SampleTranspose::samples_size(std::int64_t batch, std::int64_t channels) const {
  const TileGrid& grid = partition_.grid();
  return static_cast<std::size_t>(local_samples(batch) * channels * grid.tiles() * grid.tile_points());
}

template <class From, class To>
void SampleTranspose::to_samples(std::span<const From> tiles, std::span<To> samples, std::int64_t batch,
                                 std::int64_t channels) const {
  RANKINE_ASSERT(
      tiles.size() == tiles_size(batch, channels) && samples.size() == samples_size(batch, channels),
      "transpose of arrays of another size than its partition's");
  using Wire = Shorter<From, To>;
  const BlockPartition blocks = this->samples(batch);
  const Counts counts(partition_, blocks, channels);
  std::vector<Wire> out(counts.tiles_total), in(counts.samples_total);
  over_tile_blocks(partition_, blocks, channels, [&](std::int64_t message, std::int64_t at, std::int64_t n) {
    convert(tiles.data() + at, n, out.data() + message);
  });
  communicator_.all_to_all(std::span<const Wire>(out), counts.of_my_tiles, std::span<Wire>(in),
                           counts.of_my_samples);
  over_sample_rows(partition_, blocks, channels, [&](std::int64_t message, std::int64_t at, std::int64_t n) {
    convert(in.data() + message, n, samples.data() + at);
  });
}

template <class From, class To>
void SampleTranspose::to_tiles(std::span<const From> samples, std::span<To> tiles, std::int64_t batch,
                               std::int64_t channels) const {
  RANKINE_ASSERT(
      tiles.size() == tiles_size(batch, channels) && samples.size() == samples_size(batch, channels),
      "transpose of arrays of another size than its partition's");
  using Wire = Shorter<From, To>;
  const BlockPartition blocks = this->samples(batch);
  const Counts counts(partition_, blocks, channels);
  std::vector<Wire> out(counts.samples_total), in(counts.tiles_total);
  over_sample_rows(partition_, blocks, channels, [&](std::int64_t message, std::int64_t at, std::int64_t n) {
    convert(samples.data() + at, n, out.data() + message);
  });
  communicator_.all_to_all(std::span<const Wire>(out), counts.of_my_samples, std::span<Wire>(in),
                           counts.of_my_tiles);
  over_tile_blocks(partition_, blocks, channels, [&](std::int64_t message, std::int64_t at, std::int64_t n) {
    convert(in.data() + message, n, tiles.data() + at);
  });
}

#define RANKINE_INSTANTIATE(From, To)                                                                       \
  template void SampleTranspose::to_samples(std::span<const From>, std::span<To>, std::int64_t,             \
                                            std::int64_t) const;                                            \
  template void SampleTranspose::to_tiles(std::span<const From>, std::span<To>, std::int64_t, std::int64_t) \
      const;
RANKINE_INSTANTIATE(float, float)
RANKINE_INSTANTIATE(float, double)
RANKINE_INSTANTIATE(double, float)
RANKINE_INSTANTIATE(double, double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine
