#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "solvers/ode.hpp"
#include "solvers/petsc_session.hpp"

namespace rankine {
namespace {

TEST(PetscSession, UseOutsideItsLifeIsADefectNotACrash) {
  MarchMatrices matrices{kernels::StencilFrames(1, 1), {}, false};
  *matrices.implicit.at(0, 0, 0) = 2;
  EXPECT_THROW(make_petsc_march(matrices), std::logic_error);
}

TEST(PetscSession, RefusesAWordThatIsNeitherOptionNorValue) {
  try {
    PetscSession session(0, nullptr, {"-march_ksp_type gmres extra"});
    FAIL() << "nothing was thrown";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("'extra' is neither an option nor the value of one"));
  }
}

// PETSc starts once a process, so one test holds all that needs it.
TEST(PetscSession, PassesOptionsOnAndTurnsErrorsIntoExceptions) {
  const PetscSession session(0, nullptr,
                             {"-march_ksp_type gmres -march_pc_type none", "-march_ksp_max_it 1",
                              "-ode_ts_type nonsense", "-misspelt_option 3"});
  EXPECT_THAT(PetscSession::version(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));

  MarchMatrices matrices{kernels::StencilFrames(1, 3), {}, false};
  matrices.implicit.values = {0, 2, 1, 1, 3, 1, 1, 4, 0};  // rows (lower, diagonal, upper)
  const auto march = make_petsc_march(matrices);
  std::vector<double> field{1, 2, 3};
  try {
    march->apply(field, field);
    FAIL() << "one iteration of GMRES cannot solve three equations";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("frame 0, column 0: the solver ended with DIVERGED_ITS"));
  }

  OdeSystem system;
  system.cells = 1;
  system.rhs = [](double, auto, auto f) { f[0] = 1; };
  system.jacobian = [](double, auto, auto&) {};
  try {
    integrate_stiff(system, std::vector{1.0}, std::vector{0.0, 1.0});
    FAIL() << "nothing was thrown";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::ContainsRegex("ode.cpp:[0-9]+: TSSetFromOptions"));
    EXPECT_THAT(error.what(), testing::HasSubstr("nonsense"));
  }
  EXPECT_THAT(session.unused_options(), testing::ElementsAre("-misspelt_option 3"));
}

}  // namespace
}  // namespace rankine
