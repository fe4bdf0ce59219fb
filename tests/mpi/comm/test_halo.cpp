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
  TileGrid grid;
  HaloShape shape;
};

std::string name(const Case& c) {
  std::string text = c.grid.describe() + ", halo";
  for (std::size_t a = 0; a < c.shape.width.size(); ++a)
    text += " " + std::to_string(c.shape.width[a]) + (c.shape.periodic[a] ? " periodic" : "");
  return text + ", along " + std::to_string(c.shape.diagonal) + " axes at once";
}

/// In t and x, tile counts 1, 2, 3, 4, 6, 8, 12, all widths; thin tiles too, whose points go to both sides.
/// In t, x and y, and in t, x, y and z, faces, edges and corners.
std::vector<Case> cases(int ranks) {
  std::vector<Case> all;
  const auto add = [&](const TileGrid& grid, const HaloShape& shape) {
    if (grid.tiles() >= ranks) all.push_back({grid, shape});
  };
  for (const auto& [t_tiles, x_tiles] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {1, 2}, {2, 1}, {1, 3}, {2, 2}, {1, 4}, {3, 2}, {6, 1}, {2, 4}, {1, 8}, {3, 4}, {1, 12}}) {
    for (int t = 0; t <= 2; ++t) {
      for (int x = 0; x <= 2; ++x) {
        for (const int diagonal : {1, 2}) {
          for (const bool periodic_x : {false, true})
            add({nt, nx, t_tiles, x_tiles}, {{t, x}, {false, periodic_x}, diagonal});
        }
      }
    }
  }
  for (const PerAxis& tiles : {PerAxis{1, 1, 1}, {1, 2, 2}, {2, 1, 3}, {2, 2, 3}})
    for (const int diagonal : {1, 2, 3})
      for (const bool periodic : {false, true}) {
        add({{4, 6, 6}, tiles}, {{1, 1, 2}, {false, periodic, periodic}, diagonal});
        add({{4, 6, 6}, tiles}, {{0, 2, 1}, {false, periodic, !periodic}, diagonal});
      }
  for (const PerAxis& tiles : {PerAxis{1, 1, 1, 1}, {1, 2, 1, 2}, {2, 2, 2, 3}})
    for (const int diagonal : {1, 2, 3, 4})
      for (const bool periodic : {false, true})
        add({{2, 4, 4, 6}, tiles}, {{1, 1, 1, 2}, {periodic, false, periodic, periodic}, diagonal});
  return all;
}

/// Calls point(at) for all points from begin to end, the last axis fastest.
template <class Point>
void over_points(const PerAxis& begin, const PerAxis& end, const Point& point) {
  PerAxis at(begin);
  const auto descend = [&](const auto& self, std::size_t axis) -> void {
    if (axis == at.size()) return point(at);
    for (at[axis] = begin[axis]; at[axis] < end[axis]; ++at[axis]) self(self, axis + 1);
  };
  descend(descend, 0);
}

double value(std::int64_t c, const PerAxis& at) {
  double sum = 1 + 10000 * double(c), scale = 1;
  for (std::size_t a = at.size(); a-- > 0; scale *= at.size() == 2 ? 100 : 10) sum += scale * double(at[a]);
  return sum;
}

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
    const TileGrid& grid = test.grid;
    const TilePartition partition(grid, world.size(), world.rank());
    const HaloShape& shape = test.shape;
    const HaloExchange halo(world, partition, shape);
    std::vector<T> tiles, expected;
    for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
      const TileExtent e = grid.extent(tile);
      TileExtent wide = e;
      for (std::size_t a = 0; a < e.begin.size(); ++a) {
        wide.begin[a] -= shape.width[a];
        wide.end[a] += shape.width[a];
      }
      for (std::int64_t c = 0; c < channels; ++c) {
        over_points(e.begin, e.end,
                    [&](const PerAxis& at) { tiles.push_back(static_cast<T>(value(c, at))); });
        over_points(wide.begin, wide.end, [&](PerAxis at) {
          int along = 0;
          bool outside = false;
          for (std::size_t a = 0; a < at.size(); ++a) {
            const std::int64_t n = grid.points()[a];
            along += at[a] < e.begin[a] || at[a] >= e.end[a];
            outside = outside || (!shape.periodic[a] && (at[a] < 0 || at[a] >= n));
            at[a] = (at[a] + n) % n;
          }
          expected.push_back(outside || along > shape.diagonal ? T(0) : static_cast<T>(value(c, at)));
        });
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
    const TilePartition partition(test.grid, world.size(), world.rank());
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
    const TileGrid& grid = test.grid;
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
    const HaloExchange halo(self, partition, {.width = {2, 1}});
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
  const HaloExchange halo(world, partition, {.width = {0, 2}});
  const std::vector<float> x(halo.tile_size(channels));
  std::vector<float> padded(halo.padded_size(channels));
  reset_traffic();
  halo.exchange(std::span<const float>(x), std::span<float>(padded), channels);
  const int neighbours = (world.rank() > 0) + (world.rank() < world.size() - 1);
  EXPECT_EQ(traffic().messages, neighbours);
  EXPECT_EQ(traffic().bytes, neighbours * channels * nt * 2 * 4);
}

// Four tiles along x in rows of two along y: ranks of two and four own whole rows, which have two faces each.
TEST(Halo, SendsTheFacesOfASlabInOneMessageEach) {
  const Communicator world = Communicator::world();
  if (world.size() == 3) return;  // its tiles make no slabs
  const TilePartition partition(TileGrid({3, 8, 10}, {1, 4, 2}), world.size(), world.rank());
  const HaloExchange halo(world, partition, {.width = {0, 1, 1}});
  const std::vector<double> x(halo.tile_size(channels));
  std::vector<double> padded(halo.padded_size(channels));
  reset_traffic();
  halo.exchange(std::span<const double>(x), std::span<double>(padded), channels);
  const int neighbours = (world.rank() > 0) + (world.rank() < world.size() - 1);
  EXPECT_EQ(traffic().messages, neighbours);
  EXPECT_EQ(traffic().bytes, neighbours * channels * 3 * 10 * 8);
}

}  // namespace
}  // namespace rankine
