#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {
namespace {

std::string input_error(const std::function<void()>& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(BlockPartition, IsContiguousAndBalanced) {
  for (const std::int64_t count : {0, 1, 5, 12, 13}) {
    for (const int parts : {1, 2, 3, 4, 7}) {
      const BlockPartition blocks(count, parts);
      EXPECT_EQ(blocks.begin(0), 0);
      EXPECT_EQ(blocks.end(parts - 1), count);
      for (int part = 0; part < parts; ++part) {
        EXPECT_LE(blocks.size(0) - blocks.size(part), 1);
        EXPECT_GE(blocks.size(0) - blocks.size(part), 0);
        for (std::int64_t i = blocks.begin(part); i < blocks.end(part); ++i) EXPECT_EQ(blocks.owner(i), part);
      }
    }
  }
}

TEST(TileGrid, NumbersTilesAlongXFirst) {
  const TileGrid grid(6, 20, 3, 4);
  EXPECT_EQ(grid.tiles(), 12);
  EXPECT_EQ(grid.tile_points(), 10);
  EXPECT_EQ(grid.number({2, 1}), 9);
  EXPECT_EQ(grid.index(9), (PerAxis{2, 1}));
  EXPECT_EQ(grid.extent(9), (TileExtent{{4, 5}, {6, 10}}));
  EXPECT_EQ(grid.describe(), "3 x 4 tiles of 2 x 5 points");
  EXPECT_EQ(grid.neighbour(9, {-1, 1}), 6);
  EXPECT_EQ(grid.neighbour(9, {1, 0}), std::nullopt);
  EXPECT_EQ(grid.neighbour(8, {0, -1}), std::nullopt);
  EXPECT_EQ(grid.neighbour(8, {0, -1}, {false, true}), 11);
}

// Every tile of t and three space axes: its number, its points, which no other tile has, and its neighbours.
TEST(TileGrid, CutsUpToThreeSpaceAxes) {
  const TileGrid grid({6, 4, 10, 3}, {3, 2, 5, 1});
  EXPECT_EQ(grid.axes(), 4);
  EXPECT_EQ(grid.tiles(), 30);
  EXPECT_EQ(grid.tile_points(), 24);
  EXPECT_EQ(grid.describe(), "3 x 2 x 5 x 1 tiles of 2 x 2 x 2 x 3 points");
  std::vector<int> owners(720);
  for (std::int64_t tile = 0; tile < grid.tiles(); ++tile) {
    const PerAxis at = grid.index(tile);
    EXPECT_EQ(grid.number(at), tile);
    EXPECT_EQ(tile, (at[0] * 2 + at[1]) * 5 + at[2]);
    over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(), [&](std::int64_t row) {
      for (std::int64_t i = 0; i < 3; ++i) ++owners[static_cast<std::size_t>(row + i)];
    });
  }
  EXPECT_EQ(owners, std::vector<int>(720, 1));
  const std::int64_t tile = grid.number({1, 1, 4, 0});
  EXPECT_EQ(grid.extent(tile), (TileExtent{{2, 2, 8, 0}, {4, 4, 10, 3}}));
  EXPECT_EQ(grid.neighbour(tile, {1, -1, -2, 0}), grid.number({2, 0, 2, 0}));
  EXPECT_EQ(grid.neighbour(tile, {0, 0, 1, 0}), std::nullopt);
  EXPECT_EQ(grid.neighbour(tile, {0, 0, 1, 1}, {false, false, true, true}), grid.number({1, 1, 0, 0}));
}

TEST(TileGrid, SaysWhichTilesAreAllowed) {
  EXPECT_EQ(input_error([] { TileGrid(100, 256, 1, 5); }),
            "tiles along x: 5 does not divide the grid's 256 points along x into equal tiles; allowed: 1, 2, "
            "4, 8, 16, "
            "32, 64, 128, 256");
  EXPECT_EQ(input_error([] { TileGrid(100, 256, 0, 4); }),
            "tiles along t: 0 does not divide the grid's 100 points along t into equal tiles; allowed: 1, 2, "
            "4, 5, 10, "
            "20, 25, 50, 100");
  EXPECT_EQ(
      input_error([] { TileGrid(101, 256, 2, 4); }),
      "tiles along t: 2 does not divide the grid's 101 points along t into equal tiles; allowed: 1, 101");
  EXPECT_EQ(input_error([] { TileGrid(1, 720, 1, 7); }),
            "tiles along x: 7 does not divide the grid's 720 points along x into equal tiles; allowed: 1, 2, "
            "3, 4, 5, "
            "6, 8, 9, 10, 12, 15, 16 (the nearest)");
  EXPECT_EQ(
      input_error([] {
        TileGrid({4, 8, 8, 9}, {1, 2, 4, 2});
      }),
      "tiles along z: 2 does not divide the grid's 9 points along z into equal tiles; allowed: 1, 3, 9");
  EXPECT_EQ(input_error([] { TileGrid(0, 8, 1, 1); }), "grid along t: 0 points; it needs at least 1");
}

TEST(TilePartition, NeedsATileForEachRank) {
  const TileGrid grid(6, 20, 1, 4);
  EXPECT_EQ(input_error([&] { TilePartition(grid, 6, 0); }),
            "6 ranks for 4 tiles (1 along t, 4 along x): every rank needs a tile; start 4 ranks at most "
            "(mpirun -n 4), "
            "or divide the grid into more tiles");
  EXPECT_EQ(
      input_error([&] {
        TilePartition(TileGrid({2, 4, 4}, {1, 2, 2}), 5, 0);
      }),
      "5 ranks for 4 tiles (1 along t, 2 along x, 2 along y): every rank needs a tile; start 4 ranks at most "
      "(mpirun -n 4), or divide the grid into more tiles");
  const TilePartition partition(grid, 3, 1);
  EXPECT_EQ(partition.begin(), 2);
  EXPECT_EQ(partition.end(), 3);
  EXPECT_EQ(partition.owner(1), 0);
  EXPECT_TRUE(partition.is_local(2));
  EXPECT_FALSE(partition.is_local(3));
}

}  // namespace
}  // namespace rankine
