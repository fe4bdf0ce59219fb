#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "src/comm/halo.hpp"

namespace rankine {
namespace {

constexpr std::int64_t channels = 3, nt = 12, nx = 24;

struct Case {
  std::int64_t t_tiles, x_tiles;
  HaloShape shape;
};

std::string name(const Case& c) {
  return std::to_string(c.t_tiles) + " x " + std::to_string(c.x_tiles) + " tiles, halo " +
         std::to_string(c.shape.t) + " x " + std::to_string(c.shape.x) +
         (c.shape.corners ? ", corners" : "") + (c.shape.periodic_x ? ", periodic" : "");
}

/// Tile counts 1, 2, 3, 4, 6, 8, 12, all widths; thin tiles too, whose points go to both sides.
std::vector<Case> cases(int ranks) {
  std::vector<Case> all;
  for (const auto& [t_tiles, x_tiles] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {1, 2}, {2, 1}, {1, 3}, {2, 2}, {1, 4}, {3, 2}, {6, 1}, {2, 4}, {1, 8}, {3, 4}, {1, 12}}) {
    if (t_tiles * x_tiles < ranks) continue;
    for (int t = 0; t <= 2; ++t) {
      for (int x = 0; x <= 2; ++x) {
        for (const bool corners : {false, true}) {
          for (const bool periodic_x : {false, true})
            all.push_back({t_tiles, x_tiles, {t, x, corners, periodic_x}});
        }
      }
    }
  }
  return all;
}

double value(std::int64_t c, std::int64_t t, std::int64_t x) { return double(1 + x + 100 * t + 10000 * c); }

template <class T>
std::vector<T> random_values(std::size_t n, std::uint32_t seed, bool integers) {
  std::mt19937 random(seed);
  std::vector<T> values(n);
  for (T& v : values)
    v = integers ? static_cast<T>(static_cast<int>(random() % 41) - 20) : static_cast<T>(random()) / T(3);
  return values;
}

template <class T>
class HaloTest : public testing::Test {};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(HaloTest, Numbers);

TYPED_TEST(HaloTest, TilesGetTheirNeighboursPoints) {
  using T = TypeParam;
  const Communicator world = Communicator::world();
  for (const Case& test : cases(world.size())) {
    const TileGrid grid(nt, nx, test.t_tiles, test.x_tiles);
    const TilePartition partition(grid, world.size(), world.rank());
    const HaloShape& shape = test.shape;
    const HaloExchange halo(world, partition, shape);
    std::vector<T> tiles, expected;
    for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
      const TileExtent e = grid.extent(tile);
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t t = e.t_begin; t < e.t_end; ++t) {
          for (std::int64_t x = e.x_begin; x < e.x_end; ++x) tiles.push_back(static_cast<T>(value(c, t, x)));
        }
        for (std::int64_t t = e.t_begin - shape.t; t < e.t_end + shape.t; ++t) {
          for (std::int64_t x = e.x_begin - shape.x; x < e.x_end + shape.x; ++x) {
            const bool corner = (t < e.t_begin || t >= e.t_end) && (x < e.x_begin || x >= e.x_end);
            const bool outside = t < 0 || t >= nt || (!shape.periodic_x && (x < 0 || x >= nx));
            const bool zero = outside || (corner && !shape.corners);
            expected.push_back(zero ? T(0) : static_cast<T>(value(c, t, (x + nx) % nx)));
          }
        }
      }
    }
    ASSERT_EQ(halo.tile_size(channels), tiles.size());
    ASSERT_EQ(halo.padded_size(channels), expected.size());
    std::vector<T> padded(expected.size(), T(-7));
    halo.exchange(std::span<const T>(tiles), std::span<T>(padded), channels);
    EXPECT_EQ(padded, expected) << name(test);
  }
}

TYPED_TEST(HaloTest,
           TheAdjointIsExact) {  // <exchange x, y> == <x, adjoint y>; whole numbers, so without roundoff
  using T = TypeParam;
  const Communicator world = Communicator::world();
  for (const Case& test : cases(world.size())) {
    const TilePartition partition(TileGrid(nt, nx, test.t_tiles, test.x_tiles), world.size(), world.rank());
    const HaloExchange halo(world, partition, test.shape);
    const auto seed = static_cast<std::uint32_t>(7 + world.rank());
    const auto x = random_values<T>(halo.tile_size(channels), seed, true);
    const auto y = random_values<T>(halo.padded_size(channels), seed + 100, true);
    std::vector<T> padded(y.size()), x_bar(x.size(), T(-7));
    halo.exchange(std::span<const T>(x), std::span<T>(padded), channels);
    halo.exchange_adjoint(std::span<const T>(y), std::span<T>(x_bar), channels);
    std::int64_t left = 0, right = 0;
    for (std::size_t i = 0; i < y.size(); ++i) left += static_cast<std::int64_t>(padded[i] * y[i]);
    for (std::size_t i = 0; i < x.size(); ++i) right += static_cast<std::int64_t>(x[i] * x_bar[i]);
    EXPECT_EQ(world.sum(left), world.sum(right)) << name(test);
  }
}

TYPED_TEST(HaloTest, BitsDoNotDependOnTheRanks) {  // against one rank that has all tiles
  using T = TypeParam;
  const Communicator world = Communicator::world();
  const Communicator self = Communicator::self();
  for (const Case& test : cases(world.size())) {
    const TileGrid grid(nt, nx, test.t_tiles, test.x_tiles);
    const TilePartition partition(grid, world.size(), world.rank());
    const HaloExchange halo(world, partition, test.shape),
        serial(self, TilePartition(grid, 1, 0), test.shape);
    const auto all = random_values<T>(serial.padded_size(channels), 3, false);
    std::vector<T> expected(serial.tile_size(channels)), x_bar(halo.tile_size(channels));
    serial.exchange_adjoint(std::span<const T>(all), std::span<T>(expected), channels);
    const std::size_t of_tile = all.size() / static_cast<std::size_t>(grid.tiles());
    const auto own = std::span<const T>(all).subspan(static_cast<std::size_t>(partition.begin()) * of_tile,
                                                     halo.padded_size(channels));
    halo.exchange_adjoint(own, std::span<T>(x_bar), channels);
    const T* own_expected = expected.data() + partition.begin() * channels * grid.tile_points();
    EXPECT_EQ(std::memcmp(x_bar.data(), own_expected, x_bar.size() * sizeof(T)), 0) << name(test);
  }
}

TEST(Halo, AStencilWiderThanATileIsAnInputError) {
  const Communicator self = Communicator::self();
  const TilePartition partition(TileGrid(4, 24, 4, 1), 1, 0);
  try {
    const HaloExchange halo(self, partition, {.t = 2, .x = 1});
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "tiles along t: a tile has 1 points along t, but the stencil reaches 2 points into the next "
                 "tile; use "
                 "fewer tiles along t (at least 2 points each)");
  }
}

TEST(Halo, SendsOneMessageToEachNeighbour) {
  const Communicator world = Communicator::world();
  const TilePartition partition(TileGrid(nt, nx, 1, 12), world.size(), world.rank());
  const HaloExchange halo(world, partition, {.t = 0, .x = 2});
  const std::vector<float> x(halo.tile_size(channels));
  std::vector<float> padded(halo.padded_size(channels));
  reset_traffic();
  halo.exchange(std::span<const float>(x), std::span<float>(padded), channels);
  const int neighbours = (world.rank() > 0) + (world.rank() < world.size() - 1);
  EXPECT_EQ(traffic().messages, neighbours);
  EXPECT_EQ(traffic().bytes, neighbours * channels * nt * 2 * 4);
}

}  // namespace
}  // namespace rankine
