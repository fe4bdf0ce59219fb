// The network of the golden files: their weights give their basis fields, whatever the tiles.
#include "tests/support/golden.hpp"

namespace rankine {
namespace {

class Fno2dGolden : public ::testing::TestWithParam<testing::GoldenCase> {};

TEST_P(Fno2dGolden, WeightsGiveTheBases) {
  testing::GoldenData g;
  g.load(GetParam());
  for (const std::int64_t tiles : {1, g.tiles}) {
    const testing::GoldenNetwork network(g, tiles);
    const NoGrad off;
    const BoundParameters bound = network.parameters.bind(local_tile_sum(network.grid.tiles()));
    const auto found =
        testing::join_tiles(network.model.forward(bound, network.input), network.grid).to_vector();
    ASSERT_EQ(found.size(), g.bases.size());
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - g.bases[i]));
    EXPECT_LT(worst, 1e-13) << tiles << " tiles";
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Fno2dGolden, ::testing::ValuesIn(testing::golden_cases()),
                         testing::golden_case_name);

}  // namespace
}  // namespace rankine
