// PETSc's life time.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rankine {

/// PETSc is usable while this object lives. Collective on all ranks; MPI must be initialised before, and is
/// finalised by the caller after. PETSc's signal handlers stay off (Rankine has its own) and its errors
/// become NumericalError.
class PetscSession {
 public:
  /// `argv` gives the program's name only: its flags are Rankine's. `options` are PETSc's, one or more words
  /// each, for example {"-log_view", "-expert_tao_monitor"} or {"-march_ksp_type gmres"}; the environment
  /// variable PETSC_OPTIONS is read too, a .petscrc is not. Throws InputError for a word that is neither an
  /// option nor its value.
  PetscSession(int argc, char** argv, const std::vector<std::string>& options = {});
  ~PetscSession();
  PetscSession(const PetscSession&) = delete;
  PetscSession& operator=(const PetscSession&) = delete;

  /// Options that were given but never looked up, each "-name value": a misspelt option changes nothing, so
  /// say so.
  std::vector<std::string> unused_options() const;

  /// InputError where a session would refuse these options. Needs neither PETSc nor MPI.
  static void check_options(const std::vector<std::string>& options);
  /// "3.18.5": the library that runs, not the headers.
  static std::string version();
};

/// PETSc's log of events (-log_view), with events for names of ours.
class PetscLog {
 public:
  /// Whether an option asks for a log: else events cost time and show nowhere.
  static bool active();
  /// An event for each name. All ranks give the same names in the same order: PETSc adds up by number.
  explicit PetscLog(const std::vector<std::string>& names);
  void begin(std::size_t event);
  void end(std::size_t event);
  /// Belong to the events that are open.
  void flops(double count);

 private:
  std::vector<int> events_;
};

}  // namespace rankine
