// What is said of metrics that cannot be computed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/run/missing_metrics.hpp"

namespace rankine {
namespace {

TEST(MissingMetrics, AllRanksGetThemByMetricAndSample) {
  const Communicator world = Communicator::world();
  MissingMetrics missing;
  // Rank r has the samples r and r + size, the later one first.
  const std::int64_t own = world.rank(), later = own + world.size();
  for (const std::int64_t sample : {later, own}) {
    missing.add("residual", sample, "log(u)\nis not finite");
    missing.add("corrected", sample, "log(u) is not finite");
  }
  if (world.rank() == world.size() - 1) missing.add("bound", -1, "singular");
  missing.share(world);
  ASSERT_EQ(missing.entries().size(), static_cast<std::size_t>(4 * world.size() + 1));
  for (std::int64_t s = 0; s < 2 * world.size(); ++s) {
    const MissingMetrics::Entry& entry = missing.entries()[static_cast<std::size_t>(s)];
    EXPECT_EQ(entry.metric, "residual");
    EXPECT_EQ(entry.sample, s);
  }
  EXPECT_THAT(missing.texts(),
              ::testing::ElementsAre("residual, corrected of " + std::to_string(2 * world.size()) +
                                         " samples, the first of them 0, cannot be computed and are NaN: "
                                         "log(u) is not finite",
                                     "bound cannot be computed and is NaN: singular"));
}

TEST(MissingMetrics, NothingIsSaidOfNothing) {
  MissingMetrics missing;
  missing.share(Communicator::world());
  EXPECT_TRUE(missing.texts().empty());
}

}  // namespace
}  // namespace rankine
