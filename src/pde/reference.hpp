// Reference solutions of the diffusion-sorption problem, computed as PDEBench computes its data but with an
// implicit integrator and a tolerance of our choice.
#pragma once

#include <span>
#include <vector>

#include "solvers/ode.hpp"
#include "src/pde/diffusion_sorption_coefficients.hpp"

namespace rankine {

struct ReferenceOptions {
  DiffusionSorptionCoefficients coefficients = {};
  double length = 1;
  int fine_cells = 1024;  ///< cells that the problem is solved on
  /// Tolerance of a time step; the solution's own relative L2 error is about a tenth of it (measured).
  double rtol = 1e-7;
  double atol = 1e-9;
};

/// One sample.
struct Reference {
  std::vector<double> values;  ///< [time][cell]
  OdeStatus status = OdeStatus::completed;
  std::string reason;  ///< a sentence for people; empty when completed
  long steps = 0;      ///< time steps taken
};

/// The solution that is `u0` everywhere at t = 0, at `times` (rising, >= 0), averaged over fine_cells / cells
/// neighbours to each of `cells` coarse ones. Throws InputError when `cells` does not divide fine_cells.
/// Needs a PetscSession. About 0.1 s for 1024 cells and 101 times.
Reference diffusion_sorption_reference(double u0, int cells, std::span<const double> times,
                                       const ReferenceOptions& options = {});

}  // namespace rankine
