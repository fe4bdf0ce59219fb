// Reference solutions of any PDE: the spatial discretisation on a fine grid, integrated in time by PETSc's
// adaptive implicit method. Independent of the time levels and of the march that the methods use.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "solvers/ode.hpp"
#include "src/pde/conservative_scheme.hpp"

namespace rankine {

/// du/dt = M'(u)^-1 G(u) on a grid, or G(u) of a steady problem. Walls that depend on t make it non-autonomous. `limited`: G with
/// LimitedFlux in place of a central flux, and a Jacobian that leaves out how its slopes and wave speeds change.
OdeSystem semi_discrete(const Pde& pde, const Grid& fine, const SchemeParameters& parameters,
                        bool limited = false);

/// The power of ten that an unknown of this size is measured in: 1 for sizes from 0.15 to 1.5, and for 0.
double decade_of(double size);

/// How the method of lines is to differ from a PDE's reference.
struct LinesOptions {
  double rtol = 0;       ///< of a step in time; 0: Pde::reference_rtol()
  bool limited = false;  ///< the convective flux by LimitedFlux (src/pde/limited_flux.hpp)
};

/// From `initial` [fine cell][unknown] at t = 0 to `times` (rising, >= 0), averaged to the cells of `coarse`:
/// [time][cell][unknown]. A step's absolute tolerance is a hundredth of rtol times the unknown's size, which
/// is that of initial states and walls, or of the solution where it stays much smaller. Throws NumericalError
/// where the integrator fails, InputError where `coarse` does not divide `fine`. Of a steady
/// problem, the steady state at all times after 0. Needs a PetscSession.
std::vector<double> method_of_lines(const Pde& pde, std::span<const double> initial,
                                    const SchemeParameters& parameters, const Grid& fine, const Grid& coarse,
                                    std::span<const double> times, const LinesOptions& options = {});

/// A sentence that names place and remedy where a flux grows with its own unknown's derivative at the state u
/// [cell][unknown]; empty where none does. Other unknowns' diffusion may outweigh it.
std::string anti_diffusion(const Pde& pde, const Grid& grid, const SchemeParameters& parameters, double t,
                           std::span<const double> u);

/// Means over `fine / coarse` neighbouring cells of `unknowns` numbers each: [row][fine] -> [row][coarse].
/// `coarse` must divide `fine`.
std::vector<double> average_cells(std::span<const double> values, int fine, int coarse, int unknowns = 1);
/// The same over the boxes of cells of `fine` that are one cell of `coarse`, which must divide it along each
/// axis.
std::vector<double> average_cells(std::span<const double> values, const Grid& fine, const Grid& coarse,
                                  int unknowns = 1);

/// A solution [row][cell of fine][unknown] on a coarser grid: means over its cells, or under the Fourier
/// discretisation the values at their centres.
std::vector<double> on_coarser(const Pde& pde, std::span<const double> values, const Grid& fine,
                               const Grid& coarse);

/// The initial state of a sample on a grid, [cell][unknown]: averaged from the PDE's data_grid() where the
/// grid divides it, else taken at cell centres. Under the Fourier discretisation the values at cell centres of
/// the waves that this keeps on data_grid(); `lost` becomes FourierScheme::lost_share() of it.
std::vector<double> initial_cells(const Pde& pde, std::span<const double> numbers,
                                  std::span<const double> parameters, const Grid& grid,
                                  double* lost = nullptr);

/// The coefficient fields of a sample on a grid in the same way, [field][cell].
std::vector<double> field_cells(const Pde& pde, std::span<const double> numbers,
                                std::span<const double> parameters, const Grid& grid);

/// The same of the exact solution at time t.
std::vector<double> exact_cells(const Pde& pde, double t, std::span<const double> parameters,
                                const Grid& grid);

}  // namespace rankine
