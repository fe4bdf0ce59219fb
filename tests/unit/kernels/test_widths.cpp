// The width of the vectors is a matter of speed alone: all widths give the same bits.
#include <gtest/gtest.h>

#include "tests/unit/kernels/width_probe.hpp"

namespace rankine_other_width::kernels {
std::vector<std::pair<std::string, std::vector<std::byte>>> probe_widths();
int probed_width();
}  // namespace rankine_other_width::kernels

namespace rankine {
namespace {

TEST(VectorWidth, ChangesNoBit) {
  const auto expected = kernels::probe_widths(), found = rankine_other_width::kernels::probe_widths();
  ASSERT_NE(kernels::probed_width(), rankine_other_width::kernels::probed_width());
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].first, expected[i].first);
    EXPECT_TRUE(found[i].second == expected[i].second)
        << found[i].first << " with vectors of " << rankine_other_width::kernels::probed_width() << " and "
        << kernels::probed_width() << " bytes";
  }
}

}  // namespace
}  // namespace rankine
