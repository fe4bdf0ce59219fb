// Fields of tiles to whole samples and back, in device memory: every value at its place on any number of
// ranks, and the backward pass the inverse.
#include <functional>

#include <gtest/gtest.h>

#include "src/experts/sample_fields.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

/// Needs more digits than a float has; `point` is the number of a point of the grid.
double value(std::int64_t b, std::int64_t c, std::int64_t point) {
  return 1.0 / 3.0 + static_cast<double>(point + 1000 * c + 10000 * b);
}

const TileGrid grids[] = {
    {6, 8, 1, 1},
    {6, 8, 3, 1},
    {6, 8, 1, 4},
    {6, 8, 3, 2},
    {6, 8, 2, 4},
    {6, 8, 3, 4},
    TileGrid({2, 6, 4}, {1, 2, 2}),
    TileGrid({4, 3, 6}, {2, 3, 2}),
    TileGrid({1, 4, 6}, {1, 4, 1}),
    TileGrid({2, 4, 3, 6}, {2, 2, 1, 2}),
    TileGrid({2, 4, 4, 6}, {1, 2, 4, 3}),
};

TEST(SampleFields, MovesEveryValueAndBack) {
  const Communicator world = Communicator::world();
  for (const TileGrid& grid : grids) {
    if (grid.tiles() < world.size()) continue;
    const TilePartition partition(grid, world.size(), world.rank());
    const SampleTranspose transpose(world, partition);
    const std::int64_t points = grid.tiles() * grid.tile_points(), nt = grid.points()[0];
    for (const std::int64_t batch : {1, 3, 7})  // fewer samples than ranks as well
      for (const std::int64_t channels : {1, 2})
        for (const DType type : {DType::f32, DType::f64}) {
          std::vector<double> of_tiles, of_samples;
          for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile)
            for (std::int64_t b = 0; b < batch; ++b)
              for (std::int64_t c = 0; c < channels; ++c)
                over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(),
                          [&](std::int64_t first) {
                            for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i)
                              of_tiles.push_back(value(b, c, first + i));
                          });
          const BlockPartition samples = transpose.samples(batch);
          for (std::int64_t b = samples.begin(world.rank()); b < samples.end(world.rank()); ++b)
            for (std::int64_t p = 0; p < points; ++p)
              for (std::int64_t c = 0; c < channels; ++c) of_samples.push_back(value(b, c, p));
          std::vector<std::int64_t> shape{partition.local_tiles(), batch, channels};
          shape.insert(shape.end(), grid.tile_shape().begin(), grid.tile_shape().end());
          const Tensor tiles = Tensor::from(of_tiles, Shape(shape));
          const Tensor whole =
              Tensor::from(of_samples, {transpose.local_samples(batch), nt, points / nt, channels});
          const Tensor rounded = cast(cast(whole, type), DType::f64);
          const Tensor fields = variable(cast(tiles, type));
          const Tensor found = tiles_to_samples(fields, transpose);
          EXPECT_EQ(found.shape(), whole.shape());
          EXPECT_EQ(found.to_vector(), rounded.to_vector());
          const Tensor back = grad({found}, {whole}, {fields}).front();
          EXPECT_EQ(back.dtype(), type);
          EXPECT_EQ(back.to_vector(), cast(tiles, type).to_vector());
        }
  }
}

}  // namespace
}  // namespace rankine
