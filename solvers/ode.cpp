#include "solvers/ode.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <petscts.h>

#include "kernels/error.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {

std::vector<double> largest_values(std::span<const double> u, int unknowns) {
  std::vector<double> largest(unknowns, 0.0);
  for (size_t i = 0; i < u.size(); ++i)
    largest[i % unknowns] = std::max(largest[i % unknowns], std::abs(u[i]));
  return largest;
}

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
  double largest_step = 0;  // since the latest output time or stop
  // f is called with times of the open interval between two stops: at a stop it belongs to one side.
  double first_time = 0, last_time = 0;
  // To see a pole: the state before the step, and the largest value of each unknown at the start.
  std::vector<double> before, size_at_start;
  double time_before = 0;
  bool pole = false;

  explicit Integration(const OdeSystem& s) : system(s), jacobian(s.shape()) { set_pattern(); }
  double inside(double t) const { return std::clamp(t, first_time, last_time); }

 private:
  void set_pattern() {
    const int m = system.unknowns, reach = jacobian.reach;
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
    run.system.rhs(run.inside(t), state, {result, static_cast<size_t>(n)});
    for (int i = 0; i < n; ++i) result[i] = rate[i] - result[i];
    RANKINE_PETSC(VecRestoreArray(f, &result));
    release(u_t, rate);
    release(u, state);
  });
}

/// matrix = shift I - sign df/du at a state.
void set_jacobian(Integration& run, double t, std::span<const double> state, double shift, double sign,
                  Mat matrix) {
  std::fill(run.jacobian.values.begin(), run.jacobian.values.end(), 0.0);
  run.system.jacobian(t, state, run.jacobian);
  // The pattern is full (make_matrix), so the entries may be written in place.
  double* value = nullptr;
  RANKINE_PETSC(MatSeqAIJGetArray(matrix, &value));
  std::fill_n(value, run.columns.size(), 0.0);
  for (const long at : run.diagonal) value[at] = shift;
  for (size_t k = 0; k < run.entry.size(); ++k)
    if (run.entry[k] >= 0) value[run.entry[k]] -= sign * run.jacobian.values[k];
  RANKINE_PETSC(MatSeqAIJRestoreArray(matrix, &value));
  RANKINE_PETSC(MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY));
  RANKINE_PETSC(MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY));
}

// dF/du + shift dF/du' = shift I - df/du
PetscErrorCode implicit_jacobian(TS, PetscReal t, Vec u, Vec, PetscReal shift, Mat, Mat matrix,
                                 void* context) {
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    const auto state = read(u, run.system.size());
    set_jacobian(run, run.inside(t), state, shift, 1, matrix);
    release(u, state);
  });
}

/// Whether the step from `run.before` went over a pole: a large value has changed its sign against its rates
/// on both sides. An error estimate does not see that where the solution beyond the pole is smooth again.
bool over_a_pole(const Integration& run, double t, std::span<const double> now) {
  constexpr double growth = 30, share = 1e-6;
  const int m = run.system.unknowns;
  const std::vector<double> largest = largest_values(run.before, m);
  std::vector<double> rate_before, rate_now;
  for (size_t i = 0; i < now.size(); ++i) {
    const double old = run.before[i], large = largest[i % m];
    if (!(old * now[i] < 0) || large < growth * run.size_at_start[i % m] ||
        std::min(std::abs(old), std::abs(now[i])) < share * large)
      continue;
    if (rate_before.empty()) {
      rate_before.resize(now.size());
      rate_now.resize(now.size());
      run.system.rhs(run.inside(run.time_before), run.before, rate_before);
      run.system.rhs(run.inside(t), now, rate_now);
    }
    const double change = now[i] - old;
    if (rate_before[i] * change < 0 && rate_now[i] * change < 0) return true;
  }
  return false;
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
    Vec solution = nullptr;
    RANKINE_PETSC(TSGetSolution(stepper, &solution));
    const auto state = read(solution, run.system.size());
    if (over_a_pole(run, now, state)) {
      run.pole = true;  // `before` keeps the state that makes sense
      RANKINE_PETSC(TSSetConvergedReason(stepper, TS_CONVERGED_USER));
    } else {
      run.before.assign(state.begin(), state.end());
      run.time_before = now;
    }
    release(solution, state);
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

/// The absolute tolerance of entry i of a state.
double absolute_tolerance(const OdeOptions& options, size_t i) {
  return options.scale.empty() ? options.atol : options.atol * options.scale[i % options.scale.size()];
}

double weighted_norm(std::span<const double> v, std::span<const double> u, const OdeOptions& options) {
  double sum = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    const double scaled = v[i] / (absolute_tolerance(options, i) + options.rtol * std::abs(u[i]));
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

/// Direct factors, or with three axes, whose factors fill up, GMRES with incomplete ones.
void choose_solver(const OdeSystem& system, KSP solver, PC preconditioner) {
  if (system.layout && system.layout->axes() == 3) {
    RANKINE_PETSC(KSPSetType(solver, KSPGMRES));
    RANKINE_PETSC(KSPSetTolerances(solver, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 1000));
    RANKINE_PETSC(PCSetType(preconditioner, PCILU));
    return;
  }
  RANKINE_PETSC(KSPSetType(solver, KSPPREONLY));
  RANKINE_PETSC(PCSetType(preconditioner, PCLU));
  RANKINE_PETSC(PCFactorSetMatOrderingType(preconditioner, system.layout     ? MATORDERINGND
                                                           : system.periodic ? MATORDERINGRCM
                                                                             : MATORDERINGNATURAL));
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
  Vector tolerances;
  if (!options.scale.empty()) {
    const int n = run.system.size();
    RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, tolerances.out()));
    double* values = nullptr;
    RANKINE_PETSC(VecGetArray(tolerances, &values));
    for (int i = 0; i < n; ++i) values[i] = absolute_tolerance(options, static_cast<size_t>(i));
    RANKINE_PETSC(VecRestoreArray(tolerances, &values));
  }
  RANKINE_PETSC(TSSetTolerances(stepper, options.atol, tolerances, options.rtol, nullptr));
  RANKINE_PETSC(TSSetExactFinalTime(stepper, TS_EXACTFINALTIME_MATCHSTEP));
  RANKINE_PETSC(TSSetMaxStepRejections(stepper, 50));
  RANKINE_PETSC(TSSetErrorIfStepFails(stepper, PETSC_FALSE));
  SNES newton = nullptr;
  KSP solver = nullptr;
  PC preconditioner = nullptr;
  RANKINE_PETSC(TSGetSNES(stepper, &newton));
  RANKINE_PETSC(SNESGetKSP(newton, &solver));
  RANKINE_PETSC(KSPGetPC(solver, &preconditioner));
  choose_solver(run.system, solver, preconditioner);
  RANKINE_PETSC(TSSetFromOptions(stepper));
  return stepper;
}

}  // namespace

namespace {

/// A time that a step ends at.
struct Target {
  double time;
  bool stop;         // f may jump here
  long output = -1;  // which output time it is
};

std::vector<Target> targets_of(std::span<const double> times, const std::vector<double>& stops) {
  std::vector<Target> targets;
  for (size_t k = 1; k < times.size(); ++k) targets.push_back({times[k], false, static_cast<long>(k)});
  for (const double stop : stops) {
    if (!(stop > times.front() && stop < times.back())) continue;
    const auto at = std::lower_bound(targets.begin(), targets.end(), stop,
                                     [](const Target& target, double t) { return target.time < t; });
    if (at->time == stop) {
      at->stop = true;
    } else {
      targets.insert(at, {stop, true});
    }
  }
  return targets;
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

  RANKINE_ASSERT(options.scale.empty() || options.scale.size() == static_cast<size_t>(system.unknowns),
                 "one scale for each unknown");
  RANKINE_ASSERT(std::is_sorted(options.stops.begin(), options.stops.end()), "stops must rise");
  Integration run(system);
  const std::vector<Target> targets = targets_of(times, options.stops);
  // f is asked for at times between two stops, a few units in the last place inside.
  const double inside =
      4 * std::numeric_limits<double>::epsilon() * std::max(std::abs(times[0]), times.back());
  const auto enter = [&](size_t from) {  // the interval that begins before target `from`
    run.first_time = from == 0 ? times[0] : targets[from - 1].time + inside;
    const auto end = std::find_if(targets.begin() + static_cast<long>(from), targets.end(),
                                  [](const Target& target) { return target.stop; });
    run.last_time = std::max(run.first_time, end == targets.end() ? times.back() : end->time - inside);
  };
  enter(0);
  double step = first_step(system, u0, run.first_time, targets[0].time - times[0], options);
  if (!std::isfinite(step)) {
    result.status = OdeStatus::not_finite;
    result.reason = "the initial state or its time derivative is not finite";
    return result;
  }
  const Matrix matrix = make_matrix(run);
  const Stepper stepper = make_stepper(run, matrix, options);
  run.before.assign(u0.begin(), u0.end());
  run.time_before = times[0];
  run.size_at_start = largest_values(u0, system.unknowns);
  for (int a = 0; a < system.unknowns; ++a) {
    const double scale = options.scale.empty() ? 1 : options.scale[static_cast<size_t>(a)];
    if (run.size_at_start[static_cast<size_t>(a)] == 0) run.size_at_start[static_cast<size_t>(a)] = scale;
  }
  Vector state;
  RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, state.out()));
  double* values = nullptr;
  RANKINE_PETSC(VecGetArray(state, &values));
  std::copy(u0.begin(), u0.end(), values);
  RANKINE_PETSC(VecRestoreArray(state, &values));
  RANKINE_PETSC(TSSetTime(stepper, times[0]));

  for (size_t k = 0; k < targets.size(); ++k) {
    const double start = k == 0 ? times[0] : targets[k - 1].time;
    run.largest_step = 0;
    RANKINE_PETSC(TSSetMaxSteps(stepper, static_cast<PetscInt>(options.max_steps + static_cast<long>(k))));
    RANKINE_PETSC(TSSetMaxTime(stepper, targets[k].time));
    RANKINE_PETSC(TSSetTimeStep(stepper, std::min(step, targets[k].time - start)));
    const PetscErrorCode code = TSSolve(stepper, state);
    const auto stopped = [&](OdeStatus status, std::string why) {
      result.last_state = run.before;
      result.last_time = run.time_before;
      result.status = status;
      result.reason = "the integration stopped at t = " + std::to_string(run.time_before) + " of " +
                      std::to_string(times.back()) + ": " + std::move(why);
      return result;
    };
    if (code == PETSC_ERR_FP)
      return stopped(OdeStatus::failed, "the solution or its rate is infinite or NaN");
    try {
      run.guard.check(code, "TSSolve");
    } catch (const NumericalError& error) {
      return stopped(OdeStatus::failed, error.what());
    }
    if (run.pole) return stopped(OdeStatus::pole, "the solution blows up there");
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
    // The last step was cut to hit the target; do not let it slow down the next interval.
    step = std::max<double>(proposed, run.largest_step);
    if (targets[k].output >= 0) {
      const auto now = read(state, n);
      std::copy(now.begin(), now.end(), result.values.begin() + targets[k].output * n);
      release(state, now);
      result.reached = static_cast<int>(targets[k].output) + 1;
    }
    if (targets[k].stop && k + 1 < targets.size()) {
      enter(k + 1);
      step = first_step(system, run.before, run.first_time, targets[k + 1].time - targets[k].time, options);
      if (!std::isfinite(step)) return stopped(OdeStatus::not_finite, "the rate beyond it is not finite");
    }
  }
  return result;
}

namespace {

using Newton = petsc::Handle<SNES, SNESDestroy>;

PetscErrorCode stationary_function(SNES, Vec u, Vec f, void* context) {
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    const int n = run.system.size();
    const auto state = read(u, n);
    double* result = nullptr;
    RANKINE_PETSC(VecGetArray(f, &result));
    run.system.rhs(0, state, {result, static_cast<size_t>(n)});
    RANKINE_PETSC(VecRestoreArray(f, &result));
    release(u, state);
  });
}

PetscErrorCode stationary_jacobian(SNES, Vec u, Mat, Mat matrix, void* context) {
  auto& run = *static_cast<Integration*>(context);
  return run.guard.run([&] {
    const auto state = read(u, run.system.size());
    set_jacobian(run, 0, state, 0, -1, matrix);
    release(u, state);
  });
}

}  // namespace

std::vector<double> stationary_state(const OdeSystem& system, std::span<const double> u0, double rtol) {
  petsc::require_session();
  Integration run(system);
  const int n = system.size();
  const Matrix matrix = make_matrix(run);
  Vector state, residual;
  RANKINE_PETSC(VecCreateSeq(PETSC_COMM_SELF, n, state.out()));
  RANKINE_PETSC(VecDuplicate(state, residual.out()));
  double* values = nullptr;
  RANKINE_PETSC(VecGetArray(state, &values));
  std::copy(u0.begin(), u0.end(), values);
  RANKINE_PETSC(VecRestoreArray(state, &values));
  Newton newton;
  RANKINE_PETSC(SNESCreate(PETSC_COMM_SELF, newton.out()));
  RANKINE_PETSC(SNESSetOptionsPrefix(newton, "steady_"));
  RANKINE_PETSC(SNESSetFunction(newton, residual, stationary_function, &run));
  RANKINE_PETSC(SNESSetJacobian(newton, matrix, matrix, stationary_jacobian, &run));
  RANKINE_PETSC(SNESSetTolerances(newton, PETSC_DEFAULT, rtol, rtol, 100, PETSC_DEFAULT));
  KSP solver = nullptr;
  PC preconditioner = nullptr;
  RANKINE_PETSC(SNESGetKSP(newton, &solver));
  RANKINE_PETSC(KSPGetPC(solver, &preconditioner));
  choose_solver(system, solver, preconditioner);
  RANKINE_PETSC(SNESSetFromOptions(newton));
  run.guard.check(SNESSolve(newton, nullptr, state), "SNESSolve");
  SNESConvergedReason reason = SNES_CONVERGED_ITERATING;
  RANKINE_PETSC(SNESGetConvergedReason(newton, &reason));
  const auto solution = read(state, n);
  const std::vector<double> out(solution.begin(), solution.end());
  release(state, solution);
  if (reason <= 0 || !std::all_of(out.begin(), out.end(), [](double u) { return std::isfinite(u); }))
    throw NumericalError(
        std::string("the steady state was not reached: Newton's method ended with ") +
        SNESConvergedReasons[reason] +
        "; begin nearer to the solution (pde.typical_state), and where all walls hold slopes give one a value");
  return out;
}

}  // namespace rankine
