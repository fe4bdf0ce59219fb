// The march as one linear system over all frames, solved by GMRES with another march as its preconditioner.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include <petscksp.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Solver = petsc::Handle<KSP, KSPDestroy>;

/// What the callbacks of one solver share.
struct Operators {
  MarchMatrices matrices;
  std::shared_ptr<const LinearMarch> preconditioner;
  petsc::CallbackGuard guard;

  size_t size() const { return static_cast<size_t>(matrices.implicit.frames) * matrices.implicit.width(); }
};

template <class Body>
PetscErrorCode call(Operators& operators, Vec from, Vec to, Body&& body) {
  return operators.guard.run([&] {
    const double* x = nullptr;
    double* y = nullptr;
    RANKINE_PETSC(VecGetArrayRead(from, &x));
    RANKINE_PETSC(VecGetArray(to, &y));
    body(std::span<const double>(x, operators.size()), std::span<double>(y, operators.size()));
    RANKINE_PETSC(VecRestoreArray(to, &y));
    RANKINE_PETSC(VecRestoreArrayRead(from, &x));
  });
}

template <bool transposed>
PetscErrorCode multiply(Mat matrix, Vec x, Vec y) {
  Operators* operators = nullptr;
  static_cast<void>(MatShellGetContext(matrix, &operators));
  return call(*operators, x, y, [&](auto from, auto to) {
    transposed ? apply_march_transpose(operators->matrices, from, to)
               : apply_march(operators->matrices, from, 1, to);
  });
}

template <bool transposed>
PetscErrorCode precondition(PC preconditioner, Vec x, Vec y) {
  Operators* operators = nullptr;
  static_cast<void>(PCShellGetContext(preconditioner, &operators));
  return call(*operators, x, y, [&](auto from, auto to) {
    transposed ? operators->preconditioner->apply_transpose(from, to)
               : operators->preconditioner->apply(from, to);
  });
}

using ShellFunction = void (*)(void);

class GmresMarch final : public LinearMarch {
 public:
  GmresMarch(MarchMatrices matrices, std::shared_ptr<const LinearMarch> preconditioner,
             const GmresOptions& options)
      : LinearMarch(matrices), options_(options) {
    petsc::require_session();
    RANKINE_ASSERT(preconditioner && preconditioner->frames() == frames() &&
                       preconditioner->width() == width() && preconditioner->exact(),
                   "GMRES march: the preconditioner must be a linear map on the same fields");
    operators_ = std::make_unique<Operators>(Operators{std::move(matrices), std::move(preconditioner), {}});
    const auto n = static_cast<PetscInt>(operators_->size());
    RANKINE_PETSC(MatCreateShell(PETSC_COMM_SELF, n, n, n, n, operators_.get(), matrix_.out()));
    RANKINE_PETSC(
        MatShellSetOperation(matrix_, MATOP_MULT, reinterpret_cast<ShellFunction>(multiply<false>)));
    RANKINE_PETSC(
        MatShellSetOperation(matrix_, MATOP_MULT_TRANSPOSE, reinterpret_cast<ShellFunction>(multiply<true>)));
    RANKINE_PETSC(KSPCreate(PETSC_COMM_SELF, solver_.out()));
    RANKINE_PETSC(KSPSetOptionsPrefix(solver_, "march_"));
    RANKINE_PETSC(KSPSetOperators(solver_, matrix_, matrix_));
    RANKINE_PETSC(KSPSetType(solver_, KSPGMRES));
    RANKINE_PETSC(KSPGMRESSetRestart(solver_, 100));
    // Without it the basis loses its orthogonality on the way to 1e-12.
    RANKINE_PETSC(KSPGMRESSetCGSRefinementType(solver_, KSP_GMRES_CGS_REFINE_IFNEEDED));
    RANKINE_PETSC(KSPSetTolerances(solver_, options.rtol, 1e-300, PETSC_DEFAULT,
                                   options.max_iterations > 0 ? options.max_iterations : n));
    PC shell = nullptr;
    RANKINE_PETSC(KSPGetPC(solver_, &shell));
    RANKINE_PETSC(PCSetType(shell, PCSHELL));
    RANKINE_PETSC(PCShellSetContext(shell, operators_.get()));
    RANKINE_PETSC(PCShellSetApply(shell, precondition<false>));
    RANKINE_PETSC(PCShellSetApplyTranspose(shell, precondition<true>));
    RANKINE_PETSC(KSPSetFromOptions(solver_));
    RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, rhs_.out()));
    RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, solution_.out()));
  }

  bool exact() const override { return options_.max_iterations == 0; }

 private:
  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    const size_t n = operators_->size();
    for (int column = 0; column < columns; ++column) {
      double* values = nullptr;
      RANKINE_PETSC(VecGetArray(rhs_, &values));
      for (size_t i = 0; i < n; ++i) values[i] = rhs[i * columns + column];
      RANKINE_PETSC(VecRestoreArray(rhs_, &values));
      operators_->guard.check(
          transposed ? KSPSolveTranspose(solver_, rhs_, solution_) : KSPSolve(solver_, rhs_, solution_),
          "KSPSolve");
      KSPConvergedReason reason = KSP_CONVERGED_ITERATING;
      RANKINE_PETSC(KSPGetConvergedReason(solver_, &reason));
      const bool ended_as_asked = reason == KSP_DIVERGED_ITS && options_.max_iterations > 0;
      if (reason < 0 && !ended_as_asked) {
        PetscInt iterations = 0;
        RANKINE_PETSC(KSPGetIterationNumber(solver_, &iterations));
        fail(column, std::string("ended with ") + KSPConvergedReasons[reason] + " after " +
                         std::to_string(iterations) + " iterations");
      }
      if (exact()) check_residual(column, transposed);
      const double* results = nullptr;
      RANKINE_PETSC(VecGetArrayRead(solution_, &results));
      for (size_t i = 0; i < n; ++i) solution[i * columns + column] = results[i];
      RANKINE_PETSC(VecRestoreArrayRead(solution_, &results));
    }
  }

  [[noreturn]] static void fail(int column, const std::string& what) {
    throw NumericalError("linear march: GMRES, column " + std::to_string(column) + ": " + what +
                         "; take a better preconditioner or the direct march");
  }

  /// GMRES updates its residual by a recurrence, which a singular system leaves with noise.
  void check_residual(int column, bool transposed) const {
    const size_t n = operators_->size();
    std::vector<double> left(n), start(n);
    const auto precondition = [&](std::vector<double>& field) {
      const LinearMarch& march = *operators_->preconditioner;
      transposed ? march.apply_transpose(field, field) : march.apply(field, field);
      double sum = 0;
      for (double x : field) sum += x * x;
      return std::sqrt(sum);
    };
    const double *x = nullptr, *b = nullptr;
    RANKINE_PETSC(VecGetArrayRead(solution_, &x));
    RANKINE_PETSC(VecGetArrayRead(rhs_, &b));
    transposed ? apply_march_transpose(operators_->matrices, {x, n}, left)
               : apply_march(operators_->matrices, {x, n}, 1, left);
    for (size_t i = 0; i < n; ++i) {
      start[i] = b[i];
      left[i] = b[i] - left[i];
    }
    RANKINE_PETSC(VecRestoreArrayRead(rhs_, &b));
    RANKINE_PETSC(VecRestoreArrayRead(solution_, &x));
    const double residual = precondition(left), size = precondition(start);
    // Rounding leaves more than the recurrence says, but not a thousand times as much. What is not finite
    // fails, too.
    if (!std::isfinite(size) || !(residual <= 1000 * std::max(options_.rtol, 1e-15) * size)) {
      char ratio[32];
      std::snprintf(ratio, sizeof ratio, "%.1e", residual / size);
      fail(column, std::string("the solution leaves ") + ratio +
                       " of the residual, though it should have converged; the matrices are nearly singular");
    }
  }

  GmresOptions options_;
  std::unique_ptr<Operators> operators_;
  Matrix matrix_;
  Solver solver_;
  Vector rhs_, solution_;
};

}  // namespace

std::unique_ptr<LinearMarch> make_gmres_march(MarchMatrices matrices,
                                              std::shared_ptr<const LinearMarch> preconditioner,
                                              const GmresOptions& options) {
  return std::make_unique<GmresMarch>(std::move(matrices), std::move(preconditioner), options);
}

}  // namespace rankine
