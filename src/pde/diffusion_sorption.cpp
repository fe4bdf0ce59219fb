#include "src/pde/diffusion_sorption.hpp"

#include "kernels/error.hpp"
#include "src/data/reference.hpp"

namespace rankine {

void DiffusionSorptionOptions::options(OptionVisitor& o) {
  o("diffusion", coefficients.diffusion,
    {.help = "effective diffusion coefficient D", .unit = "m^2/s", .min = 0, .exclusive_min = true});
  o("porosity", coefficients.porosity,
    {.help = "porosity phi", .min = 0, .max = 1, .exclusive_min = true, .exclusive_max = true});
  o("density", coefficients.density, {.help = "bulk density rho_s", .unit = "kg/m^3", .min = 0});
  o("freundlich", coefficients.freundlich,
    {.help = "Freundlich parameter k of the sorption isotherm", .min = 0});
  o("exponent", coefficients.exponent,
    {.help = "Freundlich exponent n_f", .min = 0, .max = 1, .exclusive_min = true});
  o("regularisation", coefficients.regularisation,
    {.help = "eps in (u + eps)^(n_f - 1), keeps the storage slope finite at u = 0",
     .min = 0,
     .exclusive_min = true});
  o("length", length, {.help = "extent of the domain", .unit = "m", .min = 0, .exclusive_min = true});
  o("duration", duration, {.help = "final time", .unit = "s", .min = 0, .exclusive_min = true});
  o("initial_minimum", initial_minimum,
    {.help = "smallest initial value; the paper's rows divide by it", .min = 0, .exclusive_min = true});
  o("initial_maximum", initial_maximum, {.help = "largest initial value", .min = 0, .exclusive_min = true});
  o("storage_slope", storage_slope,
    {.help = "storage slope that the frozen march is linearised at", .min = 0, .exclusive_min = true});
  o("data_cells", data_cells,
    {.help = "cells of the reference solution; its ghost cells say where the walls are", .min = 4});
  o("reference_rtol", reference_rtol,
    {.help = "relative tolerance of the reference solution in time", .min = 1e-12, .max = 1e-2});
}

void DiffusionSorption::storage(std::span<const double> u, kernels::StorageFields& out) const {
  out.value.resize(u.size());
  out.slope.resize(u.size());
  out.curvature.resize(u.size());
  for (size_t i = 0; i < u.size(); ++i) {
    const auto s = o_.coefficients.storage(u[i]);
    out.value[i] = s.value;
    out.slope[i] = s.slope;
    out.curvature[i] = s.curvature;
  }
}

kernels::ThreePointOperator DiffusionSorption::flux_operator(int cells) const {
  const double dx = o_.length / cells, fine = o_.length / o_.data_cells;
  const double k = o_.coefficients.diffusion / (dx * dx);
  kernels::ThreePointOperator g;
  g.lower.assign(cells, k);
  g.upper.assign(cells, k);
  g.diagonal.assign(cells, -2 * k);
  g.constant.assign(cells, 0.0);
  g.lower.front() = g.upper.back() = 0;
  // Distance from the outermost cell centre to the centre of PDEBench's ghost cell, where the wall value is
  // taken.
  const double h = (dx + fine) / 2;
  // Left: ghost u_1 + (1 - u_1) dx / h.
  g.diagonal.front() += k * (1 - dx / h);
  g.constant.front() += k * dx / h;
  // Right: wall value b u_N of the closure ghost = D (u_{N-1} - ghost) / h there (Robin), ghost u_N + (b - 1)
  // u_N dx / h.
  const double b = (o_.coefficients.diffusion / h) / (1 + o_.coefficients.diffusion / h);
  g.diagonal.back() += k * (1 + (b - 1) * dx / h);
  return g;
}

PointwiseResidual DiffusionSorption::pointwise(double u, double u_t, double u_xx) const {
  const auto r = o_.coefficients.retardation(u);
  const double d = o_.coefficients.diffusion, inverse = 1 / r.value;
  PointwiseResidual f{};
  f.value = u_t - d * inverse * u_xx;
  const double by_u = d * r.slope * inverse * inverse;  // d/du of -D/R
  f.gradient[0] = by_u * u_xx;
  f.gradient[1] = 1;
  f.gradient[2] = -d * inverse;
  f.hessian[0][0] = d * u_xx * inverse * inverse * (r.curvature - 2 * r.slope * r.slope * inverse);
  f.hessian[0][2] = f.hessian[2][0] = by_u;
  return f;
}

std::vector<double> DiffusionSorption::reference(double u0, int cells, std::span<const double> times) const {
  ReferenceOptions options;
  options.coefficients = o_.coefficients;
  options.length = o_.length;
  options.fine_cells = o_.data_cells;
  options.rtol = o_.reference_rtol;
  options.atol = o_.reference_rtol * 1e-2;
  Reference solution = diffusion_sorption_reference(u0, cells, times, options);
  if (solution.status != OdeStatus::completed)
    throw NumericalError("reference solution for u0 = " + std::to_string(u0) + ": " + solution.reason +
                         "; try another pde.reference_rtol");
  return std::move(solution.values);
}

}  // namespace rankine
