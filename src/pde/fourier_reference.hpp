// Reference solutions by the Fourier discretisation (src/pde/fourier_scheme.hpp).
#pragma once

#include <span>
#include <vector>

#include "src/pde/pde.hpp"

namespace rankine {

/// The solution from `initial` [cell of fine][unknown] at `times` (rising, >= 0) at the centres of the cells of
/// `coarse`: [time][cell][unknown]. Its steps are the largest, of a stable one and its halves, with which it
/// differs by less than rtol from the solution with half of them (root mean square over times and cells, relative
/// to that of each unknown). Throws NumericalError where that takes more than Pde::reference_steps().
std::vector<double> fourier_reference(const Pde& pde, double rtol, std::span<const double> initial,
                                      const SchemeParameters& parameters, const Grid& fine,
                                      const Grid& coarse, std::span<const double> times);

/// Values [row][cell of fine][unknown] of a periodic box at the centres of the cells of `coarse`, by the waves that
/// both grids have: [row][cell of coarse][unknown]. The same values where the grids are the same.
std::vector<double> resampled(std::span<const double> values, const Grid& fine, const Grid& coarse,
                              int unknowns);

}  // namespace rankine
