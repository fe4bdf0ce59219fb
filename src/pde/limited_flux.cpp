#include "src/pde/limited_flux.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/small_system.hpp"

namespace rankine {

using kernels::TermPoints;
using kernels::TermValues;

namespace {

/// States of a face at which flux and wave speed are evaluated: the mean of both cells, then from L to R.
constexpr int between = 5, states = 1 + between;

/// Van Leer's harmonic mean of two slopes, 0 at an extremum.
double limited_slope(double left, double right) {
  const double product = left * right;
  return product > 0 ? 2 * product / (left + right) : 0;
}

/// An upper bound of the largest |eigenvalue| of an m x m matrix, a few per cent above it: ||A^32||^(1/32).
double spectral_radius(std::vector<double> a, int m) {
  double logarithm = 0, power = 1;
  std::vector<double> square(a.size());
  for (int round = 0;; ++round) {
    double norm = 0;
    for (const double v : a) norm = std::max(norm, std::abs(v));
    if (norm == 0) return 0;
    for (double& v : a) v /= norm;
    logarithm += std::log(norm) / power;
    if (round == 5) {  // the Frobenius norm bounds the radius
      double sum = 0;
      for (const double v : a) sum += v * v;
      return std::exp(logarithm + std::log(sum) / (2 * power));
    }
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < m; ++j) {
        double sum = 0;
        for (int k = 0; k < m; ++k) sum += a[i * m + k] * a[k * m + j];
        square[i * m + j] = sum;
      }
    std::swap(a, square);
    power *= 2;
  }
}

}  // namespace

bool has_convection(const Pde& pde) {
  constexpr int points = 64;
  const int m = pde.unknowns(), axes = pde.axes();
  const RandomStream stream(0, "states for the flux");
  std::vector<double> arguments(kernels::flux_arguments(axes, m) * points, 0.0), x(axes * points), t(points),
      parameters;
  for (const PdeParameter& p : pde.parameters())
    parameters.push_back(p.sampled ? 0.5 * (p.minimum + p.maximum) : p.value);
  for (int i = 0; i < points; ++i) {
    x[i] = pde.length(0) * stream.uniform(0, i, 0);
    t[i] = pde.duration() * stream.uniform(0, i, 1);
    for (int axis = 1; axis < axes; ++axis)
      x[axis * points + i] = pde.length(axis) * stream.uniform(0, i, 1 + axis);
    for (int a = 0; a < m; ++a)
      arguments[a * points + i] =
          pde.typical_state(a) + (pde.size(a) > 0 ? pde.size(a) : 1) * stream.uniform(-1, 1, 1, i, a);
  }
  for (int axis = 0; axis < axes; ++axis) {
    TermValues flux;
    pde.flux(axis, {points, arguments, x, t, parameters, {}}, 1, flux);
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b)
        for (int i = 0; i < points; ++i)
          if (std::isfinite(flux.by(a, b)[i]) && flux.by(a, b)[i] != 0) return true;
  }
  return false;
}

LimitedFlux::Faces LimitedFlux::faces(double t, const SpatialOperator::Ghosts& ghosts,
                                      std::span<const double> u) const {
  const Pde& pde = space_.pde();
  const int m = space_.unknowns(), n = space_.cells(), count = space_.faces(0);
  const bool ring = pde.periodic(0);
  const double dx = pde.length(0) / n;
  const auto cell = [&](int i, int a) {
    if (ring) return u[((i + n) % n) * m + a];
    if (i < 0) return ghosts[a].slope * u[a] + ghosts[a].offset;
    if (i >= n) return ghosts[m + a].slope * u[(n - 1) * m + a] + ghosts[m + a].offset;
    return u[i * m + a];
  };
  std::vector<double> half(static_cast<size_t>(n) * m);  // half the slope of a cell
  for (int i = 0; i < n; ++i)
    for (int a = 0; a < m; ++a) {
      const double now = cell(i, a);
      half[i * m + a] = 0.5 * limited_slope(now - cell(i - 1, a), cell(i + 1, a) - now);
    }
  const auto inner = [&](int face) { return ring || (face > 0 && face < n); };
  const long points = static_cast<long>(count) * states;
  std::vector<double> arguments(3 * m * points, 0.0), x(points), times(points, t);
  const auto at = [&](int a, int face, int state) -> double& {
    return arguments[a * points + static_cast<long>(face) * states + state];
  };
  for (int f = 0; f < count; ++f) {
    const int left = ring ? (f - 1 + n) % n : f - 1, right = ring ? f % n : f;
    for (int s = 0; s < states; ++s) x[static_cast<long>(f) * states + s] = f * dx;
    for (int a = 0; a < m; ++a) {
      if (!inner(f)) {
        // Any state at which the flux is known to be defined: this face keeps its central flux.
        for (int s = 0; s < states; ++s) at(a, f, s) = u[(f == 0 ? 0 : n - 1) * m + a];
        continue;
      }
      const double l = u[left * m + a] + half[left * m + a], r = u[right * m + a] - half[right * m + a];
      at(a, f, 0) = 0.5 * (u[left * m + a] + u[right * m + a]);
      for (int s = 0; s < between; ++s) at(a, f, 1 + s) = l + (r - l) * s / (between - 1);
    }
  }
  const auto& parameters = space_.parameters();
  TermValues flux, storage;
  pde.flux(0, {points, arguments, x, times, parameters.values, {}}, 1, flux);
  pde.storage({points, std::span(arguments).first(m * points), x, times, parameters.values, {}}, 1, storage);
  Faces out{std::vector<double>(static_cast<size_t>(count) * m, 0.0), std::vector<double>(count, 0.0)};
  std::vector<double> slopes(m * m), matrix(m * m);
  for (int f = 0; f < count; ++f) {
    if (!inner(f)) continue;
    const long first = static_cast<long>(f) * states, last = first + states - 1;
    for (int s = 1; s < states; ++s) {
      if (m == 1) {
        out.speed[f] =
            std::max(out.speed[f], std::abs(flux.by(0, 0)[first + s] / storage.by(0, 0)[first + s]));
        continue;
      }
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          slopes[a * m + b] = storage.by(a, b)[first + s];
          matrix[a * m + b] = flux.by(a, b)[first + s];
        }
      solve_small(slopes, m, matrix.data(), m);
      out.speed[f] = std::max(out.speed[f], spectral_radius(matrix, m));
    }
    for (int a = 0; a < m; ++a) {
      const double* values = flux.at(a);
      out.difference[f * m + a] = 0.5 * (values[first + 1] + values[last]) - values[first] -
                                  0.5 * out.speed[f] * (storage.at(a)[last] - storage.at(a)[first + 1]);
      if (!std::isfinite(out.difference[f * m + a]))
        throw NumericalError("the convective flux of " + pde.field_name(a) + " at x = " + shortest(f * dx) +
                             ", t = " + shortest(t) + " is not finite between u = " + shortest(at(a, f, 1)) +
                             " and " + shortest(at(a, f, states - 1)) + " without slope");
    }
  }
  return out;
}

void LimitedFlux::add_difference(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                                 std::span<double> f) const {
  const int m = space_.unknowns(), n = space_.cells(), count = space_.faces(0);
  const double inverse = n / space_.pde().length(0);
  const Faces faces = this->faces(t, ghosts, u);
  for (int i = 0; i < n; ++i)
    for (int a = 0; a < m; ++a)
      f[i * m + a] -=
          (faces.difference[(i + 1 == count ? 0 : i + 1) * m + a] - faces.difference[i * m + a]) * inverse;
}

void LimitedFlux::add_jacobian(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                               kernels::StencilFrames& out) const {
  const int m = space_.unknowns(), n = space_.cells();
  const bool ring = space_.pde().periodic(0);
  const double factor = 0.5 * n / space_.pde().length(0), times[1] = {t};
  const Faces faces = this->faces(t, ghosts, u);
  const TermValues storage = space_.storage(times, u, 1);
  for (int f = 0; f < space_.faces(0); ++f) {
    if (!ring && (f == 0 || f == n)) continue;
    const int left = ring ? (f - 1 + n) % n : f - 1, right = ring ? f % n : f;
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b) {
        const double scaled = factor * faces.speed[f];
        const double by_left = scaled * storage.by(a, b)[left], by_right = scaled * storage.by(a, b)[right];
        out.at(0, left, 1)[a * m + b] += by_right;
        out.at(0, left, 0)[a * m + b] -= by_left;
        out.at(0, right, 0)[a * m + b] -= by_right;
        out.at(0, right, -1)[a * m + b] += by_left;
      }
  }
}

}  // namespace rankine
