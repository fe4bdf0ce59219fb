#include "src/pde/burgers.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rankine {

void BurgersOptions::options(OptionVisitor& o) {
  o("viscosity", viscosity, {.help = "viscosity nu", .min = 0, .exclusive_min = true});
  o("viscosity_minimum", viscosity_minimum,
    {.help =
         "if positive, nu is drawn for each sample between this and viscosity, uniformly in its logarithm",
     .min = 0});
  o("length", length, {.help = "extent of the domain", .min = 0, .exclusive_min = true});
  o("duration", duration, {.help = "final time", .min = 0, .exclusive_min = true});
  o("walls", walls, {.help = "periodic, or values held at both ends", .choices = {"periodic", "values"}});
  o("left", left, {.help = "value at the left wall (walls: values)"});
  o("right", right, {.help = "value at the right wall (walls: values)"});
  o("modes", modes, {.help = "Fourier modes of the initial states", .min = 1, .max = 64});
  o("amplitude", amplitude, {.help = "root mean square of the initial states' random part", .min = 0});
  o("mean", mean, {.help = "mean of the initial states (walls: periodic)"});
  convection_option(o, convection);
  o("data_cells", data_cells, {.help = "cells of the reference solution", .min = 4});
  o("reference_rtol", reference_rtol,
    {.help = "relative tolerance of the reference solution in time", .min = 1e-12, .max = 1e-2});
  o("reference_steps", reference_steps,
    {.help = "steps in time that a reference solution may take; hundreds are usual", .min = 1});
}

void BurgersOptions::validate(const DeckNode& node) const {
  if (viscosity_minimum > viscosity)
    node.error_at("viscosity_minimum", "viscosity_minimum: " + std::to_string(viscosity_minimum) +
                                           " is above viscosity " + std::to_string(viscosity) +
                                           "; it is the smaller end of the range");
  if (viscosity_minimum > 0 && !std::isfinite(viscosity / viscosity_minimum))
    node.error_at("viscosity_minimum",
                  "viscosity / viscosity_minimum is beyond what a double holds; choose a larger one");
  if (walls == "periodic" && (left != 0 || right != 0))
    node.error_at("walls", "walls: periodic has no walls; leave left and right out, or write walls: values");
  if (walls == "values" && mean != 0)
    node.error_at("mean",
                  "mean: with walls: values the initial states follow the wall values; leave mean out");
}

std::vector<PdeParameter> Burgers::parameters() const {
  PdeParameter nu{.name = "viscosity", .value = o_.viscosity};
  if (o_.viscosity_minimum > 0 && o_.viscosity_minimum < o_.viscosity) {
    nu.sampled = nu.logarithmic = true;
    nu.minimum = o_.viscosity_minimum;
    nu.maximum = o_.viscosity;
  }
  return {nu};
}

void Burgers::storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  out.reset(1, 1 + static_cast<int>(at.learned.size()), order, at.size);
  for (long i = 0; i < at.size; ++i) {
    out.value[i] = at.arguments[i];
    if (order >= 1) out.gradient[i] = 1;
  }
}

void Burgers::flux(int, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  // Arguments u, u_x, u_xx, and nu where it is learned: u^2 / 2 - nu u_x.
  const bool learned = !at.learned.empty();
  out.reset(1, learned ? 4 : 3, order, at.size);
  const double nu = at.parameters[0];
  for (long i = 0; i < at.size; ++i) {
    const double u = at.arguments[i], slope = at.arguments[at.size + i];
    out.value[i] = 0.5 * u * u - nu * slope;
    if (order >= 1) {
      out.by(0, 0)[i] = u;
      out.by(0, 1)[i] = -nu;
      if (learned) out.by(0, 3)[i] = -slope;
    }
    if (order >= 2) {
      out.by(0, 0, 0)[i] = 1;
      if (learned) out.by(0, 1, 3)[i] = out.by(0, 3, 1)[i] = -1;
    }
  }
}

WallCondition Burgers::wall(const Face& face, int, const Place&, double, std::span<const double>,
                            std::span<const int> learned) const {
  const std::vector<double> zero(learned.size(), 0.0);
  return {1, 0, face.side == Side::left ? o_.left : o_.right, 0, zero, zero, zero};
}

double Burgers::size(int) const {
  const double walls = periodic(0) ? 0 : std::max(std::abs(o_.left), std::abs(o_.right));
  return std::max(walls, std::hypot(o_.mean, o_.amplitude));
}

std::vector<double> Burgers::draw_initial(const RandomStream& stream, long id, long&) const {
  std::vector<double> numbers(2 * o_.modes);
  stream.fill_normal(std::span(numbers), 0, id);
  return numbers;
}

void Burgers::initial_state(std::span<const double> numbers, std::span<const double>,
                            std::span<const double> x, std::span<double> out) const {
  const double pi = std::numbers::pi, scale = o_.amplitude / std::sqrt(static_cast<double>(o_.modes));
  for (size_t i = 0; i < x.size(); ++i) {
    const double s = x[i] / o_.length;
    double sum = 0;
    for (int k = 1; k <= o_.modes; ++k)
      sum += periodic(0) ? numbers[2 * k - 2] * std::cos(2 * pi * k * s) +
                               numbers[2 * k - 1] * std::sin(2 * pi * k * s)
                         : numbers[k - 1] * std::numbers::sqrt2 * std::sin(pi * k * s);
    out[i] = (periodic(0) ? o_.mean : o_.left + (o_.right - o_.left) * s) + scale * sum;
  }
}

}  // namespace rankine
