#include "solvers/distributed_march.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include <petscao.h>
#include <petscksp.h>

#include "kernels/error.hpp"
#include "solvers/march_parts.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Solver = petsc::Handle<KSP, KSPDestroy>;
using Preconditioner = petsc::Handle<PC, PCDestroy>;

/// PETSc wants each rank's rows in one block. So cells are numbered anew, in the order of ranks and of the
/// owned cells: any distribution of tiles will do, where DMDA knows one box a rank. The map is spread over
/// the ranks, too.
class Numbering {
 public:
  Numbering(MPI_Comm communicator, const std::vector<MarchPart>& parts) : owned_(owned_by(parts)) {
    MPI_Scan(&owned_, &first_, 1, MPI_INT, MPI_SUM, communicator);
    first_ -= owned_;
    std::vector<PetscInt> old;
    int total = 0, worst[2] = {0, 0};  // the largest cell number, and minus the least
    MPI_Allreduce(&owned_, &total, 1, MPI_INT, MPI_SUM, communicator);
    for (const MarchPart& part : parts) {
      RANKINE_ASSERT(static_cast<int>(part.numbers.size()) == part.matrices->implicit.cells,
                     "each cell of a part's matrices has a number");
      for (const int cell : part.owned) old.push_back(part.numbers.at(cell));
      for (const int number : part.numbers)
        worst[0] = std::max(worst[0], number), worst[1] = std::max(worst[1], -number);
    }
    MPI_Allreduce(MPI_IN_PLACE, worst, 2, MPI_INT, MPI_MAX, communicator);
    RANKINE_ASSERT(worst[0] < total && worst[1] == 0, "the ranks must own each cell of the grid");
    petsc::Handle<AO, AODestroy> map;
    RANKINE_PETSC(AOCreateMemoryScalable(communicator, owned_, old.data(), nullptr, map.out()));
    for (const MarchPart& part : parts) old.insert(old.end(), part.numbers.begin(), part.numbers.end());
    RANKINE_PETSC(AOApplicationToPetsc(map, static_cast<PetscInt>(old.size()), old.data()));
    int once = 1;
    for (int i = 0; i < owned_; ++i) once &= old[i] == first_ + i;
    MPI_Allreduce(MPI_IN_PLACE, &once, 1, MPI_INT, MPI_MIN, communicator);
    RANKINE_ASSERT(once, "a cell of the grid has one owner");
    auto from = old.begin() + owned_;
    for (const MarchPart& part : parts) {
      of_part_.emplace_back(from, from + static_cast<long>(part.numbers.size()));
      from += static_cast<long>(part.numbers.size());
    }
  }
  /// Calls block(row cell, column cell, values) for the blocks of a frame's owned rows that are not zero.
  template <class Block>
  void over_blocks(const std::vector<MarchPart>& parts, Frames which, int frame, const Block& block) const {
    PetscInt row = first_;
    for (size_t p = 0; p < parts.size(); ++p) {
      const kernels::StencilFrames& matrices = parts[p].matrices->*which;
      for (const int cell : parts[p].owned) {
        for (int s = -matrices.reach; s <= matrices.reach; ++s) {
          const double* values = matrices.at(frame, cell, s);
          if (s != 0 && std::all_of(values, values + matrices.block(), [](double x) { return x == 0; }))
            continue;
          const int to = matrices.neighbour(cell, s);
          RANKINE_ASSERT(to >= 0, "a row of a distributed march reads beyond its part's cells");
          block(row, of_part_[p][to], values);
        }
        ++row;
      }
    }
  }
  PetscInt first() const { return first_; }
  PetscInt owned() const { return owned_; }

 private:
  int owned_, first_ = 0;
  std::vector<std::vector<PetscInt>> of_part_;  // [part][cell]
};

Matrix make_matrix(MPI_Comm communicator, const Numbering& cells, const std::vector<MarchPart>& parts,
                   Frames which, int frame) {
  const PetscInt m = (parts.front().matrices->*which).unknowns, n = cells.owned() * m;
  std::vector<PetscInt> inside(n, 0), outside(n, 0);
  cells.over_blocks(parts, which, frame, [&](PetscInt row, PetscInt column, const double*) {
    const PetscInt i = row - cells.first(), k = column - cells.first();
    for (PetscInt a = 0; a < m; ++a) (k >= 0 && k < cells.owned() ? inside : outside)[i * m + a] += m;
  });
  // A ring of few cells reads a cell more than once.
  for (PetscInt& count : inside) count = std::min(count, n);
  Matrix matrix;
  RANKINE_PETSC(MatCreateAIJ(communicator, n, n, PETSC_DETERMINE, PETSC_DETERMINE, 0, inside.data(), 0,
                             outside.data(), matrix.out()));
  RANKINE_PETSC(MatSetOption(matrix, MAT_NEW_NONZERO_ALLOCATION_ERR, PETSC_TRUE));
  std::vector<PetscInt> rows(m), columns(m);
  cells.over_blocks(parts, which, frame, [&](PetscInt row, PetscInt column, const double* values) {
    std::iota(rows.begin(), rows.end(), row * m);
    std::iota(columns.begin(), columns.end(), column * m);
    RANKINE_PETSC(MatSetValues(matrix, m, rows.data(), m, columns.data(), values, ADD_VALUES));
  });
  RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
  RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
  return matrix;
}

class PetscDistributedMarch final : public DistributedMarch {
 public:
  PetscDistributedMarch(MPI_Comm communicator, const std::vector<MarchPart>& parts)
      : DistributedMarch(first_of(parts).implicit.frames, owned_by(parts), first_of(parts).implicit.unknowns,
                         first_of(parts).history) {
    petsc::require_session();
    MPI_Comm_size(communicator, &ranks_);
    RANKINE_PETSC(KSPCreate(communicator, solver_.out()));
    RANKINE_PETSC(KSPSetOptionsPrefix(solver_, "march_"));
    RANKINE_PETSC(KSPSetType(solver_, KSPBCGS));
    // P^-1 r is differentiated through its transpose, so the solver must go further than PETSc's 1e-5. The
    // march is linear, however small its right-hand side.
    RANKINE_PETSC(KSPSetTolerances(solver_, 1e-12, 1e-300, PETSC_DEFAULT, PETSC_DEFAULT));
    const Numbering cells(communicator, parts);
    const std::vector<int> firsts =
        distinct_frames(communicator, parts, &MarchMatrices::implicit, frames(), matrix_of_frame_);
    for (const int frame : firsts) {
      implicit_.push_back(make_matrix(communicator, cells, parts, &MarchMatrices::implicit, frame));
      add_preconditioner(communicator, frame);
    }
    if (history()) {
      for (const int frame :
           distinct_frames(communicator, parts, &MarchMatrices::previous, frames(), previous_of_frame_))
        previous_.push_back(make_matrix(communicator, cells, parts, &MarchMatrices::previous, frame));
    }
    RANKINE_PETSC(MatCreateVecs(implicit_.front(), rhs_.out(), solution_.out()));
    RANKINE_PETSC(VecDuplicate(rhs_, step_.out()));
    const char *method = nullptr, *preconditioner = nullptr;
    RANKINE_PETSC(KSPGetType(solver_, &method));
    RANKINE_PETSC(PCGetType(preconditioners_.front(), &preconditioner));
    report_.solver = std::string(method) + " with " + preconditioner;
    report_.matrices = static_cast<int>(firsts.size());
  }

  const MarchReport& report() const override { return report_; }

 private:
  /// The solver's work vectors serve all matrices; only preconditioners are each matrix's own.
  void add_preconditioner(MPI_Comm communicator, int frame) {
    Preconditioner made;
    RANKINE_PETSC(PCCreate(communicator, made.out()));
    RANKINE_PETSC(PCSetOptionsPrefix(made, "march_"));
    RANKINE_PETSC(PCSetOperators(made, implicit_.back(), implicit_.back()));
    RANKINE_PETSC(PCSetType(made, PCBJACOBI));
    RANKINE_PETSC(PCSetFromOptions(made));
    RANKINE_PETSC(KSPSetPC(solver_, made));
    if (frame == 0) RANKINE_PETSC(KSPSetFromOptions(solver_));
    RANKINE_PETSC(PCSetUp(made));
    if (is(made, PCBJACOBI)) order_blocks(made);
    RANKINE_PETSC(PCSetUpOnBlocks(made));
    PCFailedReason reason = PC_NOERROR;
    RANKINE_PETSC(PCGetFailedReasonRank(made, &reason));
    int failed = reason != PC_NOERROR ? 1 : 0;
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, communicator);
    if (failed) fail(frame, "the preconditioner cannot be made (a pivot vanishes)");
    preconditioners_.push_back(std::move(made));
  }

  static bool is(PC preconditioner, PCType type) {
    PetscBool same = PETSC_FALSE;
    RANKINE_PETSC(PetscObjectTypeCompare(reinterpret_cast<PetscObject>(preconditioner), type, &same));
    return same == PETSC_TRUE;
  }

  /// Along the diagonals of a grid a row of ILU does not wait for the row before it, which makes the
  /// triangular solves 1.3 times as fast as along its axes, with as many iterations.
  static void order_blocks(PC blocks) {
    PetscInt count = 0;
    KSP* solvers = nullptr;
    RANKINE_PETSC(PCBJacobiGetSubKSP(blocks, &count, nullptr, &solvers));
    for (PetscInt i = 0; i < count; ++i) {
      PC block = nullptr;
      RANKINE_PETSC(KSPGetPC(solvers[i], &block));
      if (!is(block, PCILU)) continue;
      RANKINE_PETSC(PCFactorSetMatOrderingType(block, MATORDERINGRCM));
      RANKINE_PETSC(KSPSetFromOptions(solvers[i]));
    }
  }

  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    const PetscInt n = width();
    for (int column = 0; column < columns; ++column) {
      for (int step = 0; step < frames(); ++step) {
        const int frame = transposed ? frames() - 1 - step : step;
        const size_t offset = static_cast<size_t>(frame) * n * columns + column;
        double* values = nullptr;
        RANKINE_PETSC(VecGetArray(rhs_, &values));
        for (PetscInt i = 0; i < n; ++i) values[i] = rhs[offset + static_cast<size_t>(i) * columns];
        RANKINE_PETSC(VecRestoreArray(rhs_, &values));
        if (history() && step > 0) {
          const Mat previous = previous_[previous_of_frame_[transposed ? frame + 1 : frame]];
          RANKINE_PETSC(transposed ? MatMultTransposeAdd(previous, solution_, rhs_, rhs_)
                                   : MatMultAdd(previous, solution_, rhs_, rhs_));
        }
        solve_frame(frame, column, transposed);
        const double* results = nullptr;
        RANKINE_PETSC(VecGetArrayRead(solution_, &results));
        for (PetscInt i = 0; i < n; ++i) solution[offset + static_cast<size_t>(i) * columns] = results[i];
        RANKINE_PETSC(VecRestoreArrayRead(solution_, &results));
      }
    }
  }

  void solve_frame(int frame, int column, bool transposed) const {
    double size = 0;
    RANKINE_PETSC(VecNorm(rhs_, NORM_2, &size));
    RANKINE_PETSC(KSPSetPC(solver_, preconditioners_[matrix_of_frame_[frame]]));
    RANKINE_PETSC(transposed ? KSPSolveTranspose(solver_, rhs_, solution_)
                             : KSPSolve(solver_, rhs_, solution_));
    KSPConvergedReason reason = KSP_CONVERGED_ITERATING;
    PetscInt iterations = 0;
    RANKINE_PETSC(KSPGetConvergedReason(solver_, &reason));
    RANKINE_PETSC(KSPGetIterationNumber(solver_, &iterations));
    const int count = static_cast<int>(iterations);
    report_.least = report_.solves == 0 ? count : std::min(report_.least, count);
    report_.most = std::max(report_.most, count);
    report_.iterations += count;
    ++report_.solves;
    const std::string where =
        "column " + std::to_string(column) + (transposed ? " of the transpose: " : ": ");
    if (reason < 0)
      fail(frame, where + report_.solver + " ended with " + KSPConvergedReasons[reason] + " after " +
                      std::to_string(count) + " iterations");
    check_residual(frame, size, where, transposed);
  }

  /// Krylov methods update their residual by a recurrence, which a singular system leaves with noise, and a
  /// preconditioner that is singular itself hides what is left. `size` is the norm of the right-hand side.
  void check_residual(int frame, double size, const std::string& where, bool transposed) const {
    const Mat matrix = implicit_[matrix_of_frame_[frame]];
    double left = 0;
    RANKINE_PETSC(transposed ? MatMultTranspose(matrix, solution_, step_)
                             : MatMult(matrix, solution_, step_));
    RANKINE_PETSC(VecAXPY(rhs_, -1, step_));
    RANKINE_PETSC(VecNorm(rhs_, NORM_2, &left));
    // The solver looks at the preconditioned residual, which may be smaller by the preconditioner's condition
    // number. Written so that what is not finite fails, too.
    if (left <= 1e-4 * size) return;
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "%.1e", left / size);
    fail(frame,
         where + report_.solver + " leaves " + ratio +
             " of the residual, though it should have converged; the matrix is nearly singular, or the "
             "preconditioner is");
  }

  [[noreturn]] void fail(int frame, const std::string& what) const {
    report_.converged = false;
    throw NumericalError(
        "linear march over " + std::to_string(ranks_) + (ranks_ > 1 ? " ranks" : " rank") + ": frame " +
        std::to_string(frame) + ", " + what +
        "; change solver, preconditioner or iterations through PETSc options with the prefix "
        "march_, for example '-march_ksp_type preonly -march_pc_type lu "
        "-march_pc_factor_mat_solver_type mumps' for a direct solve");
  }

  int ranks_ = 1;
  mutable MarchReport report_;
  Solver solver_;
  std::vector<Matrix> implicit_, previous_;
  std::vector<Preconditioner> preconditioners_;
  std::vector<int> matrix_of_frame_, previous_of_frame_;
  Vector rhs_, solution_, step_;
};

}  // namespace

std::unique_ptr<DistributedMarch> make_distributed_march(MPI_Comm communicator,
                                                         const std::vector<MarchPart>& parts) {
  return std::make_unique<PetscDistributedMarch>(communicator, parts);
}

}  // namespace rankine
