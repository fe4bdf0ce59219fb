// Fields of tiles to whole samples and back, in device memory: every value at its place on any number of
// ranks, and the backward pass the inverse.
#include <functional>

#include <gtest/gtest.h>

#include "src/experts/sample_fields.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

constexpr std::int64_t nt = 6, nx = 8;

/// Needs more digits than a float has.
double value(std::int64_t b, std::int64_t c, std::int64_t t, std::int64_t x) {
  return 1.0 / 3.0 + static_cast<double>(x + 10 * t + 100 * c + 1000 * b);
}

TEST(SampleFields, MovesEveryValueAndBack) {
  const Communicator world = Communicator::world();
  for (const auto& [t_tiles, x_tiles] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 1}, {1, 4}, {3, 2}, {2, 4}, {3, 4}}) {
    if (t_tiles * x_tiles < world.size()) continue;
    const TileGrid grid(nt, nx, t_tiles, x_tiles);
    const TilePartition partition(grid, world.size(), world.rank());
    const SampleTranspose transpose(world, partition);
    for (const std::int64_t batch : {1, 3, 7})  // fewer samples than ranks as well
      for (const std::int64_t channels : {1, 2})
        for (const DType type : {DType::f32, DType::f64}) {
          std::vector<double> of_tiles, of_samples;
          for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
            const TileExtent e = grid.extent(tile);
            for (std::int64_t b = 0; b < batch; ++b)
              for (std::int64_t c = 0; c < channels; ++c)
                for (std::int64_t t = e.begin[0]; t < e.end[0]; ++t)
                  for (std::int64_t x = e.begin[1]; x < e.end[1]; ++x) of_tiles.push_back(value(b, c, t, x));
          }
          const BlockPartition samples = transpose.samples(batch);
          for (std::int64_t b = samples.begin(world.rank()); b < samples.end(world.rank()); ++b)
            for (std::int64_t t = 0; t < nt; ++t)
              for (std::int64_t x = 0; x < nx; ++x)
                for (std::int64_t c = 0; c < channels; ++c) of_samples.push_back(value(b, c, t, x));
          const Tensor tiles = Tensor::from(
              of_tiles, {partition.local_tiles(), batch, channels, grid.tile_nt(), grid.tile_nx()});
          const Tensor whole = Tensor::from(of_samples, {transpose.local_samples(batch), nt, nx, channels});
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
