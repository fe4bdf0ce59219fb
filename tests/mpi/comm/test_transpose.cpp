#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "src/comm/transpose.hpp"

namespace rankine {
namespace {

constexpr std::int64_t channels = 2;

/// Needs more digits than a float has where From is double.
template <class T>
T value(std::int64_t b, std::int64_t c, std::int64_t point) {
  return static_cast<T>(1.0 / 3.0 + double(point + 1000 * c + 10000 * b));
}

template <class Pair>
class TransposeTest : public testing::Test {};
using Pairs = testing::Types<std::pair<float, float>, std::pair<float, double>, std::pair<double, float>,
                             std::pair<double, double>>;
TYPED_TEST_SUITE(TransposeTest, Pairs);

TYPED_TEST(TransposeTest, MovesEveryValueAndBack) {
  using TileType = typename TypeParam::first_type;
  using SampleType = typename TypeParam::second_type;
  using Shorter = std::conditional_t<(sizeof(TileType) < sizeof(SampleType)), TileType, SampleType>;
  const Communicator world = Communicator::world();
  std::vector<TileGrid> grids;
  for (const PerAxis& tiles : {PerAxis{1, 1}, {1, 2}, {3, 1}, {1, 4}, {3, 2}, {2, 4}, {3, 4}})
    grids.emplace_back(PerAxis{6, 8}, tiles);
  for (const PerAxis& tiles : {PerAxis{1, 1, 1}, {1, 2, 3}, {3, 1, 2}})
    grids.emplace_back(PerAxis{3, 4, 6}, tiles);
  grids.push_back({{2, 4, 3, 6}, {2, 2, 1, 3}});
  for (const TileGrid& grid : grids) {
    if (grid.tiles() < world.size()) continue;
    const std::int64_t points = grid.tiles() * grid.tile_points();
    const TilePartition partition(grid, world.size(), world.rank());
    const SampleTranspose transpose(world, partition);
    for (const std::int64_t batch : {0, 1, 3, 4, 7}) {  // fewer samples than ranks as well
      std::vector<TileType> tiles;
      for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
        const TileExtent e = grid.extent(tile);
        for (std::int64_t b = 0; b < batch; ++b) {
          for (std::int64_t c = 0; c < channels; ++c) {
            over_rows(0, grid.points(), e.begin, grid.tile_shape(), [&](std::int64_t row) {
              for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i)
                tiles.push_back(value<TileType>(b, c, row + i));
            });
          }
        }
      }
      std::vector<SampleType> expected;
      const BlockPartition samples = transpose.samples(batch);
      for (std::int64_t b = samples.begin(world.rank()); b < samples.end(world.rank()); ++b) {
        for (std::int64_t c = 0; c < channels; ++c) {
          for (std::int64_t p = 0; p < points; ++p)
            expected.push_back(static_cast<SampleType>(static_cast<Shorter>(value<TileType>(b, c, p))));
        }
      }
      ASSERT_EQ(tiles.size(), transpose.tiles_size(batch, channels));
      ASSERT_EQ(expected.size(), transpose.samples_size(batch, channels));
      std::vector<SampleType> whole(expected.size());
      transpose.to_samples(std::span<const TileType>(tiles), std::span<SampleType>(whole), batch, channels);
      EXPECT_EQ(whole, expected) << grid.describe() << ", " << batch << " samples";

      std::vector<TileType> back(tiles.size());
      transpose.to_tiles(std::span<const SampleType>(whole), std::span<TileType>(back), batch, channels);
      for (TileType& v : tiles) v = static_cast<TileType>(static_cast<Shorter>(v));
      EXPECT_EQ(back, tiles) << grid.describe() << ", " << batch << " samples";
    }
  }
}

}  // namespace
}  // namespace rankine
