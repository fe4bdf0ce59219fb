#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <petsctao.h>

#include "solvers/minimise.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Vector = petsc::Handle<Vec, VecDestroy>;
using Optimiser = petsc::Handle<Tao, TaoDestroy>;

struct Context {
  const Objective& f;
  petsc::CallbackGuard guard;
  int evaluations = 0;
  // The best point so far: a line search that fails leaves TAO at its last trial.
  double best = std::numeric_limits<double>::infinity(), best_norm = 0, first = 0, first_norm = 0;
  std::vector<double> at;
};

PetscErrorCode objective(Tao, Vec x, PetscReal* value, Vec gradient, void* pointer) {
  auto& context = *static_cast<Context*>(pointer);
  return context.guard.run([&] {
    const std::size_t n = context.at.size();
    const double* at = nullptr;
    double* g = nullptr;
    RANKINE_PETSC(VecGetArrayRead(x, &at));
    RANKINE_PETSC(VecGetArray(gradient, &g));
    *value = context.f({at, n}, {g, n});
    double squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += g[i] * g[i];
    if (context.evaluations++ == 0) {
      context.first = *value;
      context.first_norm = std::sqrt(squares);
    }
    // To a trial that is not finite the line search shall see a wall, of a height that its cubics bear.
    if (!std::isfinite(*value) || !std::isfinite(squares)) {
      if (std::isfinite(context.best)) *value = context.best + 100 * (1 + std::abs(context.best));
      std::fill(g, g + n, 0.0);
    } else if (*value < context.best) {
      context.best = *value;
      context.best_norm = std::sqrt(squares);
      std::copy(at, at + n, context.at.begin());
    }
    RANKINE_PETSC(VecRestoreArray(gradient, &g));
    RANKINE_PETSC(VecRestoreArrayRead(x, &at));
  });
}

}  // namespace

MinimiseReport minimise_lbfgs(const Objective& f, std::span<double> x, const MinimiseOptions& options) {
  petsc::require_session();
  Context context{.f = f, .guard = {}, .at = std::vector<double>(x.begin(), x.end())};
  std::vector<double> work(x.begin(), x.end());
  Vector state;
  RANKINE_PETSC(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, static_cast<PetscInt>(work.size()), work.data(),
                                      state.out()));
  Optimiser tao;
  RANKINE_PETSC(TaoCreate(PETSC_COMM_SELF, tao.out()));
  RANKINE_PETSC(TaoSetOptionsPrefix(tao, "minimise_"));
  RANKINE_PETSC(TaoSetType(tao, TAOBQNLS));
  RANKINE_PETSC(TaoSetSolution(tao, state));
  RANKINE_PETSC(TaoSetObjectiveAndGradient(tao, nullptr, objective, &context));
  RANKINE_PETSC(TaoSetTolerances(tao, options.atol, 0, options.rtol));
  RANKINE_PETSC(TaoSetMaximumIterations(tao, options.max_iterations));
  RANKINE_PETSC(TaoSetMaximumFunctionEvaluations(tao, PETSC_MAX_INT));
  Mat matrix = nullptr;
  RANKINE_PETSC(TaoGetLMVMMatrix(tao, &matrix));
  RANKINE_PETSC(MatLMVMSetHistorySize(matrix, options.history));
  RANKINE_PETSC(TaoSetFromOptions(tao));

  MinimiseReport report;
  try {
    context.guard.check(TaoSolve(tao), "TaoSolve");
    TaoConvergedReason reason = TAO_CONTINUE_ITERATING;
    RANKINE_PETSC(TaoGetConvergedReason(tao, &reason));
    if (reason == TAO_DIVERGED_MAXITS || reason == TAO_DIVERGED_MAXFCN) {
      report.status = SolveStatus::step_limit;
      report.reason = "the budget of " + std::to_string(options.max_iterations) + " iterations was used up";
    } else if (reason < 0 || reason == TAO_CONVERGED_STEPTOL) {
      report.status = SolveStatus::stalled;
      report.reason =
          std::string("the line search found no lower point (") + TaoConvergedReasons[reason] + ")";
    }
  } catch (const petsc::Error& error) {
    // TAO raises an error instead of a reason where the very first evaluation is not finite.
    report.status = SolveStatus::stalled;
    report.reason = error.what();
  }
  if (!std::isfinite(context.first) || !std::isfinite(context.first_norm)) {
    report.status = SolveStatus::not_finite;
    report.reason = "the function or its gradient is not finite at the start";
    context.best = context.first;
    context.best_norm = context.first_norm;
  }
  PetscInt iterations = 0;
  RANKINE_PETSC(TaoGetIterationNumber(tao, &iterations));
  report.iterations = iterations;
  report.evaluations = context.evaluations;
  report.first_objective = context.first;
  report.first_gradient_norm = context.first_norm;
  report.objective = context.best;
  report.gradient_norm = context.best_norm;
  std::copy(context.at.begin(), context.at.end(), x.begin());
  return report;
}

}  // namespace rankine
