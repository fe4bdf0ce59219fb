// `rankine doctor`: what this installation can do, what may go wrong here, and a self-test.
#pragma once

#include <string>

#include "src/comm/communicator.hpp"

namespace rankine::cli {

struct DoctorResult {
  std::string text;   ///< for people or as JSON; on the root
  int exit_code = 0;  ///< 0 where all tests passed, 2 where one computes something else, 3 where files fail
};

/// Collective. The self-test takes seconds; files are written in the current folder and removed again.
/// Kokkos and PETSc must be running.
DoctorResult doctor(const Communicator& world, const std::string& program, bool json);

}  // namespace rankine::cli
