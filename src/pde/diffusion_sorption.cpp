#include "src/pde/diffusion_sorption.hpp"

#include <algorithm>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/reference.hpp"

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
  o("reference_steps", reference_steps,
    {.help = "steps in time that a reference solution may take; hundreds are usual", .min = 1});
}

void DiffusionSorptionOptions::validate(const DeckNode& node) const {
  if (initial_minimum > initial_maximum)
    node.error_at("initial_minimum", "initial_minimum " + shortest(initial_minimum) +
                                         " is above initial_maximum " + shortest(initial_maximum) +
                                         "; it is the smaller end of the range");
}

std::vector<PdeConstant> DiffusionSorption::constants() const {
  const DiffusionSorptionCoefficients& c = o_.coefficients;
  // The other names are those of PDEBench's configuration and of its paper.
  return {{"diffusion", {"D", "diffusion_coefficient"}, c.diffusion},
          {"porosity", {"por", "phi"}, c.porosity},
          {"density", {"rho_s", "rho", "bulk_density"}, c.density},
          {"freundlich", {"k_f", "kf", "k"}, c.freundlich},
          {"exponent", {"n_f", "nf"}, c.exponent},
          {"regularisation", {"eps"}, c.regularisation},
          {"length", {"x_right"}, o_.length},
          {"duration", {"t"}, o_.duration},
          {"data_cells", {"xdim"}, static_cast<double>(o_.data_cells)},
          {"", {"sol"}, 1},  // concentration at the left wall
          {"", {"x_left"}, 0}};
}

std::pair<double, double> DiffusionSorption::bounds(double least, double greatest) const {
  return {std::min(least, 0.0), std::max(greatest, 1.0)};
}

void DiffusionSorption::storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  out.reset(1, 1 + static_cast<int>(at.learned.size()), order, at.size);
  const DiffusionSorptionCoefficients& c = o_.coefficients;
  const kernels::Freundlich law = c.law();  // a copy, which no output can overlap
  const double zero = 0;
  const double least = shifted_powers(c, c.exponent, {&zero, 1}).front();
  const std::vector<double> power = shifted_powers(c, c.exponent, at.arguments.first(at.size));
  for (long i = 0; i < at.size; ++i) {
    const auto s = law.storage(at.arguments[i], power[i], least);
    out.value[i] = s.value;
    if (order >= 1) out.gradient[i] = s.slope;
    if (order >= 2) out.hessian[i] = s.curvature;
  }
}

void DiffusionSorption::device_storage(std::int64_t n, DevicePtr<const double> u, DevicePtr<double> value,
                                       DevicePtr<double> slope, DevicePtr<double> curvature) const {
  kernels::freundlich_storage(o_.coefficients.law(), n, u, value, slope, curvature);
}

void DiffusionSorption::flux(int, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  // Arguments u, u_x, u_xx, and D where it is learned: -D u_x.
  const bool learned = !at.learned.empty();
  out.reset(1, learned ? 4 : 3, order, at.size);
  const double d = at.parameters[0];
  for (long i = 0; i < at.size; ++i) {
    const double slope = at.arguments[at.size + i];
    out.value[i] = -d * slope;
    if (order >= 1) out.by(0, 1)[i] = -d;
    if (order >= 1 && learned) out.by(0, 3)[i] = -slope;
    if (order >= 2 && learned) out.by(0, 1, 3)[i] = out.by(0, 3, 1)[i] = -1;
  }
}

WallCondition DiffusionSorption::wall(const Face& face, int, const Place&, double,
                                      std::span<const double> parameters,
                                      std::span<const int> learned) const {
  // PDEBench's closure holds at the centres of its own ghost cells, half a fine cell outside the domain.
  const double outside = o_.length / o_.data_cells / 2;
  const size_t count = learned.size();
  const std::vector<double> zero(count, 0.0);
  if (face.side == Side::left) return {1, 0, 1, outside, zero, zero, zero};
  // u_N = D (u_{N-1} - u_N) / dx: u + D u_x = 0.
  return {1, parameters[0], 0, outside, zero, std::vector<double>(count, 1.0), zero};
}

std::vector<double> DiffusionSorption::draw_initial(const RandomStream& stream, long id,
                                                    long& redrawn) const {
  if (o_.initial_minimum > 0.9 * o_.initial_maximum)
    return {stream.uniform(o_.initial_minimum, o_.initial_maximum, 0, id, 0)};
  for (long attempt = 0;; ++attempt) {
    const double value = o_.initial_maximum * stream.uniform(0, id, attempt);
    if (value >= o_.initial_minimum) return {value};
    ++redrawn;
  }
}

void DiffusionSorption::initial_state(std::span<const double> numbers, std::span<const double>,
                                      std::span<const double> x, std::span<double> out) const {
  std::fill_n(out.begin(), x.size(), numbers[0]);
}

void DiffusionSorption::pointwise(std::span<const PointTerms> at, std::span<PointwiseResidual> out) const {
  const DiffusionSorptionCoefficients& c = o_.coefficients;
  std::vector<double> u(at.size());
  for (size_t i = 0; i < at.size(); ++i) u[i] = at[i][0];
  const std::vector<double> power = shifted_powers(c, c.exponent - 1, u);
  for (size_t i = 0; i < at.size(); ++i) {
    const auto [value, u_t, u_xx] = at[i];
    const auto r = c.retardation(value, power[i]);
    const double d = c.diffusion, inverse = 1 / r.value;
    PointwiseResidual& f = out[i] = {};
    f.value = u_t - d * inverse * u_xx;
    const double by_u = d * r.slope * inverse * inverse;  // d/du of -D/R
    f.gradient[0] = by_u * u_xx;
    f.gradient[1] = 1;
    f.gradient[2] = -d * inverse;
    f.hessian[0][0] = d * u_xx * inverse * inverse * (r.curvature - 2 * r.slope * r.slope * inverse);
    f.hessian[0][2] = f.hessian[2][0] = by_u;
  }
}

std::vector<double> DiffusionSorption::reference_to(double rtol, std::span<const double> initial,
                                                    const SchemeParameters& parameters, const Grid& grid,
                                                    std::span<const double> times) const {
  ReferenceOptions options;
  options.coefficients = o_.coefficients;
  options.coefficients.diffusion = parameters.values[0];
  options.length = o_.length;
  options.fine_cells = o_.data_cells;
  options.rtol = rtol;
  options.atol = rtol * 1e-2;
  Reference solution = diffusion_sorption_reference(initial[0], grid.cells(), times, options);
  if (solution.status != OdeStatus::completed)
    throw NumericalError("reference solution for u0 = " + std::to_string(initial[0]) + ": " +
                         solution.reason + "; try another pde.reference_rtol");
  return std::move(solution.values);
}

}  // namespace rankine
