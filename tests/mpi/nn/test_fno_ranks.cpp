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

Result run(const FnoOptions& options, const TilePartition& partition, const SharedTileSum& tiles,
           const Tensor& x, const Tensor& seed) {
  const Fno model(options, {partition, tiles, x.shape()[1], seed.shape()[1], true});
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

/// [2, channels, points of the grid].
Tensor random_fields(const TileGrid& grid, std::int64_t channels, std::mt19937& rng) {
  Shape shape{2, channels};
  for (const std::int64_t n : grid.points()) shape.push_back(n);
  return testing::random_tensor(shape, rng);
}

TEST(FnoOnRanks, ForwardAndGradientsHaveTheBitsOfOneRank) {
  const Communicator world = Communicator::world();
  for (const auto& [grid, modes] : std::vector<std::pair<TileGrid, std::vector<int>>>{
           {TileGrid(12, 32, 1, 4), {4, 5}},
           {TileGrid(12, 30, 2, 3), {4, 5}},
           {TileGrid(9, 35, 1, 5), {4, 5}},
           {TileGrid({6, 8, 9}, {2, 2, 3}), {3, 2, 4}},
           {TileGrid({1, 8, 12}, {1, 4, 3}), {1, 3, 4}},
           {TileGrid({4, 6, 4, 6}, {1, 3, 2, 2}), {2, 2, 1, 3}}}) {
    for (const char* precision : {"float", "double"}) {
      FnoOptions options;
      options.widths = {4, 6, 5};
      options.modes = modes;
      options.projection = 9;
      options.precision = precision;
      std::mt19937 rng(1);
      const Tensor x = random_fields(grid, 3, rng), seed = random_fields(grid, 2, rng);
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

// What a layer sends, in a forward and a backward pass: as much on tiles of eight times the points.
TEST(FnoOnRanks, ALayerSendsItsCoefficientsAlone) {
  const Communicator world = Communicator::world();
  std::vector<Traffic> sent;
  for (const std::int64_t n : {1, 2}) {
    const TileGrid grid({4 * n, 4 * n, 8 * n}, {1, 2, 2});
    const TilePartition mine(grid, world.size(), world.rank());
    const SharedTileSum tiles = distributed_tile_sum(TileTree(world, mine));
    const auto spectrum = std::make_shared<TileSpectrum>(mine, tiles, PerAxis{2, 1, 3});
    std::mt19937 rng(2);
    const Tensor z = variable(testing::cut_tiles(random_fields(grid, 3, rng), mine)),
                 spectral = variable(testing::random_tensor({3, 5, 2, spectrum->modes.count()}, rng)),
                 weight = testing::random_tensor({mine.local_tiles(), 5, 3}, rng),
                 bias = testing::random_tensor({mine.local_tiles(), 5}, rng);
    reset_traffic();
    const Tensor y = fourier_layer(z, spectral, weight, bias, true, spectrum);
    sent.push_back(traffic());
    grad({y}, {testing::random_tensor(y.shape(), rng)}, {z, spectral});
    sent.push_back(traffic());
  }
  for (const std::size_t pass : {0, 1}) {
    EXPECT_EQ(sent[pass].messages, sent[pass + 2].messages);
    EXPECT_EQ(sent[pass].bytes, sent[pass + 2].bytes);
  }
  if (world.size() > 2) return;  // then a rank's place in the tree decides
  const std::int64_t coefficients = std::int64_t{5} * 3 * 6, messages = world.size() - 1;
  EXPECT_EQ(sent[0].messages, messages);
  EXPECT_EQ(sent[0].bytes, messages * 2 * 3 * coefficients * 8);
  EXPECT_EQ(sent[1].messages, 2 * messages);
  EXPECT_EQ(sent[1].bytes, messages * 2 * (3 + 5) * coefficients * 8);
}

}  // namespace
}  // namespace rankine
