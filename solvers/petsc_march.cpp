// The march on PETSc: one KSP per distinct matrix. Slower than the direct march for small systems, free in
// its choice of solver, and an independent check of its kernels.
#include <algorithm>
#include <numeric>

#include <petscksp.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Solver = petsc::Handle<KSP, KSPDestroy>;

Matrix make_matrix(const kernels::StencilFrames& matrices, int frame) {
  const PetscInt n = matrices.width(), m = matrices.unknowns;
  Matrix matrix;
  const PetscInt row_entries = std::min(matrices.points() * m, n);
  RANKINE_PETSC(MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, row_entries, nullptr, matrix.out()));
  std::vector<PetscInt> rows(m), columns(m);
  for (int i = 0; i < matrices.cells; ++i)
    for (int s = -matrices.reach; s <= matrices.reach; ++s) {
      const int k = matrices.neighbour(i, s);
      if (k < 0) continue;
      std::iota(rows.begin(), rows.end(), i * m);
      std::iota(columns.begin(), columns.end(), k * m);
      // Added, since a short ring reads a cell more than once.
      RANKINE_PETSC(
          MatSetValues(matrix, m, rows.data(), m, columns.data(), matrices.at(frame, i, s), ADD_VALUES));
    }
  RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
  RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
  return matrix;
}

class PetscMarch final : public LinearMarch {
 public:
  explicit PetscMarch(const MarchMatrices& matrices) : LinearMarch(matrices) {
    petsc::require_session();
    for (int frame : distinct_matrices(matrices.implicit, solver_of_frame_)) {
      const Matrix matrix = make_matrix(matrices.implicit, frame);
      Solver solver;
      RANKINE_PETSC(KSPCreate(PETSC_COMM_SELF, solver.out()));
      RANKINE_PETSC(KSPSetOptionsPrefix(solver, "march_"));
      RANKINE_PETSC(KSPSetOperators(solver, matrix, matrix));
      RANKINE_PETSC(KSPSetType(solver, KSPPREONLY));
      // P^-1 r is differentiated through its transpose, so an iterative solver must go further than PETSc's
      // 1e-5.
      RANKINE_PETSC(KSPSetTolerances(solver, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT));
      PC preconditioner = nullptr;
      RANKINE_PETSC(KSPGetPC(solver, &preconditioner));
      RANKINE_PETSC(PCSetType(preconditioner, PCLU));
      RANKINE_PETSC(PCFactorSetMatOrderingType(preconditioner, matrices.implicit.layout ? MATORDERINGND
                                                               : matrices.implicit.periodic
                                                                   ? MATORDERINGRCM
                                                                   : MATORDERINGNATURAL));
      RANKINE_PETSC(KSPSetFromOptions(solver));
      RANKINE_PETSC(KSPSetUp(solver));
      solvers_.push_back(std::move(solver));
    }
    if (history()) {
      for (int frame : distinct_matrices(matrices.previous, previous_of_frame_)) {
        previous_.push_back(make_matrix(matrices.previous, frame));
      }
    }
    for (Vector* vector : {&rhs_, &solution_, &step_}) {
      RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, width(), vector->out()));
    }
  }

 private:
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
          RANKINE_PETSC(transposed ? MatMultTranspose(previous, solution_, step_)
                                   : MatMult(previous, solution_, step_));
          RANKINE_PETSC(VecAXPY(rhs_, 1, step_));
        }
        const KSP solver = solvers_[solver_of_frame_[frame]];
        RANKINE_PETSC(transposed ? KSPSolveTranspose(solver, rhs_, solution_)
                                 : KSPSolve(solver, rhs_, solution_));
        KSPConvergedReason reason = KSP_CONVERGED_ITERATING;
        RANKINE_PETSC(KSPGetConvergedReason(solver, &reason));
        if (reason < 0) {
          throw NumericalError("linear march: frame " + std::to_string(frame) + ", column " +
                               std::to_string(column) + ": the solver ended with " +
                               KSPConvergedReasons[reason] +
                               "; change it through PETSc options with the prefix march_");
        }
        const double* results = nullptr;
        RANKINE_PETSC(VecGetArrayRead(solution_, &results));
        for (PetscInt i = 0; i < n; ++i) solution[offset + static_cast<size_t>(i) * columns] = results[i];
        RANKINE_PETSC(VecRestoreArrayRead(solution_, &results));
      }
    }
  }

  std::vector<Solver> solvers_;
  std::vector<Matrix> previous_;
  std::vector<int> solver_of_frame_, previous_of_frame_;
  Vector rhs_, solution_, step_;
};

}  // namespace

std::unique_ptr<LinearMarch> make_petsc_march(MarchMatrices matrices) {
  return std::make_unique<PetscMarch>(matrices);
}

}  // namespace rankine
