// Copies between boxes of ranks: every value at its place, also beyond the ends of rings, and the adjoint sum.
#include <gtest/gtest.h>

#include "src/comm/boxes.hpp"

namespace rankine {
namespace {

struct Case {
  TileGrid from, to;
  std::int64_t margin;
  bool ring;
};
const Case cases[] = {
    {{4, 12, 1, 4}, {4, 12, 1, 4}, 0, false},
    {{4, 12, 2, 4}, {4, 12, 1, 2}, 2, false},
    {{4, 12, 1, 4}, {4, 12, 1, 4}, 4, true},
    {{4, 12, 1, 6}, {4, 12, 1, 3}, 3, true},
    {TileGrid({2, 6, 8}, {1, 2, 4}), TileGrid({2, 6, 8}, {1, 2, 2}), 1, true},
    {TileGrid({2, 6, 8}, {2, 1, 4}), TileGrid({2, 6, 8}, {1, 3, 4}), 2, false},
    {TileGrid({2, 4, 4, 6}, {1, 2, 2, 2}), TileGrid({2, 4, 4, 6}, {1, 2, 1, 3}), 1, true},
};

/// Boxes of a grid's tiles, wider by `margin` along each axis but t.
OwnedBoxes widened(const Case& c, int ranks) {
  OwnedBoxes out;
  const PerAxis points = c.to.points();
  for (std::int64_t tile = 0; tile < c.to.tiles(); ++tile) {
    GridBox box{c.to.extent(tile).begin, c.to.tile_shape()};
    for (std::size_t axis = 1; axis < points.size(); ++axis) {
      std::int64_t begin = box.begin[axis] - c.margin, end = box.begin[axis] + box.size[axis] + c.margin;
      if (!c.ring) {
        begin = std::max<std::int64_t>(begin, 0);
        end = std::min(end, points[axis]);
      } else if (end - begin >= points[axis]) {
        begin = 0;
        end = points[axis];
      }
      box.begin[axis] = begin;
      box.size[axis] = end - begin;
    }
    out.boxes.push_back(box);
    out.owner.push_back(static_cast<int>(tile * 7 % ranks));  // in any order
  }
  return out;
}

/// Calls point(number in the grid) for all points of a box, in order.
template <class Point>
void over_points(const GridBox& box, const PerAxis& points, const Point& point) {
  const auto descend = [&](const auto& self, std::size_t axis, std::int64_t before) -> void {
    for (std::int64_t i = 0; i < box.size[axis]; ++i) {
      const std::int64_t n = points[axis], at = before * n + (box.begin[axis] + i + n) % n;
      if (axis + 1 == points.size())
        point(at);
      else
        self(self, axis + 1, at);
    }
  };
  descend(descend, 0, 0);
}

TEST(Boxes, EveryValueAtItsPlaceAndItsCopiesSummed) {
  const Communicator world = Communicator::world();
  constexpr std::int64_t channels = 3;
  for (const Case& c : cases) {
    if (c.from.tiles() < world.size()) continue;
    const PerAxis points = c.from.points();
    const std::int64_t all = c.from.tiles() * c.from.tile_points();
    const OwnedBoxes from = tiles_as_boxes(TilePartition(c.from, world.size(), world.rank())),
                     to = widened(c, world.size());
    const auto value = [&](std::int64_t channel, std::int64_t point) {
      return 1.0 / 3 + static_cast<double>(point + 1000 * channel);
    };
    const auto filled = [&](const OwnedBoxes& boxes, const auto& of) {
      std::vector<double> out;
      for (const int k : boxes.of_rank(world.rank()))
        for (std::int64_t channel = 0; channel < channels; ++channel)
          over_points(boxes.boxes[k], points, [&](std::int64_t p) { out.push_back(of(channel, p, k)); });
      return out;
    };
    const auto plain = [&](std::int64_t channel, std::int64_t p, int) { return value(channel, p); };
    const BoxExchange exchange(world, points, from, to);
    const std::vector<double> sent = filled(from, plain);
    std::vector<double> received(exchange.to_points() * channels, -1.0);
    exchange.exchange(std::span<const double>(sent), std::span<double>(received), channels);
    EXPECT_EQ(received, filled(to, plain)) << c.from.describe();

    // A copy in box k has the gradient value / (k + 1), which sums of another order round differently.
    std::vector<double> expected(channels * all, 0.0), back(sent.size(), -1.0);
    for (std::size_t k = 0; k < to.boxes.size(); ++k)
      for (std::int64_t channel = 0; channel < channels; ++channel)
        over_points(to.boxes[k], points, [&](std::int64_t p) {
          expected[channel * all + p] += value(channel, p) / static_cast<double>(k + 1);
        });
    const std::vector<double> bar = filled(to, [&](std::int64_t channel, std::int64_t p, int k) {
      return value(channel, p) / static_cast<double>(k + 1);
    });
    exchange.exchange_adjoint(std::span<const double>(bar), std::span<double>(back), channels);
    EXPECT_EQ(back, filled(from, [&](std::int64_t channel, std::int64_t p,
                                     int) { return expected[channel * all + p]; }))
        << c.from.describe();
    EXPECT_EQ(exchange.partners() > 0, exchange.points_sent() > 0);
  }
}

}  // namespace
}  // namespace rankine
