#include "src/experts/storage_problem.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/error.hpp"
#include "kernels/gram.hpp"
#include "kernels/lapack.hpp"

namespace rankine {
namespace {

double norm(std::span<const double> a) {
  return std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0));
}

/// The frozen march about the constant storage slope `residual.scale`.
MarchMatrices frozen_march(const kernels::ConservativeResidual& residual, bool history) {
  const int frames = residual.frames(), cells = residual.cells();
  const auto& g = residual.flux;
  MarchMatrices m{kernels::StencilFrames(frames, cells), kernels::StencilFrames(frames, cells), history};
  for (int j = 0; j < frames; ++j) {
    const double now = residual.time.dt[j] * residual.time.theta[j] / residual.scale;
    const double before = residual.time.dt[j] * (1 - residual.time.theta[j]) / residual.scale;
    for (int i = 0; i < cells; ++i) {
      if (i > 0) *m.implicit.at(j, i, -1) = -now * g.lower[i];
      *m.implicit.at(j, i, 0) = 1 - now * g.diagonal[i];
      if (i + 1 < cells) *m.implicit.at(j, i, 1) = -now * g.upper[i];
      if (i > 0) *m.previous.at(j, i, -1) = before * g.lower[i];
      *m.previous.at(j, i, 0) = 1 + before * g.diagonal[i];
      if (i + 1 < cells) *m.previous.at(j, i, 1) = before * g.upper[i];
    }
  }
  return m;
}

}  // namespace

StorageProblem::StorageProblem(const Pde& pde, int cells, std::vector<double> times, double theta,
                               int implicit_steps, bool petsc_march)
    : pde_(pde), times_(std::move(times)) {
  RANKINE_ASSERT(times_.size() >= 2, "a march needs at least one step");
  residual_.flux = pde.flux_operator(cells);
  residual_.scale = pde.typical_storage_slope();
  for (size_t j = 1; j < times_.size(); ++j) {
    residual_.time.dt.push_back(times_[j] - times_[j - 1]);
    residual_.time.theta.push_back(static_cast<int>(j) <= implicit_steps ? 1.0 : theta);
  }
  const auto make = petsc_march ? make_petsc_march : make_direct_march;
  dual_ = make(frozen_march(residual_, true));
  spatial_ = make(frozen_march(residual_, false));
}

kernels::StorageFields StorageProblem::storage(std::span<const double> u) const {
  kernels::StorageFields fields;
  pde_.storage(u, fields);
  return fields;
}

kernels::StorageFields StorageProblem::frozen_storage(std::span<const double> u) const {
  kernels::StorageFields fields;
  fields.value.resize(u.size());
  for (size_t i = 0; i < u.size(); ++i) fields.value[i] = residual_.scale * u[i];
  fields.slope.assign(u.size(), residual_.scale);
  fields.curvature.assign(u.size(), 0.0);
  return fields;
}

std::vector<double> StorageProblem::evaluate(std::span<const double> u) const {
  std::vector<double> r(points());
  residual_.evaluate(storage(u), u, r);
  return r;
}

void StorageProblem::weigh(Weighting weighting, std::span<double> field, int columns) const {
  if (weighting == Weighting::plain) return;
  (weighting == Weighting::dual ? *dual_ : *spatial_).apply(field, field, columns);
}

void StorageProblem::weigh_transpose(Weighting weighting, std::span<double> field) const {
  if (weighting == Weighting::plain) return;
  (weighting == Weighting::dual ? *dual_ : *spatial_).apply_transpose(field, field);
}

double StorageProblem::residual_norm(Weighting weighting, std::span<const double> u,
                                     std::span<double> u_bar) const {
  const kernels::StorageFields fields = storage(u);
  std::vector<double> r(points());
  residual_.evaluate(fields, u, r);
  weigh(weighting, r, 1);
  const double length = norm(r);
  if (!u_bar.empty()) {
    const double inverse = length > 0 ? 1 / length : 0;
    for (double& x : r) x *= inverse;
    weigh_transpose(weighting, r);
    residual_.apply_transpose(fields, r, u_bar);
  }
  return length;
}

void StorageProblem::correct(std::span<double> u, int steps) const {
  for (int step = 0; step < steps; ++step) {
    std::vector<double> error = evaluate(u);
    dual_->apply(error, error);
    for (long p = 0; p < points(); ++p) u[cells() + p] -= error[p];
  }
}

std::vector<double> StorageProblem::frozen_solution(std::span<const double> initial) const {
  // The frozen residual of (initial, 0, 0, ...) holds the initial state and the walls; P^-1 of it is minus
  // the solution.
  std::vector<double> u(cells() + points(), 0.0), r(points());
  std::copy(initial.begin(), initial.end(), u.begin());
  residual_.evaluate(frozen_storage(u), u, r);
  dual_->apply(r, r);
  for (double& x : r) x = -x;
  return r;
}

void StorageProblem::solve_exactly(std::span<double> u) const {
  // One frame is a problem of its own: frame by frame, Newton with the tridiagonal Jacobian, as a march of
  // one frame.
  const int n = cells();
  for (int j = 0; j < frames(); ++j) {
    kernels::ConservativeResidual step = residual_;
    step.time = {{residual_.time.dt[j]}, {residual_.time.theta[j]}};
    std::span<double> pair = u.subspan(static_cast<long>(j) * n, 2L * n), now = pair.subspan(n);
    std::copy_n(pair.begin(), n, now.begin());
    bool converged = false;
    for (int iteration = 0; iteration < 60 && !converged; ++iteration) {
      const kernels::StorageFields fields = storage(pair);
      std::vector<double> r(n);
      step.evaluate(fields, pair, r);
      MarchMatrices jacobian{kernels::StencilFrames(1, n), {}, false};
      const double weight = step.time.dt[0] * step.time.theta[0];
      for (int i = 0; i < n; ++i) {
        if (i > 0) *jacobian.implicit.at(0, i, -1) = -weight * step.flux.lower[i] / step.scale;
        *jacobian.implicit.at(0, i, 0) = (fields.slope[n + i] - weight * step.flux.diagonal[i]) / step.scale;
        if (i + 1 < n) *jacobian.implicit.at(0, i, 1) = -weight * step.flux.upper[i] / step.scale;
      }
      make_direct_march(jacobian)->apply(r, r);
      for (int i = 0; i < n; ++i) now[i] -= r[i];
      converged = norm(r) <= 1e-14 * (1 + norm(now));
    }
    if (!converged)
      throw NumericalError("exact discrete solution: Newton's method did not converge in frame " +
                           std::to_string(j + 1) + " (t = " + std::to_string(times_[j + 1]) +
                           ") within 60 steps; use more frames");
  }
}

StorageExpert::StorageExpert(const StorageProblem& problem, std::span<const double> initial,
                             std::span<const double> basis, int columns, std::vector<long> rows,
                             Weighting weighting, double ridge)
    : problem_(problem),
      basis_(basis),
      columns_(columns),
      rows_(std::move(rows)),
      weighting_(weighting),
      ridge_(ridge),
      initial_(initial.begin(), initial.end()),
      weighed_(problem.points()) {
  RANKINE_ASSERT(static_cast<long>(basis.size()) == problem.points() * columns, "a basis of the wrong size");
}

std::vector<double> StorageExpert::combine(std::span<const double> w) const {
  std::vector<double> u(problem_.points());
  for (long p = 0; p < problem_.points(); ++p) {
    double sum = 0;
    for (int c = 0; c < columns_; ++c) sum += w[c] * basis_[p * columns_ + c];
    u[p] = sum;
  }
  return u;
}

void StorageExpert::set_point(std::span<const double> w) {
  if (std::equal(w.begin(), w.end(), at_.begin(), at_.end())) return;
  at_.assign(w.begin(), w.end());
  u_ = initial_;
  const std::vector<double> later = combine(w);
  u_.insert(u_.end(), later.begin(), later.end());
  storage_ = problem_.storage(u_);
  problem_.residual().evaluate(storage_, u_, weighed_);
  problem_.weigh(weighting_, weighed_, 1);
}

void StorageExpert::residual(std::span<const double> w, std::span<double> rho) {
  set_point(w);
  for (size_t r = 0; r < rows_.size(); ++r) rho[r] = weighed_[rows_[r]];
  if (ridge_ > 0)
    for (int c = 0; c < columns_; ++c) rho[rows_.size() + c] = ridge_ * w[c];
}

void StorageExpert::linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) {
  residual(w, rho);
  const bool all_rows = static_cast<long>(rows_.size()) == problem_.points();
  std::vector<double> scratch(all_rows ? 0 : problem_.points() * columns_);
  std::span<double> columns =
      all_rows ? jacobian.first(problem_.points() * columns_) : std::span<double>(scratch);
  problem_.residual().apply(storage_, basis_, columns_, columns);
  problem_.weigh(weighting_, columns, columns_);
  if (!all_rows)
    for (size_t r = 0; r < rows_.size(); ++r)
      std::copy_n(&columns[rows_[r] * columns_], columns_, &jacobian[r * columns_]);
  if (ridge_ > 0) {
    std::span<double> ridge_rows =
        jacobian.subspan(rows_.size() * columns_, static_cast<size_t>(columns_) * columns_);
    std::fill(ridge_rows.begin(), ridge_rows.end(), 0.0);
    for (int c = 0; c < columns_; ++c) ridge_rows[c * columns_ + c] = ridge_;
  }
}

std::vector<double> StorageExpert::pulled_back_residual() const {
  std::vector<double> p(problem_.points(), 0.0);
  for (long row : rows_) p[row] = weighed_[row];
  problem_.weigh_transpose(weighting_, p);
  return p;
}

void StorageExpert::add_curvature(std::span<double> hessian) {
  std::vector<double> weight(problem_.points());
  problem_.residual().curvature_weight(storage_, pulled_back_residual(), weight);
  std::vector<double> weighted(basis_.size());
  for (long p = 0; p < problem_.points(); ++p)
    for (int c = 0; c < columns_; ++c) weighted[p * columns_ + c] = weight[p] * basis_[p * columns_ + c];
  kernels::add_transposed_product(basis_.data(), weighted.data(), problem_.points(), columns_, columns_,
                                  hessian.data());
}

void StorageExpert::linear_start(double damping, std::span<double> w) const {
  std::vector<double> columns(basis_.begin(), basis_.end()), target = problem_.frozen_solution(initial_);
  if (weighting_ != Weighting::dual) {
    // In the dual norm P^-1 of the frozen columns is the basis itself; else they have to be formed.
    std::vector<double> u(initial_);
    u.resize(problem_.cells() + problem_.points(), 0.0);
    const kernels::StorageFields frozen = problem_.frozen_storage(u);
    problem_.residual().apply(frozen, basis_, columns_, columns);
    problem_.weigh(weighting_, columns, columns_);
    problem_.residual().evaluate(frozen, u, target);
    for (double& x : target) x = -x;
    problem_.weigh(weighting_, target, 1);
  }
  std::vector<double> rows(rows_.size() * columns_), rhs(rows_.size());
  for (size_t r = 0; r < rows_.size(); ++r) {
    std::copy_n(&columns[rows_[r] * columns_], columns_, &rows[r * columns_]);
    rhs[r] = target[rows_[r]];
  }
  const int n = columns_, m = n + 1;
  std::vector<double> augmented(static_cast<size_t>(m) * m), matrix(static_cast<size_t>(n) * n), scale(n);
  kernels::augmented_gram(rows, rhs, n, augmented);
  for (int i = 0; i < n; ++i) {
    const double diagonal = augmented[i * m + i] + ridge_ * ridge_;
    scale[i] = diagonal > 0 ? std::sqrt(diagonal) : 1.0;
  }
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) matrix[i * n + j] = augmented[i * m + j] / (scale[i] * scale[j]);
    matrix[i * n + i] += damping + ridge_ * ridge_ / (scale[i] * scale[i]);
    w[i] = augmented[i * m + n] / scale[i];
  }
  if (!lapack::solve_spd(matrix, n, w)) {
    std::fill(w.begin(), w.end(), 1.0);
    return;
  }
  for (int i = 0; i < n; ++i) w[i] /= scale[i];
}

void StorageExpert::stationarity_gradient(std::span<const double> w, std::span<const double> lambda,
                                          std::span<double> by_solution, std::span<double> by_direction) {
  set_point(w);
  const long points = problem_.points();
  const std::vector<double> v = combine(lambda), p = pulled_back_residual();
  // by_direction = r'^T p;  by_solution = r'^T Q^T S^T S Q r' v + <p, r''[v, .]>.
  problem_.residual().apply_transpose(storage_, p, by_direction);
  std::vector<double> along(points), masked(points, 0.0);
  problem_.residual().apply(storage_, v, 1, along);
  problem_.weigh(weighting_, along, 1);
  for (long row : rows_) masked[row] = along[row];
  problem_.weigh_transpose(weighting_, masked);
  problem_.residual().apply_transpose(storage_, masked, by_solution);
  std::vector<double>& weight = along;
  problem_.residual().curvature_weight(storage_, p, weight);
  for (long q = 0; q < points; ++q) by_solution[q] += weight[q] * v[q];
}

std::vector<long> rows_of(const Box& box, int cells) {
  std::vector<long> rows;
  for (int j = box.frame_begin; j < box.frame_end; ++j)
    for (int i = box.cell_begin; i < box.cell_end; ++i) rows.push_back(static_cast<long>(j) * cells + i);
  return rows;
}

}  // namespace rankine
