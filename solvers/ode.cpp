#include "solvers/ode.hpp"

#include <algorithm>
#include <cmath>

#include <petscts.h>

#include "kernels/error.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace {

using Matrix = petsc::Handle<Mat, MatDestroy>;
using Vector = petsc::Handle<Vec, VecDestroy>;
using Stepper = petsc::Handle<TS, TSDestroy>;

/// What the callbacks of one integration share.
struct Integration {
  const OdeSystem& system;
  petsc::CallbackGuard guard;
  kernels::StencilFrames jacobian;
  std::vector<PetscInt> row_starts, columns;  // the matrix in rows of rising columns
  std::vector<long> entry;                    // where a value of `jacobian` goes in it; -1 outside the domain
  std::vector<long> diagonal;
  double largest_step = 0;  // since the latest output time

  explicit Integration(const OdeSystem& s)
      : system(s), jacobian(1, s.cells, s.unknowns, s.reach, s.periodic) {
    set_pattern();
  }

 private:
  void set_pattern() {
    const int m = system.unknowns, reach = system.reach;
    entry.assign(jacobian.values.size(), -1);
    row_starts.push_back(0);
    std::vector<int> neighbours;
    for (int i = 0; i < system.cells; ++i) {
      neighbours.assign(1, i);
      for (int s = -reach; s <= reach; ++s)
        if (const int k = jacobian.neighbour(i, s); k >= 0) neighbours.push_back(k);
      std::sort(neighbours.begin(), neighbours.end());
      neighbours.erase(std::unique(neighbours.begin(), neighbours.end()), neighbours.end());
      const auto column_of = [&](int k) {
        return (std::lower_bound(neighbours.begin(), neighbours.end(), k) - neighbours.begin()) * m;
      };
      for (int a = 0; a < m; ++a) {
        const long first = row_starts.back();
        for (int s = -reach; s <= reach; ++s) {
          const int k = jacobian.neighbour(i, s);
          const long block = jacobian.at(0, i, s) - jacobian.values.data();
          for (int b = 0; b < m && k >= 0; ++b) entry[block + a * m + b] = first + column_of(k) + b;
        }
        diagonal.push_back(first + column_of(i) + a);
        for (const int k : neighbours)
          for (int b = 0; b < m; ++b) columns.push_back(k * m + b);
        row_starts.push_back(static_cast<PetscInt>(columns.size()));
      }
    }
  }
};

std::span<const double> read(Vec vector, int n) {
  const double* values = nullptr;
  RANKINE_PETSC(VecGetArrayRead(vector, &values));
  return {values, static_cast<size_t>(n)};
}

void release(Vec vector, std::span<const double> values) {
  const double* pointer = values.data();
  RANKINE_PETSC(VecRestoreArrayRead(vector, &pointer));
}

// F(t, u, u') = u' - f(t, u)
PetscErrorCode implicit_function(TS, PetscReal t, Vec u, Vec u_t, Vec f, void* context) {
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    const int n = run.system.size();
    const auto state = read(u, n), rate = read(u_t, n);
    double* result = nullptr;
    RANKINE_PETSC(VecGetArray(f, &result));
    run.system.rhs(t, state, {result, static_cast<size_t>(n)});
    for (int i = 0; i < n; ++i) result[i] = rate[i] - result[i];
    RANKINE_PETSC(VecRestoreArray(f, &result));
    release(u_t, rate);
    release(u, state);
  });
}

// dF/du + shift dF/du' = shift I - df/du
PetscErrorCode implicit_jacobian(TS, PetscReal t, Vec u, Vec, PetscReal shift, Mat, Mat matrix,
                                 void* context) {
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    const int n = run.system.size();
    const auto state = read(u, n);
    std::fill(run.jacobian.values.begin(), run.jacobian.values.end(), 0.0);
    run.system.jacobian(t, state, run.jacobian);
    release(u, state);
    // The pattern is full (make_matrix), so the entries may be written in place.
    double* value = nullptr;
    RANKINE_PETSC(MatSeqAIJGetArray(matrix, &value));
    std::fill_n(value, run.columns.size(), 0.0);
    for (const long at : run.diagonal) value[at] = shift;
    for (size_t k = 0; k < run.entry.size(); ++k)
      if (run.entry[k] >= 0) value[run.entry[k]] -= run.jacobian.values[k];
    RANKINE_PETSC(MatSeqAIJRestoreArray(matrix, &value));
    RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
    RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
  });
}

PetscErrorCode note_step(TS stepper) {
  void* context = nullptr;
  static_cast<void>(TSGetApplicationContext(stepper, &context));
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    PetscReal now = 0, before = 0;
    RANKINE_PETSC(TSGetTime(stepper, &now));
    RANKINE_PETSC(TSGetPrevTime(stepper, &before));
    run.largest_step = std::max(run.largest_step, now - before);
  });
}

Matrix make_matrix(const Integration& run) {
  Matrix matrix;
  const PetscInt n = run.system.size();
  std::vector<PetscInt> row_sizes;
  for (PetscInt r = 0; r < n; ++r) row_sizes.push_back(run.row_starts[r + 1] - run.row_starts[r]);
  RANKINE_PETSC(MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 0, row_sizes.data(), matrix.out()));
  const std::vector<double> ones(run.columns.size(), 1.0);
  for (PetscInt r = 0; r < n; ++r) {
    const PetscInt first = run.row_starts[r];
    RANKINE_PETSC(
        MatSetValues(matrix, 1, &r, row_sizes[r], &run.columns[first], &ones[first], INSERT_VALUES));
  }
  RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
  RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
  return matrix;
}

double weighted_norm(std::span<const double> v, std::span<const double> u, const OdeOptions& options) {
  double sum = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    const double scaled = v[i] / (options.atol + options.rtol * std::abs(u[i]));
    sum += scaled * scaled;
  }
  return std::sqrt(sum / static_cast<double>(v.size()));
}

/// A hundredth of the time in which the solution would change by its own size (Hairer, Norsett, Wanner,
/// II.4).
double first_step(const OdeSystem& system, std::span<const double> u0, double t0, double interval,
                  const OdeOptions& options) {
  std::vector<double> f(u0.size());
  system.rhs(t0, u0, f);
  const double size = weighted_norm(u0, u0, options), rate = weighted_norm(f, u0, options);
  if (!std::isfinite(size) || !std::isfinite(rate)) return NAN;
  const double step = size > 1e-5 && rate > 1e-5 ? 0.01 * size / rate : 1e-6 * interval;
  return std::min(step, interval);
}

Stepper make_stepper(Integration& run, const Matrix& matrix, const OdeOptions& options) {
  Stepper stepper;
  RANKINE_PETSC(TSCreate(PETSC_COMM_SELF, stepper.out()));
  RANKINE_PETSC(TSSetOptionsPrefix(stepper, "ode_"));
  RANKINE_PETSC(TSSetProblemType(stepper, TS_NONLINEAR));
  RANKINE_PETSC(TSSetApplicationContext(stepper, &run));
  RANKINE_PETSC(TSSetIFunction(stepper, nullptr, implicit_function, &run));
  RANKINE_PETSC(TSSetIJacobian(stepper, matrix, matrix, implicit_jacobian, &run));
  RANKINE_PETSC(TSSetPostStep(stepper, note_step));
  RANKINE_PETSC(TSSetType(stepper, TSROSW));
  const bool fourth = options.method == OdeMethod::rosenbrock4 ||
                      (options.method == OdeMethod::automatic && run.system.autonomous);
  RANKINE_PETSC(TSRosWSetType(stepper, fourth ? TSROSW4L : TSROSWRA34PW2));
  RANKINE_PETSC(TSSetTolerances(stepper, options.atol, nullptr, options.rtol, nullptr));
  RANKINE_PETSC(TSSetExactFinalTime(stepper, TS_EXACTFINALTIME_MATCHSTEP));
  RANKINE_PETSC(TSSetMaxSteps(stepper, static_cast<PetscInt>(options.max_steps)));
  RANKINE_PETSC(TSSetMaxStepRejections(stepper, 50));
  RANKINE_PETSC(TSSetErrorIfStepFails(stepper, PETSC_FALSE));
  SNES newton = nullptr;
  KSP solver = nullptr;
  PC preconditioner = nullptr;
  RANKINE_PETSC(TSGetSNES(stepper, &newton));
  RANKINE_PETSC(SNESGetKSP(newton, &solver));
  RANKINE_PETSC(KSPSetType(solver, KSPPREONLY));
  RANKINE_PETSC(KSPGetPC(solver, &preconditioner));
  RANKINE_PETSC(PCSetType(preconditioner, PCLU));
  RANKINE_PETSC(
      PCFactorSetMatOrderingType(preconditioner, run.system.periodic ? MATORDERINGRCM : MATORDERINGNATURAL));
  RANKINE_PETSC(TSSetFromOptions(stepper));
  return stepper;
}

}  // namespace

OdeResult integrate_stiff(const OdeSystem& system, std::span<const double> u0, std::span<const double> times,
                          const OdeOptions& options) {
  petsc::require_session();
  const int n = system.size();
  RANKINE_ASSERT(n > 0 && u0.size() == static_cast<size_t>(n),
                 "the start of an integration holds cells x unknowns numbers");
  RANKINE_ASSERT(options.method != OdeMethod::rosenbrock4 || system.autonomous,
                 "rosenbrock4 would lose its order on a system that depends on t; use rosenbrock3");
  RANKINE_ASSERT(std::is_sorted(times.begin(), times.end(), std::less_equal<>()),
                 "output times must rise strictly");
  OdeResult result;
  result.values.assign(times.size() * n, 0);
  if (times.empty()) return result;
  std::copy(u0.begin(), u0.end(), result.values.begin());
  result.reached = 1;
  if (times.size() == 1) return result;

  double step = first_step(system, u0, times[0], times[1] - times[0], options);
  if (!std::isfinite(step)) {
    result.status = OdeStatus::not_finite;
    result.reason = "the initial state or its time derivative is not finite";
    return result;
  }
  Integration run(system);
  const Matrix matrix = make_matrix(run);
  const Stepper stepper = make_stepper(run, matrix, options);
  Vector state;
  RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, state.out()));
  double* values = nullptr;
  RANKINE_PETSC(VecGetArray(state, &values));
  std::copy(u0.begin(), u0.end(), values);
  RANKINE_PETSC(VecRestoreArray(state, &values));
  RANKINE_PETSC(TSSetTime(stepper, times[0]));

  for (size_t k = 1; k < times.size(); ++k) {
    run.largest_step = 0;
    RANKINE_PETSC(TSSetMaxTime(stepper, times[k]));
    RANKINE_PETSC(TSSetTimeStep(stepper, std::min(step, times[k] - times[k - 1])));
    const PetscErrorCode code = TSSolve(stepper, state);
    const auto stopped = [&](OdeStatus status, std::string why) {
      const auto last = read(state, n);
      result.last_state.assign(last.begin(), last.end());
      release(state, last);
      PetscReal reached = 0;
      RANKINE_PETSC(TSGetTime(stepper, &reached));
      result.last_time = reached;
      result.status = status;
      result.reason = "the integration stopped at t = " + std::to_string(reached) + " of " +
                      std::to_string(times.back()) + ": " + std::move(why);
      return result;
    };
    if (code == PETSC_ERR_FP)
      return stopped(OdeStatus::failed, "the solution or its rate is infinite or NaN");
    run.guard.check(code, "TSSolve");
    TSConvergedReason reason = TS_CONVERGED_ITERATING;
    PetscInt steps = 0, rejected = 0;
    PetscReal proposed = 0;
    RANKINE_PETSC(TSGetConvergedReason(stepper, &reason));
    RANKINE_PETSC(TSGetStepNumber(stepper, &steps));
    RANKINE_PETSC(TSGetStepRejections(stepper, &rejected));
    RANKINE_PETSC(TSGetTimeStep(stepper, &proposed));
    result.steps = steps;
    result.rejected = rejected;
    if (reason != TS_CONVERGED_TIME) {
      const std::string count = std::to_string(steps) + " steps (" + std::to_string(rejected) + " rejected)";
      return reason == TS_CONVERGED_ITS
                 ? stopped(OdeStatus::step_limit, count + " were not enough")
                 : stopped(OdeStatus::failed, "after " + count + " the step size has shrunk to nothing");
    }
    // The last step was cut to hit the output time; do not let it slow down the next interval.
    step = std::max<double>(proposed, run.largest_step);
    const auto final_state = read(state, n);
    std::copy(final_state.begin(), final_state.end(), result.values.begin() + static_cast<long>(k) * n);
    release(state, final_state);
    result.reached = static_cast<int>(k) + 1;
  }
  return result;
}

}  // namespace rankine
