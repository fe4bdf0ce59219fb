// The least-squares interface on TAO's bounded regularised Gauss-Newton method.
#include <algorithm>
#include <cmath>

#include <petsctao.h>

#include "kernels/error.hpp"
#include "solvers/least_squares.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Optimiser = petsc::Handle<Tao, TaoDestroy>;

struct Context {
  LeastSquaresProblem& problem;
  petsc::CallbackGuard guard;
  std::vector<double> rho, jacobian;  // jacobian row-major, as the problem fills it
  bool finite = true;                 // of the latest evaluation
};

template <class Body>
void with_state(Vec w, int n, const Body& body) {
  const double* values = nullptr;
  RANKINE_PETSC(VecGetArrayRead(w, &values));
  body(std::span<const double>(values, n));
  RANKINE_PETSC(VecRestoreArrayRead(w, &values));
}

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

PetscErrorCode residual(Tao, Vec w, Vec rho, void* pointer) {
  auto& context = *static_cast<Context*>(pointer);
  return context.guard.run([&] {
    double* values = nullptr;
    RANKINE_PETSC(VecGetArray(rho, &values));
    const std::span rows(values, context.rho.size());
    with_state(w, context.problem.unknowns(), [&](auto state) { context.problem.residual(state, rows); });
    context.finite = all_finite(rows);
    RANKINE_PETSC(VecRestoreArray(rho, &values));
  });
}

PetscErrorCode jacobian(Tao, Vec w, Mat matrix, Mat, void* pointer) {
  auto& context = *static_cast<Context*>(pointer);
  return context.guard.run([&] {
    const int n = context.problem.unknowns();
    const size_t rows = context.rho.size();
    with_state(w, n, [&](auto state) { context.problem.linearise(state, context.rho, context.jacobian); });
    context.finite = all_finite(context.jacobian);
    double* columns = nullptr;
    RANKINE_PETSC(MatDenseGetArray(matrix, &columns));
    for (size_t r = 0; r < rows; ++r) {
      for (int j = 0; j < n; ++j) columns[j * rows + r] = context.jacobian[r * n + j];
    }
    RANKINE_PETSC(MatDenseRestoreArray(matrix, &columns));
    RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
    RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
  });
}

/// PETSc 3.18 has no call for what these options set.
void set_default_option(const char* name, const char* value) {
  PetscBool given = PETSC_FALSE;
  RANKINE_PETSC(PetscOptionsHasName(nullptr, nullptr, name, &given));
  if (!given) RANKINE_PETSC(PetscOptionsSetValue(nullptr, name, value));
}

Optimiser make_optimiser(Context& context, Vec w, Vec rho, Mat matrix, const LeastSquaresOptions& options) {
  set_default_option("-expert_tao_brgn_regularization_type", "lm");
  // TAO's own choice with `lm` is to take every full step, uphill ones included.
  set_default_option("-expert_tao_brgn_subsolver_tao_ls_type", "armijo");
  Optimiser tao;
  RANKINE_PETSC(TaoCreate(PETSC_COMM_SELF, tao.out()));
  // The inner solver takes the prefix over when the type is set.
  RANKINE_PETSC(TaoSetOptionsPrefix(tao, "expert_"));
  RANKINE_PETSC(TaoSetType(tao, TAOBRGN));
  RANKINE_PETSC(TaoSetSolution(tao, w));
  RANKINE_PETSC(TaoSetResidualRoutine(tao, rho, residual, &context));
  RANKINE_PETSC(TaoSetJacobianResidualRoutine(tao, matrix, matrix, jacobian, &context));
  RANKINE_PETSC(TaoBRGNSetRegularizerWeight(tao, options.damping));
  RANKINE_PETSC(TaoSetTolerances(tao, options.atol, 0, options.rtol));
  RANKINE_PETSC(TaoSetMaximumIterations(tao, options.max_steps));
  RANKINE_PETSC(TaoSetMaximumFunctionEvaluations(tao, PETSC_MAX_INT));
  RANKINE_PETSC(TaoSetFromOptions(tao));
  return tao;
}

SolveReport interpret(TaoConvergedReason reason, const Context& context, const LeastSquaresOptions& options) {
  SolveReport report;
  const std::string name = TaoConvergedReasons[reason];
  if (reason > 0 && reason != TAO_CONVERGED_STEPTOL) return report;
  if (reason == TAO_DIVERGED_MAXITS || reason == TAO_DIVERGED_MAXFCN) {
    report.status = SolveStatus::step_limit;
    report.reason =
        "the budget of " + std::to_string(options.max_steps) + " steps was used up (" + name + ")";
  } else if (reason == TAO_DIVERGED_NAN || !context.finite) {
    report.status = SolveStatus::not_finite;
    report.reason = "the residual or its Jacobian is not finite (" + name + ")";
  } else {
    report.status = SolveStatus::stalled;
    report.reason = "no step along the Gauss-Newton direction lowers the objective (" + name + ")";
  }
  return report;
}

class TaoBrgn final : public LeastSquaresSolver {
 public:
  SolveReport solve(LeastSquaresProblem& problem, std::span<double> w,
                    const LeastSquaresOptions& options) override {
    petsc::require_session();
    const int n = problem.unknowns();
    const long rows = problem.rows();
    Context context{problem, {}, std::vector<double>(rows), std::vector<double>(rows * n)};
    Vector state, rho;
    Matrix matrix;
    RANKINE_PETSC(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, n, w.data(), state.out()));
    RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, static_cast<PetscInt>(rows), rho.out()));
    RANKINE_PETSC(MatCreateSeqDense(PETSC_COMM_SELF, static_cast<PetscInt>(rows), n, nullptr, matrix.out()));
    const Optimiser tao = make_optimiser(context, state, rho, matrix, options);

    SolveReport report;
    const std::vector<double> start(w.begin(), w.end());
    try {
      context.guard.check(TaoSolve(tao), "TaoSolve");
      TaoConvergedReason reason = TAO_CONTINUE_ITERATING;
      RANKINE_PETSC(TaoGetConvergedReason(tao, &reason));
      report = interpret(reason, context, options);
    } catch (const petsc::Error& error) {
      // TAO raises an error instead of a reason where the very first evaluation is not finite.
      report.status = context.finite ? SolveStatus::stalled : SolveStatus::not_finite;
      report.reason = error.what();
    }
    PetscInt iterations = 0;
    RANKINE_PETSC(TaoGetIterationNumber(tao, &iterations));
    report.iterations = iterations;
    if (!all_finite(w)) std::copy(start.begin(), start.end(), w.begin());
    const LinearisedSystem system = reduce(problem, w, Reduction::normal);
    report.objective = system.objective;
    double squares = 0;
    for (double g : system.gradient) squares += g * g;
    report.gradient_norm = std::sqrt(squares);
    if (!std::isfinite(report.objective) || !std::isfinite(report.gradient_norm)) {
      report.status = SolveStatus::not_finite;
      report.reason = "the objective or its gradient is not finite";
    }
    return report;
  }
};

}  // namespace

std::unique_ptr<LeastSquaresSolver> make_tao_brgn() { return std::make_unique<TaoBrgn>(); }

}  // namespace rankine
