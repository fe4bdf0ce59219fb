#include "src/pde/reference.hpp"

#include "kernels/error.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/pdebench_diffusion_sorption.hpp"

namespace rankine {

Reference diffusion_sorption_reference(double u0, int cells, std::span<const double> times,
                                       const ReferenceOptions& options) {
  RANKINE_ASSERT(times.empty() || times.front() >= 0, "a reference solution starts at t = 0");
  const int n = options.fine_cells;
  const bool starts_later = times.empty() || times.front() > 0;
  std::vector<double> stops(times.begin(), times.end());
  if (starts_later) stops.insert(stops.begin(), 0.0);

  const OdeSystem system = pdebench_diffusion_sorption(options.coefficients, n, options.length);
  const std::vector<double> start(n, u0);
  OdeOptions ode;
  ode.rtol = options.rtol;
  ode.atol = options.atol;
  OdeResult result = integrate_stiff(system, start, stops, ode);

  Reference reference;
  reference.status = result.status;
  reference.reason = std::move(result.reason);
  reference.steps = result.steps;
  const auto wanted = std::span<const double>(result.values).subspan(starts_later ? n : 0);
  reference.values = average_cells(wanted, n, cells);
  return reference;
}

}  // namespace rankine
