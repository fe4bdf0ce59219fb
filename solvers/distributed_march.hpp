// The march P spread over ranks: each rank holds the rows of the cells that it owns and these cells' part of
// every field, so that memory and work per rank fall as 1 / ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <mpi.h>

#include "solvers/linear_march.hpp"

namespace rankine {

/// Rows of a march that a rank owns, out of matrices on some of the grid's cells: for example those of a box
/// of cells with a margin, in which the rows of the margin itself are not complete.
struct MarchPart {
  const MarchMatrices* matrices;  ///< read while the march is made
  std::vector<int> numbers;       ///< of each cell of the matrices: its number in the whole grid
  std::vector<int> owned;  ///< the cells of the matrices whose rows this rank owns, in the order of fields
};

/// What the solves of a march reached, the same on all ranks.
struct MarchReport {
  std::string solver;  ///< "bcgs with bjacobi"
  int matrices = 0;    ///< of different values, each with a preconditioner of its own
  long solves = 0;     ///< of one frame and column each
  long iterations = 0;
  int least = 0, most = 0;  ///< iterations of a solve
  bool converged = true;    ///< all of them
  double mean() const {
    return solves > 0 ? static_cast<double>(iterations) / static_cast<double>(solves) : 0;
  }
};

/// cells() are those that this rank owns, and fields hold these alone: [frame][owned cell][unknown][column].
/// apply() and apply_transpose() are collective, and fail on all ranks alike.
class DistributedMarch : public LinearMarch {
 public:
  /// Since the march was made.
  virtual const MarchReport& report() const = 0;

 protected:
  using LinearMarch::LinearMarch;
};

/// P^-1 and its transpose by a PETSc KSP over the ranks of `communicator`, which must outlive it. Collective.
/// Each rank gives one part or more and owns a cell at least; together the ranks own each cell of the grid
/// once, in any distribution. Without options it is BCGS with ILU(0) of each rank's block to 1e-12 of the
/// preconditioned residual; options with the prefix `march_` say else, for example `-march_ksp_type preonly
/// -march_pc_type lu -march_pc_factor_mat_solver_type mumps` for a direct solve over all ranks. The transpose
/// takes the same solver and the transposed preconditioner; what a solve leaves is looked at, since not every
/// preconditioner has a right transpose (hypre's BoomerAMG has none). Bits depend on the number of ranks. Throws
/// NumericalError where a preconditioner cannot be made or a solve does not converge. Needs a PetscSession.
std::unique_ptr<DistributedMarch> make_distributed_march(MPI_Comm communicator,
                                                         const std::vector<MarchPart>& parts);

/// P^-1 and its transpose by LU factors, with the same bits on any number of ranks. Each part is a tile, of
/// which the ranks own consecutive ones. A tile's inner cells are eliminated by a band LU where it lives; the
/// interface, those cells that read a tile of a higher number, is solved by its inverse, which is put together
/// in the order of the tiles and whose rows lie with the cells' owners (Schur complements; Smith, Bjorstad and
/// Gropp, Domain Decomposition, 1996, section 4.1). A frame takes two messages of all to all. Memory and work
/// fall as 1 / ranks but for one inversion at a time, of (interface cells x unknowns)^2 numbers. Throws
/// NumericalError, on all ranks, where a matrix is singular inside a tile or on the interface. Collective.
std::unique_ptr<LinearMarch> make_tile_march(MPI_Comm communicator, const std::vector<MarchPart>& parts);

}  // namespace rankine
