// Reference solutions of any PDE: the spatial discretisation on a fine grid, integrated in time by PETSc's
// adaptive implicit method. Independent of the time levels and of the march that the methods use.
#pragma once

#include <span>
#include <vector>

#include "solvers/ode.hpp"
#include "src/pde/conservative_scheme.hpp"

namespace rankine {

/// du/dt = M'(u)^-1 G(u) on `fine_cells` cells. Walls that depend on t make it non-autonomous.
OdeSystem semi_discrete(const Pde& pde, int fine_cells, const std::vector<double>& parameters);

/// From `initial` [fine cell][unknown] at t = 0 to `times` (rising, >= 0), averaged to `cells` cells:
/// [time][cell][unknown]. Throws NumericalError where the integrator fails, InputError where `cells` does not
/// divide fine_cells. Needs a PetscSession.
std::vector<double> method_of_lines(const Pde& pde, std::span<const double> initial,
                                    const std::vector<double>& parameters, int fine_cells, int cells,
                                    std::span<const double> times);

/// Means over `fine / coarse` neighbouring cells of `unknowns` numbers each: [row][fine] -> [row][coarse].
/// `coarse` must divide `fine`.
std::vector<double> average_cells(std::span<const double> values, int fine, int coarse, int unknowns = 1);

/// The initial state of a sample on `cells` cells, [cell][unknown]: averaged from the PDE's data_cells()
/// where `cells` divides them, else taken at cell centres.
std::vector<double> initial_cells(const Pde& pde, std::span<const double> numbers,
                                  std::span<const double> parameters, int cells);

/// The same of the exact solution at time t.
std::vector<double> exact_cells(const Pde& pde, double t, std::span<const double> parameters, int cells);

}  // namespace rankine
