#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/device_info.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

/// The definition, written as plainly as it can be: one value, one recursion.
template <class T>
T tree(const std::vector<T>& values, std::size_t m, std::size_t i, std::int64_t lo, std::int64_t hi) {
  if (lo == hi) return T(0);
  if (hi - lo == 1) return values[static_cast<std::size_t>(lo) * m + i];
  std::int64_t half = 1;
  while (2 * half < hi - lo) half *= 2;
  return tree(values, m, i, lo, lo + half) + tree(values, m, i, lo + half, hi);
}

/// Values of all signs and 60 orders of magnitude, with cancellation between tiles and a few denormals and
/// zeros of both signs: any other order of additions changes bits.
template <class T>
std::vector<T> adversarial(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double mantissa = 1 + static_cast<double>(random()) / 4294967296.0;
    const int exponent = static_cast<int>(random() % 60) - 30;
    values[i] = static_cast<T>(std::ldexp(random() % 2 ? mantissa : -mantissa, exponent));
    if (i > 0 && random() % 4 == 0) values[i] = -values[i - 1] * (1 + std::numeric_limits<T>::epsilon());
    if (random() % 16 == 0) values[i] = std::numeric_limits<T>::denorm_min() * static_cast<T>(random() % 100);
    if (random() % 16 == 0) values[i] = random() % 2 ? T(0) : -T(0);
  }
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
class TileTreeTest : public testing::Test {};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(TileTreeTest, Numbers);

TYPED_TEST(TileTreeTest, SumHasTheBitsOfTheSerialTree) {
  using T = TypeParam;
  const Communicator world = Communicator::world();
  for (const std::int64_t count : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 31, 33}) {
    for (const std::size_t m : {1, 7, 513, 2000}) {
      const auto all =
          adversarial<T>(static_cast<std::size_t>(count) * m, static_cast<unsigned>(count * 31 + 7));
      std::vector<T> expected(m);
      for (std::size_t i = 0; i < m; ++i) expected[i] = tree(all, m, i, 0, count);

      const BlockPartition blocks(count, world.size());
      const TileTree tile_tree(world, blocks);
      const auto first = static_cast<std::size_t>(blocks.begin(world.rank())) * m;
      const auto own =
          std::span<const T>(all).subspan(first, static_cast<std::size_t>(tile_tree.local_count()) * m);
      std::vector<T> sum(m, T(-1)), local(m, T(-1));
      tile_tree.sum(own, std::span<T>(sum));
      tree_sum_local(std::span<const T>(all), count, std::span<T>(local));
      EXPECT_TRUE(same_bits(sum, expected))
          << count << " tiles of " << m << " on " << world.size() << " ranks";
      EXPECT_TRUE(same_bits(local, expected)) << count << " tiles of " << m;

      // The same buffers cut into three parts, one of them empty.
      const std::size_t cut = m / 3, tiles = static_cast<std::size_t>(tile_tree.local_count());
      std::vector<T> left(tiles * cut), right(tiles * (m - cut)), of_parts(m, T(-1));
      for (std::size_t k = 0; k < tiles; ++k) {
        std::copy_n(&own[k * m], cut, left.data() + k * cut);
        std::copy_n(&own[k * m] + cut, m - cut, right.data() + k * (m - cut));
      }
      const std::vector<std::span<const T>> parts{left, {}, right};
      tile_tree.sum_parts(std::span(parts), std::span<T>(of_parts));
      EXPECT_TRUE(same_bits(of_parts, expected)) << count << " tiles of " << m << " in parts";

      // And in device memory, by way of pinned memory where MPI does not reach it.
      const auto on_device = [](const std::vector<T>& v) {
        return Tensor::from(v, {static_cast<std::int64_t>(v.size())});
      };
      const Tensor device_left = on_device(left), device_right = on_device(right);
      const Tensor device_sum = Tensor::full({static_cast<std::int64_t>(m)}, dtype_of<T>, -1);
      const Tensor partial =
          Tensor::empty({tile_tree.partial_sums(), static_cast<std::int64_t>(m)}, dtype_of<T>);
      const DeviceCounters before = device_counters();
      const auto cut_width = static_cast<std::int64_t>(cut);
      tile_tree.sum_parts(
          std::vector<kernels::Part<T>>{{device_left.data<T>(), cut_width},
                                        {device_right.data<T>(), static_cast<std::int64_t>(m) - cut_width}},
          device_sum.data<T>(), partial.data<T>());
      const DeviceCounters after = device_counters();
      const std::int64_t copies =
          after.host_reads - before.host_reads + after.host_writes - before.host_writes;
      if (!kDeviceBuild) {
        EXPECT_EQ(copies > 0, separate_memory() && tile_tree.rounds() > 0);
      }
      std::vector<T> of_device(m);
      copy_to_host(of_device.data(), device_sum.data<T>(), static_cast<std::int64_t>(m));
      EXPECT_TRUE(same_bits(of_device, expected)) << count << " tiles of " << m << " in device memory";
    }
  }
}

TYPED_TEST(TileTreeTest, AnotherOrderHasOtherBits) {  // or the test above would prove nothing
  using T = TypeParam;
  const std::size_t m = 100;
  const std::int64_t count = 12;
  const auto all = adversarial<T>(count * m, 5);
  std::vector<T> sum(m), in_a_row(m, T(0));
  tree_sum_local(std::span<const T>(all), count, std::span<T>(sum));
  for (std::size_t k = 0; k < count; ++k) {
    for (std::size_t i = 0; i < m; ++i) in_a_row[i] += all[k * m + i];
  }
  EXPECT_FALSE(same_bits(sum, in_a_row));
}

TEST(TileTree, FollowsAPartitionOfTiles) {
  const Communicator world = Communicator::world();
  const TileGrid grid(12, 8, 3, 4);
  const TilePartition partition(grid, world.size(), world.rank());
  const TileTree tile_tree(world, partition);
  std::vector<double> values;
  for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile)
    values.push_back(1.0 / (1.0 + double(tile)));
  std::vector<double> all(12), expected(1);
  for (int tile = 0; tile < 12; ++tile) all[static_cast<std::size_t>(tile)] = 1.0 / (1.0 + tile);
  tree_sum_local(std::span<const double>(all), 12, std::span<double>(expected));
  EXPECT_EQ(tile_tree.sum_values(std::span<const double>(values)), expected[0]);
}

TEST(TileTree, TakesLog2RoundsForPowersOfTwo) {
  const Communicator world = Communicator::world();
  if (!std::has_single_bit(static_cast<unsigned>(world.size()))) GTEST_SKIP() << "for 1, 2, 4 ranks";
  const TileTree tile_tree(world, BlockPartition(64, world.size()));
  EXPECT_EQ(tile_tree.rounds(), std::bit_width(static_cast<unsigned>(world.size())) - 1);
  std::vector<float> values(static_cast<std::size_t>(tile_tree.local_count()) * 10, 1.0f), sum(10);
  reset_traffic();
  tile_tree.sum(std::span<const float>(values), std::span<float>(sum));
  EXPECT_EQ(traffic().messages, tile_tree.rounds());
  EXPECT_EQ(traffic().bytes, tile_tree.rounds() * 40);
}

TEST(TileTree, WorksOnPartOfTheRanks) {
  const Communicator world = Communicator::world();
  const Communicator part = world.split(world.rank() % 2, -world.rank());
  const TileTree tile_tree(part, BlockPartition(6, part.size()));
  std::vector<double> values(static_cast<std::size_t>(tile_tree.local_count()), 0.1 * (1 + world.rank() % 2));
  const std::vector<double> all(6, 0.1 * (1 + world.rank() % 2));
  double expected = 0;
  tree_sum_local(std::span<const double>(all), 6, std::span<double>(&expected, 1));
  EXPECT_EQ(tile_tree.sum_values(std::span<const double>(values)), expected);
}

TEST(TileTree, CarriesNotANumber) {
  const Communicator world = Communicator::world();
  const BlockPartition blocks(8, world.size());
  const TileTree tile_tree(world, blocks);
  std::vector<double> values;
  for (auto i = blocks.begin(world.rank()); i < blocks.end(world.rank()); ++i) {
    values.push_back(i == 5 ? std::numeric_limits<double>::quiet_NaN() : 1.0);
  }
  EXPECT_TRUE(std::isnan(tile_tree.sum_values(std::span<const double>(values))));
}

}  // namespace
}  // namespace rankine
