// The semi-discrete problem whose solutions PDEBench publishes (Takamoto et al. 2022, data generator of
// "1D diffusion-sorption"), and a manufactured solution that tells its order.
#pragma once

#include <functional>

#include "solvers/ode.hpp"
#include "src/pde/diffusion_sorption_coefficients.hpp"

namespace rankine {

/// On n cell centres x_i = (i + 1/2) length / n:
///   du_i/dt = D / R(u_i) (u_{i-1} - 2 u_i + u_{i+1}) / dx^2,   ghosts u_{-1} = 1, u_n = D (u_{n-2} -
///   u_{n-1}) / dx
/// The right ghost is PDEBench's: its sign is opposite to the Robin condition u = D u_x that the paper's rows
/// ask for, and it is near 0, so the solution falls to 0 at the wall. Both ghost values hold at ghost
/// centres, half a cell outside the domain: against the wall conditions themselves the closure is of first
/// order (u = 1 at x = -dx/2). Measured on the same law with exact ghosts at the ghost centres, the scheme is
/// of second order.
OdeSystem pdebench_diffusion_sorption(const DiffusionSorptionCoefficients& coefficients, int n,
                                      double length = 1);

/// A smooth solution u(x, t) of the same equation with a source, for order tests.
struct ManufacturedSolution {
  double value, t, xx;  ///< u, u_t, u_xx
};
using ManufacturedField = std::function<ManufacturedSolution(double x, double t)>;

/// How the ghosts of manufactured_diffusion_sorption() are set.
enum class GhostClosure {
  exact,       ///< the solution at the ghost centre
  wall_value,  ///< the solution at the wall itself, taken for the ghost: PDEBench's reading of u = 1 at x = 0
};

/// The scheme above with Dirichlet data and source S = u_t - D / R(u) u_xx of a given solution.
OdeSystem manufactured_diffusion_sorption(const DiffusionSorptionCoefficients& coefficients, int n,
                                          double length, ManufacturedField solution, GhostClosure closure);

}  // namespace rankine
