// The march on PETSc: one KSP per distinct matrix. Slower than the banded kernel for small systems, free in
// its choice of solver, and an independent check of the kernel.
#include <petscksp.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Solver = petsc::Handle<KSP, KSPDestroy>;

Matrix make_matrix(const TridiagonalFrames& bands, int frame) {
  const PetscInt n = bands.cells;
  const size_t row = static_cast<size_t>(frame) * n;
  Matrix matrix;
  RANKINE_PETSC(MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 3, nullptr, matrix.out()));
  for (PetscInt i = 0; i < n; ++i) {
    const PetscInt first = i > 0 ? i - 1 : i;
    const PetscInt columns[3] = {first, first + 1, first + 2};
    double values[3];
    int count = 0;
    if (i > 0) values[count++] = bands.lower[row + i];
    values[count++] = bands.diagonal[row + i];
    if (i + 1 < n) values[count++] = bands.upper[row + i];
    RANKINE_PETSC(MatSetValues(matrix, 1, &i, count, columns, values, INSERT_VALUES));
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
      RANKINE_PETSC(PCFactorSetMatOrderingType(preconditioner, MATORDERINGNATURAL));
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
      RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, cells(), vector->out()));
    }
  }

 private:
  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    const PetscInt n = cells();
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

std::unique_ptr<LinearMarch> make_petsc_march(const MarchMatrices& matrices) {
  return std::make_unique<PetscMarch>(matrices);
}

}  // namespace rankine
