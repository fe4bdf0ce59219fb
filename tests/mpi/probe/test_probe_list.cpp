// All probes together: the same bits on any number of ranks, and after a restart.
#include <gtest/gtest.h>

#include "tests/support/probe_problem.hpp"

namespace rankine {
namespace {

constexpr const char* all =
    "probes: [distance, calibration, {name: calibration, on: validation}, risk_coverage, "
    "{name: ood, against: [noise, permuted_pixels]}, attack, {name: gradient_norm, examples: 7}, angle, "
    "remove, "
    "{name: ntk, examples: 5}]";

struct Found {
  std::vector<double> measured;
  std::map<std::string, std::vector<double>> columns;
};

/// Three steps that are no training, measured on the ranks; from `restart` on by a second list, which takes
/// up the state of the first.
Found measure(const Communicator& ranks, std::int64_t restart = -1) {
  testing::ProbeProblem p("[{name: dense, units: 4}, {name: tanh}, {name: dense, units: 3}]", ranks);
  const Tensor start = p.parameters.flat().clone();
  const auto place = [&](std::int64_t step) {
    p.parameters.flat().assign(scale(start, 1 + 0.1 * static_cast<double>(step * step)));
  };
  constexpr std::int64_t total = 3;
  const DeckNode deck = parse_deck_text(all, "deck");
  ProbeList first(deck, p.setup), second(deck, p.setup);
  StateRegistry state, state_of_second;
  first.begin(p.run, state);
  second.begin(p.run, state_of_second);
  ProbeList* now = &first;
  for (const std::int64_t step : first.steps(total)) {
    place(step);
    if (step == restart) {
      state_of_second.restore(state.save());
      now = &second;
    }
    now->measure(step, total);
  }
  const SharedTileSum one = local_tile_sum(1);
  for (const Split split : {Split::test, Split::validation}) {
    deal_examples(
        p.ranks, p.data, split, p.data.size(split), 4, DType::f64, [] {},
        [&](const Examples& e) {
          now->see(split, {e.inputs, e.targets, p.outputs(p.parameters, e.inputs), e.ids});
        });
    now->conclude(split);
  }
  EXPECT_EQ(now->measured().size(), now->metrics().size());
  return {now->measured(), p.columns()};
}

TEST(ProbeList, DoesNotDependOnRanks) {
  const Communicator world = Communicator::world(), self = Communicator::self();
  const Found expected = measure(self), found = measure(world);
  EXPECT_EQ(found.measured, expected.measured);
  for (const double value : found.measured) EXPECT_TRUE(std::isfinite(value));
  if (world.is_root()) {
    EXPECT_EQ(found.columns, expected.columns);
    EXPECT_EQ(expected.columns.size(), 9U);
  }
}

TEST(ProbeList, GoesOnAfterARestart) {
  const Communicator world = Communicator::world();
  const Found expected = measure(world);
  for (const std::int64_t restart : {0, 1, 3}) EXPECT_EQ(measure(world, restart).measured, expected.measured);
}

}  // namespace
}  // namespace rankine
