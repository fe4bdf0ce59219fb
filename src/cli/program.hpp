// The command line: `rankine run | check | list | describe | info | compare | convert`.
#pragma once

#include <string>
#include <vector>

#include "src/run/experiment.hpp"

namespace rankine {

/// What a program made of Rankine knows. main.cpp has Rankine's own; tests bring theirs.
struct ProgramTables {
  const ExperimentRegistry& experiments;
  /// Everything else that a deck can name, for `list` and `describe`.
  std::vector<const RegistryBase*> others;
};

/// Rankine's tables.
ProgramTables program_tables();

/// The whole program: starts MPI, does what the command line says, prints a failure once, and returns the
/// exit code (src/run/driver.hpp). A failure of one rank alone ends all ranks with that code.
int run_program(int argc, char** argv, const ProgramTables& tables);

/// 1 for InputError, 2 for NumericalError and where memory is out, 3 for IoError, else 70: a defect in
/// Rankine.
int exit_code_of(const std::exception& failure);

}  // namespace rankine
