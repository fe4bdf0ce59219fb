#include "src/pde/pde.hpp"

#include <cmath>

#include "kernels/error.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/wall_checks.hpp"

namespace rankine {

double PdeParameter::at(double share) const {
  if (!sampled) return value;
  return logarithmic ? minimum * std::pow(maximum / minimum, share) : minimum + (maximum - minimum) * share;
}

void Pde::source(const kernels::TermPoints&, int, kernels::TermValues&) const {
  RANKINE_ASSERT(!has_source(), "a PDE with a source must say it");
}

void Pde::device_storage(std::int64_t, DevicePtr<const double>, DevicePtr<double>, DevicePtr<double>) const {
  RANKINE_ASSERT(!has_device_storage(), "a PDE whose storage the device computes must say how");
}

void Pde::exact(double, std::span<const double>, std::span<const double>, std::span<double>) const {
  RANKINE_ASSERT(false, "the exact solution of a PDE that has none");
}

std::vector<double> Pde::reference_to(double rtol, std::span<const double> initial,
                                      std::span<const double> parameters, int cells,
                                      std::span<const double> times) const {
  std::vector<double> solution = method_of_lines(*this, initial, {parameters.begin(), parameters.end()},
                                                 data_cells(), cells, times, {.rtol = rtol});
  check_outflow(*this, parameters, solution, cells, times);
  return solution;
}

}  // namespace rankine
