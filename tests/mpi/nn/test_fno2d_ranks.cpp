// The same bits on any number of ranks: each run is compared with all tiles on one rank, computed in the same
// process.
#include <cstring>

#include "tests/unit/nn/fno_support.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

struct Result {
  Tensor output, gradient, input_gradient;  // [L, B, outputs, ..], [count], [L, B, inputs, ..]
};

Result run(const Fno2dOptions& options, const TilePartition& partition, const SharedTileSum& tiles,
           const Tensor& x, const Tensor& seed) {
  const Fno2d model(options, {partition, tiles, x.shape()[1], seed.shape()[1], true});
  const ParameterSet parameters = model.initial_parameters(7);
  const BoundParameters bound = parameters.bind(tiles);
  const Tensor in = variable(cast(testing::cut_tiles(x, partition), model.dtype()));
  const Tensor y = model.forward(bound, in);
  const auto g = grad({y}, {cast(testing::cut_tiles(seed, partition), model.dtype())}, {bound.flat(), in});
  return {y, g[0], g[1]};
}

void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape().text(), b.shape().text()) << what;
  EXPECT_TRUE(a.detach().to_bytes() == b.detach().to_bytes()) << what;
}

TEST(Fno2dOnRanks, ForwardAndGradientsHaveTheBitsOfOneRank) {
  const Communicator world = Communicator::world();
  for (const TileGrid& grid : {TileGrid(12, 32, 1, 4), TileGrid(12, 30, 2, 3), TileGrid(9, 35, 1, 5)}) {
    for (const char* precision : {"float", "double"}) {
      Fno2dOptions options;
      options.widths = {4, 6, 5};
      options.modes_t = 4;
      options.modes_x = 5;
      options.projection = 9;
      options.precision = precision;
      std::mt19937 rng(1);
      const Tensor x = testing::random_tensor({2, 3, grid.nt(), grid.nx()}, rng);
      const Tensor seed = testing::random_tensor({2, 2, grid.nt(), grid.nx()}, rng);
      const TilePartition mine(grid, world.size(), world.rank());
      const Result shared = run(options, mine, distributed_tile_sum(TileTree(world, mine)), x, seed);
      const Result alone = run(options, TilePartition(grid, 1, 0), local_tile_sum(grid.tiles()), x, seed);
      const std::string what = grid.describe() + " in " + precision;
      expect_same_bits(shared.output, slice(alone.output, 0, mine.begin(), mine.end()), "output of " + what);
      expect_same_bits(shared.gradient, alone.gradient, "gradient of " + what);
      expect_same_bits(shared.input_gradient, slice(alone.input_gradient, 0, mine.begin(), mine.end()),
                       "input gradient of " + what);
    }
  }
}

}  // namespace
}  // namespace rankine
