#include "src/pde/conservative_scheme.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"

namespace rankine {

using kernels::StencilFrames;

namespace {

std::vector<double> weights(size_t times, double theta, int implicit_steps) {
  RANKINE_ASSERT(times >= 2, "a march needs at least one step");
  std::vector<double> out(times - 1, theta);
  for (int step = 0; step < std::min(implicit_steps, static_cast<int>(out.size())); ++step) out[step] = 1;
  return out;
}

}  // namespace

ConservativeScheme::ConservativeScheme(const Pde& pde, const Grid& grid, std::vector<double> times,
                                       double theta, int implicit_steps, SchemeParameters parameters)
    : ConservativeScheme(SpatialOperator(pde, grid, std::move(parameters)), times,
                         weights(times.size(), pde.steady() ? 1 : theta, implicit_steps)) {}

ConservativeScheme::ConservativeScheme(SpatialOperator space, std::vector<double> times,
                                       std::vector<double> theta)
    : space_(std::move(space)),
      times_(std::move(times)),
      theta_(std::move(theta)),
      scale_(pde().typical_storage_slope()) {
  ghosts_ = space_.ghosts(times_);
  held_ = space_.grid().near_cuts(space_.reach());
  if (!pde().linear_flux() || pde().has_source() || learned() > 0) return;
  if (space_.convection() != Convection::central) return;
  LinearFlux linear{space_.stencil(1), std::vector<double>(width())};
  const std::vector<double> zero(width());
  const SpatialOperator::Terms terms = space_.terms(std::span(times_).first(1), ghosts_, zero, 1);
  space_.add_jacobian(terms, ghosts_, 0, 1, linear.stencil, 0);
  space_.value(terms, 0, linear.constant);
  linear_.push_back(std::move(linear));
}

ConservativeScheme ConservativeScheme::step(int step, double part) const {
  const double begin = times_[step], end = times_[step + 1];
  return ConservativeScheme(space_, {begin, part == 1 ? end : begin + part * (end - begin)}, {theta_[step]});
}

void ConservativeScheme::clear_held(std::span<double> field, int columns) const {
  const size_t block = static_cast<size_t>(unknowns()) * columns, frame = block * cells();
  for (size_t first = 0; first < field.size() && !held_.empty(); first += frame)
    for (const int cell : held_) std::fill_n(field.begin() + first + cell * block, block, 0.0);
}

void ConservativeScheme::hold(StencilFrames& matrices, double diagonal) const {
  const int m = unknowns();
  for (int j = 0; j < matrices.frames && !held_.empty(); ++j)
    for (const int cell : held_) {
      double* row = matrices.at(j, cell, -matrices.reach);
      std::fill_n(row, static_cast<size_t>(matrices.points()) * m * m, 0.0);
      for (int a = 0; a < m; ++a) matrices.at(j, cell, 0)[a * m + a] = diagonal;
    }
}

std::vector<double> ConservativeScheme::frozen_march_gradient(std::span<const double> s,
                                                              std::span<const double> v, bool history) const {
  const int n = width();
  std::vector<double> u((frames() + 1L) * n), q(n), unused(n), out(learned(), 0.0);
  for (size_t p = 0; p < u.size(); ++p) u[p] = pde().typical_state(static_cast<int>(p % unknowns()));
  const SpatialOperator::Terms terms = space_.terms(times_, ghosts_, u, 2);
  for (int j = 0; j < frames(); ++j) {
    const bool passed_on = history && j + 1 < frames();
    for (long i = 0, p = j * static_cast<long>(n); i < n; ++i, ++p)
      q[i] = -(now(j) * s[p] + (passed_on ? before(j + 1) * s[p + n] : 0)) / scale_;
    clear_held(q);
    space_.add_second(terms, ghosts_, j + 1, std::span(u).subspan((j + 1L) * n, n),
                      v.subspan(j * static_cast<long>(n), n), q, unused, out);
  }
  return out;
}

MarchMatrices ConservativeScheme::frozen_march() const {
  const int m = unknowns();
  // One frame of constant typical states tells flux and source; with x or t in them the frames differ.
  std::vector<double> u((frames() + 1L) * width());
  for (size_t p = 0; p < u.size(); ++p) u[p] = pde().typical_state(static_cast<int>(p % m));
  const SpatialOperator::Terms terms = space_.terms(times_, ghosts_, u, 1);
  MarchMatrices out{space_.stencil(frames()), space_.stencil(frames()), true};
  for (int j = 0; j < frames(); ++j) {
    for (int i = 0; i < cells(); ++i)
      for (int a = 0; a < m; ++a)
        out.implicit.at(j, i, 0)[a * m + a] = out.previous.at(j, i, 0)[a * m + a] = pde().steady() ? 0 : 1;
    space_.add_jacobian(terms, ghosts_, j + 1, -now(j) / scale_, out.implicit, j);
    space_.add_jacobian(terms, ghosts_, j, before(j) / scale_, out.previous, j);
  }
  hold(out.implicit, 1);
  hold(out.previous, 0);
  return out;
}

std::vector<double> ConservativeScheme::frozen_residual(std::span<const double> u) const {
  const SpatialOperator::Terms terms = space_.terms(times_, ghosts_, u, 0);
  const int n = width();
  std::vector<double> r(points()), before_g(n), now_g(n);
  space_.value(terms, 0, before_g);
  for (int j = 0; j < frames(); ++j) {
    space_.value(terms, j + 1, now_g);
    for (long p = j * static_cast<long>(n), i = 0; i < n; ++p, ++i)
      r[p] = (pde().steady() ? 0 : u[p + n] - u[p]) - (now(j) * now_g[i] + before(j) * before_g[i]) / scale_;
    std::swap(before_g, now_g);
  }
  clear_held(r);
  return r;
}

SchemePoint::SchemePoint(const ConservativeScheme& scheme, std::vector<double> u, int order)
    : scheme_(scheme), u_(std::move(u)), order_(order) {
  RANKINE_ASSERT(static_cast<long>(u_.size()) == scheme.points() + scheme.width(),
                 "a state holds (frames + 1) x width numbers");
}

void SchemePoint::need(int order) {
  // Terms of a higher order hold those of the lower ones. A linear flux has no terms of its own.
  if (terms_.order >= order) return;
  order = std::max(order, order_);
  if (scheme_.linear_.empty())
    terms_ = scheme_.space_.terms(scheme_.times_, scheme_.ghosts_, u_, order);
  else
    terms_.order = order;
  // Values and derivatives of a storage share their powers, so that all of them come at once.
  if (storage_.order < 2 || storage_.size == 0) storage_ = scheme_.space_.storage(scheme_.times_, u_, 2);
}

std::vector<double> SchemePoint::residual() {
  need(0);
  const ConservativeScheme& s = scheme_;
  const int n = s.width(), m = s.unknowns(), cells = s.cells();
  std::vector<double> r(s.points()), before_g(n), now_g(n);
  const auto difference = [&](int frame, std::vector<double>& g) {
    if (s.linear_.empty()) return s.space_.value(terms_, frame, g);
    g = s.linear_.front().constant;
    s.linear_.front().stencil.add_product(0, 1, &u_[static_cast<long>(frame) * n], 1, g.data());
  };
  difference(0, before_g);
  for (int j = 0; j < s.frames(); ++j) {
    difference(j + 1, now_g);
    for (int a = 0; a < m; ++a) {
      const double* old = storage_.at(a) + static_cast<long>(j) * cells;
      for (int i = 0; i < cells; ++i) {
        const long q = static_cast<long>(i) * m + a;
        r[static_cast<long>(j) * n + q] =
            (old[cells + i] - old[i] - s.now(j) * now_g[q] - s.before(j) * before_g[q]) / s.scale_;
      }
    }
    std::swap(before_g, now_g);
  }
  s.clear_held(r);
  return r;
}

const MarchMatrices& SchemePoint::linearisation() {
  if (linearised_) return matrices_;
  need(1);
  linearised_ = true;
  const ConservativeScheme& s = scheme_;
  const int m = s.unknowns(), cells = s.cells();
  const double inverse = 1 / s.scale_;
  matrices_ = {s.space_.stencil(s.frames()), s.space_.stencil(s.frames()), true};
  for (int j = 0; j < s.frames(); ++j) {
    if (s.linear_.empty()) {
      s.space_.add_jacobian(terms_, s.ghosts_, j + 1, -s.now(j) / s.scale_, matrices_.implicit, j);
      s.space_.add_jacobian(terms_, s.ghosts_, j, s.before(j) / s.scale_, matrices_.previous, j);
    } else {
      const StencilFrames& g = s.linear_.front().stencil;
      double* now = &matrices_.implicit.values[j * g.frame_size()];
      double* before = &matrices_.previous.values[j * g.frame_size()];
      const double of_now = -s.now(j) / s.scale_, of_before = s.before(j) / s.scale_;
      for (size_t k = 0; k < g.frame_size(); ++k) {
        now[k] = of_now * g.values[k];
        before[k] = of_before * g.values[k];
      }
    }
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b) {
        const double* slope = storage_.by(a, b) + static_cast<long>(j) * cells;
        double* now = matrices_.implicit.at(j, 0, 0) + a * m + b;
        double* before = matrices_.previous.at(j, 0, 0) + a * m + b;
        const long stride = static_cast<long>(matrices_.implicit.points()) * m * m;
        for (int i = 0; i < cells; ++i) {
          now[i * stride] += inverse * slope[cells + i];
          before[i * stride] += inverse * slope[i];
        }
      }
  }
  s.hold(matrices_.implicit, 1);
  s.hold(matrices_.previous, 0);
  return matrices_;
}

void SchemePoint::apply(std::span<const double> b, int columns, std::span<double> out) {
  apply_march(linearisation(), b, columns, out);
  scheme_.clear_held(out, columns);
}

void SchemePoint::apply_transpose(std::span<const double> s, std::span<double> out) {
  if (scheme_.held_.empty()) return apply_march_transpose(linearisation(), s, out);
  std::vector<double> inner(s.begin(), s.end());
  scheme_.clear_held(inner);
  apply_march_transpose(linearisation(), inner, out);
}

std::vector<double> SchemePoint::parameter_gradient() {
  need(1);
  const ConservativeScheme& s = scheme_;
  const int m = s.unknowns(), cells = s.cells();
  const size_t field = s.points();
  const long n = s.width();
  std::vector<double> out(field * s.learned(), 0.0);
  for (int j = 0; j < s.frames(); ++j) {
    const std::span<double> frame = std::span(out).subspan(out.empty() ? 0 : j * n);
    s.space_.add_parameter_gradient(terms_, s.ghosts_, j + 1, std::span(u_).subspan((j + 1) * n, n),
                                    -s.now(j) / s.scale_, frame, field);
    s.space_.add_parameter_gradient(terms_, s.ghosts_, j, std::span(u_).subspan(j * n, n),
                                    -s.before(j) / s.scale_, frame, field);
    for (int l = 0; l < s.learned(); ++l)
      for (int a = 0; a < m; ++a) {
        const double* by = storage_.by(a, m + l) + static_cast<long>(j) * cells;
        for (int i = 0; i < cells; ++i)
          out[l * field + j * n + i * m + a] += (by[cells + i] - by[i]) / s.scale_;
      }
  }
  s.clear_held(out);
  return out;
}

void SchemePoint::second(std::span<const double> p, std::span<const double> v, std::span<double> out,
                         std::span<double> by_parameter) {
  need(2);
  const ConservativeScheme& s = scheme_;
  std::vector<double> inner;
  if (!s.held_.empty()) {
    inner.assign(p.begin(), p.end());
    s.clear_held(inner);
    p = inner;
  }
  const int m = s.unknowns(), cells = s.cells();
  const long n = s.width();
  std::vector<double> q(n), unused(s.learned());
  if (by_parameter.empty()) by_parameter = unused;
  std::fill(by_parameter.begin(), by_parameter.end(), 0.0);
  std::fill(out.begin(), out.end(), 0.0);
  for (int j = 0; j < s.frames(); ++j) {
    const bool last = j + 1 == s.frames();
    const std::span<const double> direction = v.subspan(j * n, n);
    const std::span<double> to = out.subspan(j * n, n);
    const double *p1 = &p[j * n], *p2 = last ? nullptr : p1 + n;
    for (int i = 0; i < cells; ++i) {
      const long point = (j + 1L) * cells + i;
      for (int a = 0; a < m; ++a) {
        const double weight = (p1[i * m + a] - (last ? 0 : p2[i * m + a])) / s.scale_;
        for (int b = 0; b < m; ++b) {
          const double scaled = weight * direction[i * m + b];
          for (int c = 0; c < m; ++c) to[i * m + c] += scaled * storage_.by(a, b, c)[point];
          for (int l = 0; l < s.learned(); ++l) by_parameter[l] += scaled * storage_.by(a, b, m + l)[point];
        }
      }
    }
    if (!s.linear_.empty()) continue;
    for (long i = 0; i < n; ++i) q[i] = -(s.now(j) * p1[i] + (last ? 0 : s.before(j + 1) * p2[i])) / s.scale_;
    s.space_.add_second(terms_, s.ghosts_, j + 1, std::span(u_).subspan((j + 1) * n, n), direction, q, to,
                        by_parameter);
  }
}

SplitMatrices SchemePoint::split(int substeps) {
  need(1);
  const ConservativeScheme& s = scheme_;
  const int m = s.unknowns(), all = s.frames() + 1;
  SplitMatrices out;
  out.stiff = s.space_.stencil(all);
  out.slope = out.stiff.diagonal(all);
  out.gentle = s.space_.stencil(all);
  out.substeps = substeps;
  const SpatialOperator::Terms terms =
      s.linear_.empty() ? terms_ : s.space_.terms(s.times_, s.ghosts_, u_, 1);
  for (int j = 0; j < all; ++j) {
    if (j > 0) {
      out.dt.push_back(s.times_[j] - s.times_[j - 1]);
      out.theta.push_back(s.theta_[j - 1]);
    }
    s.space_.add_jacobian(terms, s.ghosts_, j, 1 / s.scale_, out.stiff, j, SpatialOperator::Part::stiff);
    s.space_.add_jacobian(terms, s.ghosts_, j, 1 / s.scale_, out.gentle, j, SpatialOperator::Part::gentle);
    for (int i = 0; i < s.cells(); ++i)
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b)
          out.slope.at(j, i, 0)[a * m + b] =
              storage_.by(a, b)[static_cast<long>(j) * s.cells() + i] / s.scale_;
  }
  s.hold(out.stiff, 0);
  s.hold(out.gentle, 0);
  return out;
}

bool SchemePoint::curvature_weight(std::span<const double> p, std::span<double> weight) {
  const ConservativeScheme& s = scheme_;
  if (s.linear_.empty() || s.unknowns() > 1) return false;
  need(2);
  const long n = s.width();
  for (int j = 0; j < s.frames(); ++j)
    for (long i = 0; i < n; ++i)
      weight[j * n + i] = storage_.by(0, 0, 0)[(j + 1) * n + i] *
                          (p[j * n + i] - (j + 1 == s.frames() ? 0 : p[(j + 1) * n + i])) / s.scale_;
  s.clear_held(weight);
  return true;
}

}  // namespace rankine
