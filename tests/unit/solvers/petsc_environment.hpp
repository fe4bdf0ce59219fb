// Gives every test of a program a live PETSc.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "solvers/petsc_session.hpp"

namespace rankine {

class PetscEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { session_ = std::make_unique<PetscSession>(0, nullptr); }
  void TearDown() override { session_.reset(); }

 private:
  std::unique_ptr<PetscSession> session_;
};

inline ::testing::Environment* const petsc_environment =
    ::testing::AddGlobalTestEnvironment(new PetscEnvironment);

}  // namespace rankine
