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

LimitedFlux::Faces LimitedFlux::faces(int axis, double t, const SpatialOperator::Ghosts& ghosts,
                                      std::span<const double> u) const {
  const Pde& pde = space_.pde();
  const Grid& grid = space_.grid();
  const int m = space_.unknowns(), n = grid.cells(), count = space_.faces(axis);
  std::vector<double> half(static_cast<size_t>(n) * m);  // half the slope of a cell
  for (int i = 0; i < n; ++i)
    for (int a = 0; a < m; ++a) {
      const double now = u[i * m + a];
      half[i * m + a] = 0.5 * limited_slope(now - space_.beside(ghosts, u, i, axis, -1, a),
                                            space_.beside(ghosts, u, i, axis, 1, a) - now);
    }
  const auto inner = [&](int face) {
    return space_.lower_cell(axis, face) >= 0 && space_.upper_cell(axis, face) >= 0;
  };
  const long points = static_cast<long>(count) * states;
  std::vector<double> arguments(kernels::flux_arguments(grid.axes(), m) * points, 0.0), x, times(points, t);
  const auto at = [&](int a, int face, int state) -> double& {
    return arguments[a * points + static_cast<long>(face) * states + state];
  };
  for (const double place : space_.face_places(axis)) x.insert(x.end(), states, place);
  for (int f = 0; f < count; ++f) {
    const int left = space_.lower_cell(axis, f), right = space_.upper_cell(axis, f);
    for (int a = 0; a < m; ++a) {
      if (!inner(f)) {
        // Any state at which the flux is known to be defined: this face keeps its central flux.
        for (int s = 0; s < states; ++s) at(a, f, s) = u[std::max(left, right) * m + a];
        continue;
      }
      const double l = u[left * m + a] + half[left * m + a], r = u[right * m + a] - half[right * m + a];
      at(a, f, 0) = 0.5 * (u[left * m + a] + u[right * m + a]);
      for (int s = 0; s < between; ++s) at(a, f, 1 + s) = l + (r - l) * s / (between - 1);
    }
  }
  const auto& parameters = space_.parameters();
  TermValues flux, storage;
  pde.flux(axis, {points, arguments, x, times, parameters.values, {}}, 1, flux);
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
        throw NumericalError("the convective flux of " + pde.field_name(a) + " at " +
                             grid.place(space_.face_centre(axis, f)) + ", t = " + shortest(t) +
                             " is not finite between u = " + shortest(at(a, f, 1)) + " and " +
                             shortest(at(a, f, states - 1)) + " without slope");
    }
  }
  return out;
}

void LimitedFlux::add_difference(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                                 std::span<double> f) const {
  const int m = space_.unknowns();
  const Grid& grid = space_.grid();
  for (int axis = 0; axis < grid.axes(); ++axis) {
    const double inverse = grid.cells(axis) / grid.length(axis);
    const Faces faces = this->faces(axis, t, ghosts, u);
    std::vector<double> divergence(f.size(), 0.0);
    for (int face = 0; face < space_.faces(axis); ++face)
      for (int a = 0; a < m; ++a) {
        const double difference = faces.difference[face * m + a];
        if (const int above = space_.upper_cell(axis, face); above >= 0)
          divergence[above * m + a] -= difference;
        if (const int below = space_.lower_cell(axis, face); below >= 0)
          divergence[below * m + a] += difference;
      }
    for (size_t i = 0; i < f.size(); ++i) f[i] -= divergence[i] * inverse;
  }
}

void LimitedFlux::add_jacobian(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                               kernels::StencilFrames& out) const {
  const int m = space_.unknowns();
  const Grid& grid = space_.grid();
  const double times[1] = {t};
  const TermValues storage = space_.storage(times, u, 1);
  for (int axis = 0; axis < grid.axes(); ++axis) {
    const double factor = 0.5 * grid.cells(axis) / grid.length(axis);
    const int next = space_.next_point(axis);
    const Faces faces = this->faces(axis, t, ghosts, u);
    for (int f = 0; f < space_.faces(axis); ++f) {
      const int left = space_.lower_cell(axis, f), right = space_.upper_cell(axis, f);
      if (left < 0 || right < 0) continue;
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          const double scaled = factor * faces.speed[f];
          const double by_left = scaled * storage.by(a, b)[left], by_right = scaled * storage.by(a, b)[right];
          out.at(0, left, next)[a * m + b] += by_right;
          out.at(0, left, 0)[a * m + b] -= by_left;
          out.at(0, right, 0)[a * m + b] -= by_right;
          out.at(0, right, -next)[a * m + b] += by_left;
        }
    }
  }
}

}  // namespace rankine
