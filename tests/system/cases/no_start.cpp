// Loaded before the libraries (LD_PRELOAD): ends the process with code 99 where it starts MPI, PETSc or
// Kokkos.
#include <cstdio>
#include <cstdlib>

namespace {

int refuse(const char* what) {
  std::fprintf(stderr, "no_start: %s was started\n", what);
  std::fflush(stderr);
  std::_Exit(99);
}

}  // namespace

extern "C" {
int MPI_Init(int*, char***) { return refuse("MPI"); }
int MPI_Init_thread(int*, char***, int, int*) { return refuse("MPI"); }
int PetscInitialize(int*, char***, const char*, const char*) { return refuse("PETSc"); }
int PetscInitializeNoArguments() { return refuse("PETSc"); }
}

// Kokkos 3 and 4.
namespace Kokkos {
struct InitArguments;
class InitializationSettings;
void initialize(int&, char**) { refuse("Kokkos"); }
void initialize(int&, char*[], const InitArguments&) { refuse("Kokkos"); }
void initialize(const InitializationSettings&) { refuse("Kokkos"); }
}  // namespace Kokkos
