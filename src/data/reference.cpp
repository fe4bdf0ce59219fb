#include "src/data/reference.hpp"

#include "kernels/error.hpp"
#include "src/pde/pdebench_diffusion_sorption.hpp"

namespace rankine {

std::vector<double> average_cells(std::span<const double> values, int fine, int coarse) {
  if (coarse < 1 || fine % coarse != 0) {
    throw InputError("cannot average " + std::to_string(fine) + " cells to " + std::to_string(coarse) +
                     ": the coarse number of cells must divide the fine one");
  }
  const int ratio = fine / coarse;
  std::vector<double> means(values.size() / ratio);
  for (size_t i = 0; i < means.size(); ++i) {
    double sum = 0;
    for (int k = 0; k < ratio; ++k) sum += values[i * ratio + k];
    means[i] = sum / ratio;
  }
  return means;
}

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
