// Implicit adaptive integration of stiff ordinary differential equations with tridiagonal Jacobian, as
// semi-discrete parabolic equations in one dimension give them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace rankine {

/// du/dt = f(t, u), n unknowns. Callbacks may throw; the exception reaches the caller of integrate_stiff().
struct OdeSystem {
  int n = 0;
  bool autonomous = false;  ///< f does not depend on t, which allows the cheaper method
  /// Overwrites `f` (n).
  std::function<void(double t, std::span<const double> u, std::span<double> f)> rhs;
  /// Overwrites the bands of df/du (n each): row i is lower[i] u_{i-1} + diagonal[i] u_i + upper[i] u_{i+1}.
  /// The first `lower` and the last `upper` are ignored.
  std::function<void(double t, std::span<const double> u, std::span<double> lower, std::span<double> diagonal,
                     std::span<double> upper)>
      jacobian;
};

enum class OdeMethod {
  automatic,    ///< rosenbrock4 for autonomous systems, rosenbrock3 for others
  rosenbrock3,  ///< Rosenbrock-W ra34pw2, order 3, L-stable
  rosenbrock4,  ///< Rosenbrock 4l, order 4, L-stable; for autonomous systems, since PETSc leaves df/dt out of
                ///< its stages
};

struct OdeOptions {
  double rtol = 1e-7;  ///< local error per step relative to each unknown ...
  double atol = 1e-9;  ///< ... plus this
  OdeMethod method = OdeMethod::automatic;
  long max_steps = 1000000;  ///< over the whole time span, rejected ones not counted
};

enum class OdeStatus {
  completed,   ///< all output times were reached
  step_limit,  ///< max_steps were used up
  not_finite,  ///< the start or its time derivative is NaN or infinite
  failed,      ///< the step size shrank to nothing or the linear solves failed
};

struct OdeResult {
  std::vector<double> values;  ///< [time][unknown]; zero from `reached` on
  int reached = 0;             ///< output times with a value
  long steps = 0, rejected = 0;
  OdeStatus status = OdeStatus::completed;
  std::string reason;  ///< a sentence for people; empty when completed
};

/// Integrates from the first of `times`, where u = u0, through all others (rising), each hit exactly by a
/// step. PETSc TS on this process alone, options prefix `ode_` (for example -ode_ts_monitor, -ode_ts_type
/// bdf). Needs a PetscSession.
OdeResult integrate_stiff(const OdeSystem& system, std::span<const double> u0, std::span<const double> times,
                          const OdeOptions& options = {});

}  // namespace rankine
