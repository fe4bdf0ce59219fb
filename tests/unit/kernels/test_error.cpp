#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace rankine {
namespace {

TEST(Error, AssertNamesPlaceExpressionAndReason) {
  const int tiles = 3;
  try {
    RANKINE_ASSERT(tiles % 2 == 0, "tiles come in pairs");
    FAIL() << "nothing was thrown";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(),
                testing::MatchesRegex(".*test_error\\.cpp:[0-9]+: internal error: tiles come in pairs "
                                      "\\(tiles % 2 == 0 is false\\)"));
  }
}

TEST(Error, AssertLetsATrueConditionPassAndEvaluatesItOnce) {
  int calls = 0;
  EXPECT_NO_THROW(RANKINE_ASSERT(++calls > 0, "counted"));
  EXPECT_EQ(calls, 1);
}

TEST(Error, TheThreeKindsAreToldApart) {
  // main() maps the type to the exit code, so none may be caught as another.
  EXPECT_THROW(throw InputError("deck"), InputError);
  EXPECT_FALSE((std::is_base_of_v<InputError, NumericalError>));
  EXPECT_FALSE((std::is_base_of_v<NumericalError, IoError>));
  EXPECT_FALSE((std::is_base_of_v<std::logic_error, InputError>));
}

}  // namespace
}  // namespace rankine
