// Implicit adaptive integration of stiff ordinary differential equations whose Jacobian is a stencil, as
// semi-discrete equations give them.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/stencil_frames.hpp"

namespace rankine {

/// du/dt = f(t, u) with u: [cell][unknown]. Row i of f reads the cells i - reach .. i + reach, round the end
/// where periodic, or those of the layout. Callbacks may throw: a NumericalError ends the
/// integration with its message as the reason, anything else reaches the caller of integrate_stiff().
struct OdeSystem {
  int cells = 0, unknowns = 1, reach = 1;
  bool periodic = false;
  std::shared_ptr<const kernels::StencilLayout> layout = nullptr;  ///< null with one axis
  bool autonomous = false;  ///< f does not depend on t, which allows the cheaper method
  /// Overwrites `f` (size()).
  std::function<void(double t, std::span<const double> u, std::span<double> f)> rhs;
  /// Sets df/du: one frame of the system's shape, zero on entry.
  std::function<void(double t, std::span<const double> u, kernels::StencilFrames& out)> jacobian;

  int size() const { return cells * unknowns; }
  /// An empty Jacobian.
  kernels::StencilFrames shape() const {
    if (layout) return {1, layout, unknowns};
    return {1, cells, unknowns, reach, periodic};
  }
};

enum class OdeMethod {
  automatic,    ///< rosenbrock4 for autonomous systems, rosenbrock3 for others
  rosenbrock3,  ///< Rosenbrock-W ra34pw2, order 3, L-stable
  rosenbrock4,  ///< Rosenbrock 4l, order 4, L-stable; for autonomous systems, since PETSc leaves df/dt out of
                ///< its stages
};

struct OdeOptions {
  double rtol = 1e-7;  ///< local error per step relative to each unknown ...
  double atol = 1e-9;  ///< ... plus this, times the unknown's scale
  /// What counts as small, of each unknown (positive); empty: 1.
  std::vector<double> scale = {};
  OdeMethod method = OdeMethod::automatic;
  /// Over the whole time span. Rejected steps do not count, nor does the step that an output time or a stop
  /// cuts short.
  long max_steps = 1000000;
  /// Rising times at which f jumps or begins to vary faster than before: a step ends there, f is taken from
  /// each side alone, and the next step starts small.
  std::vector<double> stops = {};
};

enum class OdeStatus {
  completed,   ///< all output times were reached
  step_limit,  ///< max_steps were used up
  not_finite,  ///< the start or its time derivative is NaN or infinite
  pole,        ///< the solution blew up: a step went over a pole and came out with the other sign
  failed,      ///< the step size shrank to nothing or the linear solves failed
};

struct OdeResult {
  std::vector<double> values;  ///< [time][cell][unknown]; zero from `reached` on
  int reached = 0;             ///< output times with a value
  long steps = 0, rejected = 0;
  OdeStatus status = OdeStatus::completed;
  std::string reason;  ///< a sentence for people; empty when completed
  /// Where an integration that did not complete stood: time and state, for a diagnosis. Of a pole, those
  /// before it.
  double last_time = 0;
  std::vector<double> last_state = {};
};

/// Largest |u| of each unknown in [...][unknown].
std::vector<double> largest_values(std::span<const double> u, int unknowns);

/// Integrates from the first of `times`, where u = u0, through all others (rising), each hit exactly by a
/// step. PETSc TS on this process alone, options prefix `ode_` (for example -ode_ts_monitor, -ode_ts_type
/// bdf). Needs a PetscSession.
OdeResult integrate_stiff(const OdeSystem& system, std::span<const double> u0, std::span<const double> times,
                          const OdeOptions& options = {});

/// The state with f(0, u) = 0 that Newton's method with a line search reaches from u0: PETSc SNES on this process
/// alone, options prefix `steady_`, until |f| falls below rtol |f(u0)| or steps below rtol |u|. Throws
/// NumericalError where it does not converge or the Jacobian is singular. Needs a PetscSession.
std::vector<double> stationary_state(const OdeSystem& system, std::span<const double> u0, double rtol);

}  // namespace rankine
