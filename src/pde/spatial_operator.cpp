#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/conservative_scheme.hpp"

namespace rankine {

using kernels::StencilFrames;
using kernels::TermPoints;
using kernels::TermValues;

namespace {

/// Values of the points at which terms are evaluated, kept together with their views.
struct Points {
  std::vector<double> arguments, x, t;
  TermPoints view;
};

}  // namespace

SpatialOperator::SpatialOperator(const Pde& pde, int cells, SchemeParameters parameters)
    : pde_(pde),
      cells_(cells),
      unknowns_(pde.unknowns()),
      periodic_(pde.periodic()),
      dx_(pde.length() / cells),
      parameters_(std::move(parameters)) {
  RANKINE_ASSERT(periodic_ || pde.flux_derivatives() < 2, "a flux with u_xx needs a periodic domain");
  RANKINE_ASSERT(parameters_.values.size() == pde.parameters().size(),
                 "a value for each parameter of the PDE");
  reads_ = {{-1, {0.5, -1 / dx_, 0}}, {0, {0.5, 1 / dx_, 0}}};
  if (pde.flux_derivatives() == 2) {
    const double k = 0.5 / (dx_ * dx_);
    reads_ = {{-2, {0, 0, k}}, {-1, {0.5, -1 / dx_, -k}}, {0, {0.5, 1 / dx_, -k}}, {1, {0, 0, k}}};
  }
}

StencilFrames SpatialOperator::stencil(int frames) const {
  return StencilFrames(frames, cells_, unknowns_, reach(), periodic_);
}

SpatialOperator::Ghosts SpatialOperator::ghosts(std::span<const double> times) const {
  Ghosts all;
  if (periodic_) return all;
  for (double t : times)
    for (Side side : {Side::left, Side::right})
      for (int a = 0; a < unknowns_; ++a) {
        // The wall value w and the outermost cell u have the slope q = s (w - u) / h between them, h apart
        // (s = -1 on the left): w = (g + s b u / h) / (a + s b / h), and the ghost is u + (w - u) dx / h.
        const WallCondition c = pde_.wall(side, a, t, parameters_.values, parameters_.learned);
        const double sign = side == Side::left ? -1 : 1, h = dx_ / 2 + c.outside,
                     k = sign * c.slope_factor / h, denominator = c.value_factor + k, stretch = dx_ / h;
        if (!std::isfinite(c.value_factor) || !std::isfinite(c.slope_factor) || !std::isfinite(c.target))
          throw NumericalError(
              "the condition of " + pde_.field_name(a) + " at the " +
              (side == Side::left ? "left" : "right") + " wall is not finite at t = " + shortest(t) + ": " +
              shortest(c.value_factor) + " u + " + shortest(c.slope_factor) + " u_x = " + shortest(c.target) +
              "; write pde.walls so that it is finite from 0 to " + shortest(pde_.duration()));
        Ghost g{.slope = 1 + (k / denominator - 1) * stretch, .offset = c.target / denominator * stretch};
        for (int l = 0; l < learned(); ++l) {
          const double k_by = sign * c.slope_factor_by[l] / h, denominator_by = c.value_factor_by[l] + k_by;
          g.slope_by.push_back((k_by - k / denominator * denominator_by) / denominator * stretch);
          g.offset_by.push_back((c.target_by[l] - c.target / denominator * denominator_by) / denominator *
                                stretch);
        }
        all.push_back(std::move(g));
      }
  return all;
}

/// out[argument * stride + face] for one frame.
void SpatialOperator::face_arguments(const Ghosts& ghosts, int frame, const double* u, long stride,
                                     double* out) const {
  const int m = unknowns_, derivatives = pde_.flux_derivatives();
  for (int f = 0; f < faces(); ++f)
    for (int a = 0; a < m; ++a) {
      double sums[3] = {0, 0, 0};
      for (const FaceRead& read : reads_) {
        const int cell = f + read.offset;
        double value;
        if (periodic_)
          value = u[((cell + cells_) % cells_) * m + a];
        else if (cell < 0)
          value = ghost(ghosts, frame, 0, a).slope * u[a] + ghost(ghosts, frame, 0, a).offset;
        else if (cell >= cells_)
          value =
              ghost(ghosts, frame, 1, a).slope * u[(cells_ - 1) * m + a] + ghost(ghosts, frame, 1, a).offset;
        else
          value = u[cell * m + a];
        for (int d = 0; d <= derivatives; ++d) sums[d] += read.weight[d] * value;
      }
      for (int d = 0; d <= derivatives; ++d) out[(d * m + a) * stride + f] = sums[d];
    }
}

void SpatialOperator::report_not_finite(const char* term, const TermValues& values,
                                        const TermPoints& points) const {
  for (int a = 0; a < values.results; ++a)
    for (long p = 0; p < values.size; ++p)
      if (!std::isfinite(values.at(a)[p])) {
        std::string why = pde_.explain(term, points, p);
        throw NumericalError(
            std::string(term) + " of " + pde_.field_name(a) + " at x = " + shortest(points.x[p]) +
            ", t = " + shortest(points.t[p]) + " is " + shortest(values.at(a)[p] * pde_.scale(a)) +
            " for u = " + shortest(points.arguments[p] * pde_.scale(0)) + (why.empty() ? "" : ": " + why));
      }
  for (long k = 0; k < static_cast<long>(values.gradient.size()); ++k)
    if (!std::isfinite(values.gradient[k])) {
      const long p = k % values.size;
      throw NumericalError("a derivative of the " + std::string(term) + " of " +
                           pde_.field_name(static_cast<int>(k / values.size / values.arguments)) +
                           " at x = " + shortest(points.x[p]) + ", t = " + shortest(points.t[p]) +
                           " is not finite for u = " + shortest(points.arguments[p] * pde_.scale(0)) +
                           "; write the term so that it stays differentiable there");
    }
  throw NumericalError(std::string("the ") + term + " is not finite");
}

void SpatialOperator::check_finite(const char* term, const TermValues& values,
                                   const TermPoints& points) const {
  double sum = 0;  // NaN and infinities survive a sum of zeros times them
  for (double v : values.value) sum += 0 * v;
  for (double v : values.gradient) sum += 0 * v;
  if (!(sum == 0)) report_not_finite(term, values, points);
}

SpatialOperator::Terms SpatialOperator::terms(std::span<const double> times, const Ghosts& ghosts,
                                              std::span<const double> u, int order) const {
  Terms out;
  out.order = order;
  const int m = unknowns_, n = faces();
  const long frames = static_cast<long>(times.size()), size = frames * n;
  {
    Points points;
    points.arguments.assign(3 * m * size, 0.0);
    points.x.resize(size);
    points.t.resize(size);
    for (long j = 0; j < frames; ++j) {
      face_arguments(ghosts, static_cast<int>(j), &u[j * width()], size, &points.arguments[j * n]);
      for (int f = 0; f < n; ++f) {
        points.x[j * n + f] = f * dx_;
        points.t[j * n + f] = times[j];
      }
    }
    points.view = {size, points.arguments, points.x, points.t, parameters_.values, parameters_.learned};
    pde_.flux(points.view, order, out.flux);
    check_finite("flux", out.flux, points.view);
  }
  if (!pde_.has_source()) return out;
  const long cells = frames * cells_;
  Points points;
  points.arguments.resize(m * cells);
  points.x.resize(cells);
  points.t.resize(cells);
  for (long j = 0; j < frames; ++j)
    for (int i = 0; i < cells_; ++i) {
      const long p = j * cells_ + i;
      for (int a = 0; a < m; ++a) points.arguments[a * cells + p] = u[p * m + a];
      points.x[p] = cell_centre(i);
      points.t[p] = times[j];
    }
  points.view = {cells, points.arguments, points.x, points.t, parameters_.values, parameters_.learned};
  pde_.source(points.view, order, out.source);
  check_finite("source", out.source, points.view);
  return out;
}

TermValues SpatialOperator::storage(std::span<const double> times, std::span<const double> u,
                                    int order) const {
  const int m = unknowns_;
  const long size = static_cast<long>(times.size()) * cells_;
  Points points;
  points.x.resize(size);
  points.t.resize(size);
  for (size_t j = 0; j < times.size(); ++j)
    for (int i = 0; i < cells_; ++i) {
      points.x[j * cells_ + i] = cell_centre(i);
      points.t[j * cells_ + i] = times[j];
    }
  if (m > 1) {
    points.arguments.resize(m * size);
    for (long p = 0; p < size; ++p)
      for (int a = 0; a < m; ++a) points.arguments[a * size + p] = u[p * m + a];
  }
  points.view = {size,
                 m > 1 ? std::span<const double>(points.arguments) : u,
                 points.x,
                 points.t,
                 parameters_.values,
                 parameters_.learned};
  TermValues out;
  pde_.storage(points.view, order, out);
  check_finite("storage", out, points.view);
  return out;
}

void SpatialOperator::value(const Terms& terms, int frame, std::span<double> out) const {
  const int m = unknowns_, n = faces();
  const double inverse = 1 / dx_;
  for (int a = 0; a < m; ++a) {
    const double* f = terms.flux.at(a) + static_cast<long>(frame) * n;
    const double* s = pde_.has_source() ? terms.source.at(a) + static_cast<long>(frame) * cells_ : nullptr;
    for (int i = 0; i < cells_; ++i)
      out[i * m + a] = -(f[i + 1 == n ? 0 : i + 1] - f[i]) * inverse + (s ? s[i] : 0);
  }
}

void SpatialOperator::add_jacobian(const Terms& terms, const Ghosts& ghosts, int frame, double factor,
                                   StencilFrames& out, int to, Part part) const {
  const int m = unknowns_, n = faces(), derivatives = pde_.flux_derivatives();
  for (int f = 0; f < n; ++f) {
    const long point = static_cast<long>(frame) * n + f;
    for (const FaceRead& read : reads_) {
      const int cell = f + read.offset;
      const int inner = periodic_ ? cell : std::clamp(cell, 0, cells_ - 1);
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          double by_cell = 0;
          for (int d = part == Part::stiff ? 1 : 0; d <= (part == Part::gentle ? 0 : derivatives); ++d)
            by_cell += terms.flux.by(a, d * m + b)[point] * read.weight[d];
          if (inner != cell) by_cell *= ghost(ghosts, frame, cell < 0 ? 0 : 1, b).slope;
          // Face f is the right one of cell f - 1 and the left one of cell f.
          const double value = factor * by_cell / dx_;
          if (periodic_ || f > 0) {
            const int row = f > 0 ? f - 1 : cells_ - 1;
            out.at(to, row, inner - (f - 1))[a * m + b] -= value;
          }
          if (f < cells_) out.at(to, f, inner - f)[a * m + b] += value;
        }
    }
  }
  if (!pde_.has_source() || part == Part::stiff) return;
  for (int i = 0; i < cells_; ++i)
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b)
        out.at(to, i, 0)[a * m + b] += factor * terms.source.by(a, b)[static_cast<long>(frame) * cells_ + i];
}

void SpatialOperator::add_parameter_gradient(const Terms& terms, const Ghosts& ghosts, int frame,
                                             std::span<const double> u, double factor, std::span<double> out,
                                             size_t stride) const {
  const int m = unknowns_, n = faces(), derivatives = pde_.flux_derivatives();
  for (int l = 0; l < learned(); ++l)
    for (int a = 0; a < m; ++a) {
      double* to = &out[l * stride];
      for (int f = 0; f < n; ++f) {
        const long point = static_cast<long>(frame) * n + f;
        double by = terms.flux.by(a, 3 * m + l)[point];
        for (const FaceRead& read : reads_) {
          const int cell = f + read.offset;
          if (periodic_ || (cell >= 0 && cell < cells_)) continue;
          for (int b = 0; b < m; ++b) {
            const Ghost& g = ghost(ghosts, frame, cell < 0 ? 0 : 1, b);
            const double outer = u[(cell < 0 ? 0 : cells_ - 1) * m + b];
            for (int d = 0; d <= derivatives; ++d)
              by += terms.flux.by(a, d * m + b)[point] * read.weight[d] *
                    (g.slope_by[l] * outer + g.offset_by[l]);
          }
        }
        if (periodic_ || f > 0) to[(f > 0 ? f - 1 : cells_ - 1) * m + a] -= factor * by / dx_;
        if (f < cells_) to[f * m + a] += factor * by / dx_;
      }
      if (pde_.has_source())
        for (int i = 0; i < cells_; ++i)
          to[i * m + a] += factor * terms.source.by(a, m + l)[static_cast<long>(frame) * cells_ + i];
    }
}

void SpatialOperator::add_second(const Terms& terms, const Ghosts& ghosts, int frame,
                                 std::span<const double> u, std::span<const double> v,
                                 std::span<const double> q, std::span<double> g,
                                 std::span<double> g_parameters) const {
  const int m = unknowns_, n = faces(), derivatives = pde_.flux_derivatives(),
            arguments = (derivatives + 1) * m;
  std::vector<double> direction(3 * m), h(3 * m + learned());
  const auto read_cell = [&](std::span<const double> field, int cell, int b) {
    if (periodic_) return field[((cell + cells_) % cells_) * m + b];
    if (cell < 0) return ghost(ghosts, frame, 0, b).slope * field[b];
    if (cell >= cells_) return ghost(ghosts, frame, 1, b).slope * field[(cells_ - 1) * m + b];
    return field[cell * m + b];
  };
  for (int f = 0; f < n; ++f) {
    const long point = static_cast<long>(frame) * n + f;
    std::fill(direction.begin(), direction.end(), 0.0);
    for (const FaceRead& read : reads_)
      for (int b = 0; b < m; ++b) {
        const double value = read_cell(v, f + read.offset, b);
        for (int d = 0; d <= derivatives; ++d) direction[d * m + b] += read.weight[d] * value;
      }
    // In <q, G> the flux of face f has the weight (q on its right - q on its left) / dx.
    std::fill(h.begin(), h.end(), 0.0);
    std::vector<double> weight(m);
    for (int a = 0; a < m; ++a) {
      const double left = f > 0 ? q[(f - 1) * m + a] : (periodic_ ? q[(cells_ - 1) * m + a] : 0.0);
      const double right = f < cells_ ? q[f * m + a] : 0.0;
      weight[a] = (right - left) / dx_;
      for (int i = 0; i < arguments; ++i) {
        const double scaled = weight[a] * direction[i];
        if (scaled == 0) continue;
        for (int k = 0; k < arguments; ++k) h[k] += scaled * terms.flux.by(a, i, k)[point];
        for (int l = 0; l < learned(); ++l) h[3 * m + l] += scaled * terms.flux.by(a, i, 3 * m + l)[point];
      }
    }
    for (const FaceRead& read : reads_) {
      const int cell = f + read.offset;
      for (int b = 0; b < m; ++b) {
        double value = 0;
        for (int d = 0; d <= derivatives; ++d) value += read.weight[d] * h[d * m + b];
        if (periodic_) {
          g[((cell + cells_) % cells_) * m + b] += value;
        } else if (cell >= 0 && cell < cells_) {
          g[cell * m + b] += value;
        } else {
          const Ghost& outside = ghost(ghosts, frame, cell < 0 ? 0 : 1, b);
          const int inner = cell < 0 ? 0 : cells_ - 1;
          g[inner * m + b] += outside.slope * value;
          for (int l = 0; l < learned(); ++l) {
            // The ghost itself moves with the parameter, and so does its slope.
            g_parameters[l] += value * (outside.slope_by[l] * u[inner * m + b] + outside.offset_by[l]);
            for (int a = 0; a < m; ++a)
              for (int d = 0; d <= derivatives; ++d)
                g_parameters[l] += weight[a] * terms.flux.by(a, d * m + b)[point] * read.weight[d] *
                                   outside.slope_by[l] * v[inner * m + b];
          }
        }
      }
    }
    for (int l = 0; l < learned(); ++l) g_parameters[l] += h[3 * m + l];
  }
  if (!pde_.has_source()) return;
  for (int i = 0; i < cells_; ++i) {
    const long point = static_cast<long>(frame) * cells_ + i;
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b) {
        const double scaled = q[i * m + a] * v[i * m + b];
        for (int c = 0; c < m; ++c) g[i * m + c] += scaled * terms.source.by(a, b, c)[point];
        for (int l = 0; l < learned(); ++l) g_parameters[l] += scaled * terms.source.by(a, b, m + l)[point];
      }
  }
}

}  // namespace rankine
