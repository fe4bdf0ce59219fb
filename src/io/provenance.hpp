// Where a result comes from: what was built, what was asked, where it ran. Goes to /provenance of results.h5.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "src/io/results.hpp"

namespace rankine {

/// What is known when the program is compiled.
struct BuildInfo {
  std::string version;       ///< of Rankine
  std::string git_revision;  ///< 40 digits, or "unknown" from a source archive
  bool git_dirty;            ///< tracked files differ from that revision
  std::string compiler, compiler_flags, build_type;
  int vector_bytes;                 ///< of the kernels' vectors
  std::string kokkos, petsc, hdf5;  ///< versions
};
BuildInfo build_info();

/// What only the caller knows.
struct RunDescription {
  std::vector<std::string> arguments;  ///< argv
  std::string deck_path, deck_text;    ///< as the user wrote it
  std::string resolved_deck;           ///< with every default filled in
  int ranks = 1;
  std::vector<std::string> hosts;                      ///< one a rank, in rank order
  std::string mpi_library;                             ///< for example "Open MPI v4.1.4, ..."
  std::string start_utc;                               ///< utc_now() at the start
  std::vector<std::string> overrides = {}, only = {};  ///< --set and --only
  std::string fragments = {};                          ///< of the deck, as one text
  bool smoke = false;
  int task = 0, tasks = 0;  ///< --task; 0 of 0: everything
};

/// Everything of `run`, of the build, of the libraries that run and of the environment, and the time now as
/// the end of the run, under the names that they get in /provenance. Of the environment: OMP_*, OPENBLAS_*,
/// KOKKOS_*, SLURM_* (without the token SLURM_JWT), PETSC_OPTIONS and HDF5_USE_FILE_LOCKING.
std::vector<std::pair<std::string, std::string>> collect_provenance(const RunDescription& run);

/// "2026-01-31T23:59:59Z".
std::string utc_now();
/// "OpenBLAS 0.3.21 ... SkylakeX", from the library that is loaded, or "unknown".
std::string blas_description();

}  // namespace rankine
