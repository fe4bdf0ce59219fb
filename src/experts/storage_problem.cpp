#include "src/experts/storage_problem.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "kernels/gram.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine {
namespace {

// Of the length of a time step, and of a step of Newton's method: below this the solution counts as lost.
constexpr double smallest_part = 1.0 / 512;

double norm(std::span<const double> a) {
  double sum = 0;  // in the order and with the rounding of kernels::column_lengths()
  for (double x : a) sum += kernels::rounded_product(x, x);
  return std::sqrt(sum);
}

std::shared_ptr<const LinearMarch> make_march(const MarchMatrices& matrices, const MarchOptions& options,
                                              const std::shared_ptr<const LinearMarch>& preconditioner) {
  if (options.method == "petsc") return make_petsc_march(matrices);
  if (options.method == "gmres" && preconditioner)
    return make_gmres_march(matrices, preconditioner, {options.gmres_rtol, options.gmres_iterations});
  return make_direct_march(matrices);
}

}  // namespace

void MarchOptions::options(OptionVisitor& o) {
  o("method", method,
    {.help = "who solves the march: direct (banded factors), petsc (KSP, options -march_...), gmres "
             "(matrix-free, preconditioned by the frozen march), imex (explicit advection, implicit "
             "diffusion); with each rank holding the rows of its tiles: tiles (factors of tiles and of their "
             "interface), distributed (a KSP over all ranks, options -march_...)",
     .choices = {"direct", "petsc", "gmres", "imex", "tiles", "distributed"}});
  o("state", state,
    {.help =
         "what P is linearised about: a constant typical state, the initial state, or the prediction itself",
     .choices = {"frozen", "initial", "prediction"}});
  o("substeps", substeps, {.help = "substeps of a time step (method: imex)", .min = 1, .max = 64});
  o("gmres_iterations", gmres_iterations,
    {.help = "iterations after which GMRES is cut off; 0: none, it must converge", .min = 0});
  o("gmres_rtol", gmres_rtol, {.help = "relative residual at which GMRES stops", .min = 1e-15, .max = 0.5});
}

std::shared_ptr<const StorageProblem::March> StorageProblem::make_march(MarchMatrices matrices,
                                                                        const MarchOptions& options) {
  auto march = std::make_shared<March>();
  const bool petsc = options.method == "petsc";
  march->dual = petsc ? make_petsc_march(matrices) : make_direct_march(matrices);
  march->matrices = matrices;
  matrices.history = false;
  march->spatial = petsc ? make_petsc_march(matrices) : make_direct_march(matrices);
  return march;
}

const StorageProblem::March& StorageProblem::frozen() const {
  if (!frozen_->made) frozen_->made = make_march(scheme_->frozen_march(), options_);
  return *frozen_->made;
}

StorageModel::StorageModel(const Pde& pde, Grid grid, std::vector<double> times, double theta,
                           int implicit_steps, MarchOptions march)
    : pde_(pde),
      grid_(std::move(grid)),
      times_(std::move(times)),
      theta_(theta),
      implicit_steps_(implicit_steps),
      march_(std::move(march)) {}

StorageProblem StorageModel::sample(std::vector<double> initial, SchemeParameters parameters) const {
  RANKINE_ASSERT(static_cast<int>(initial.size()) == width(),
                 "an initial state holds cells x unknowns numbers");
  if (parameters.values.empty())
    for (const PdeParameter& p : pde_.parameters()) parameters.values.push_back(p.value);
  if (!used_ || latest_.scheme_->space().parameters().values != parameters.values ||
      latest_.scheme_->space().parameters().learned != parameters.learned ||
      latest_.scheme_->space().parameters().fields != parameters.fields) {
    latest_.scheme_ = std::make_shared<ConservativeScheme>(pde_, grid_, times_, theta_, implicit_steps_,
                                                           std::move(parameters));
    latest_.options_ = march_;
    latest_.frozen_ = std::make_shared<StorageProblem::FrozenMarch>();
    used_ = true;
  }
  StorageProblem problem = latest_;
  problem.initial_ = std::move(initial);
  if (march_.state == "initial") {
    SchemePoint point = problem.at(problem.linearisation_state());
    problem.march_ = StorageProblem::make_march(point.linearisation(), march_);
  }
  return problem;
}

/// The initial state in all frames.
std::vector<double> StorageProblem::linearisation_state() const {
  std::vector<double> u;
  for (int j = 0; j <= frames(); ++j) u.insert(u.end(), initial_.begin(), initial_.end());
  return u;
}

std::vector<double> StorageProblem::whole(std::span<const double> later) const {
  std::vector<double> u(initial_);
  u.insert(u.end(), later.begin(), later.end());
  return u;
}

std::vector<double> StorageProblem::evaluate(std::span<const double> u) const {
  return at({u.begin(), u.end()}).residual();
}

const LinearMarch* StorageProblem::weight(Weighting weighting) const {
  if (weighting == Weighting::plain) return nullptr;
  return (weighting == Weighting::dual ? march().dual : march().spatial).get();
}

void StorageProblem::weigh(Weighting weighting, std::span<double> field, int columns) const {
  if (const LinearMarch* march = weight(weighting)) march->apply(field, field, columns);
}

void StorageProblem::weigh_transpose(Weighting weighting, std::span<double> field) const {
  if (const LinearMarch* march = weight(weighting)) march->apply_transpose(field, field);
}

std::shared_ptr<const LinearMarch> StorageProblem::march_at(SchemePoint& point) const {
  if (options_.method == "imex") return make_imex_march(point.split(options_.substeps));
  return rankine::make_march(point.linearisation(), options_,
                             options_.method == "gmres" ? frozen().dual : nullptr);
}

double StorageProblem::residual_norm(Weighting weighting, std::span<const double> u, std::span<double> u_bar,
                                     std::span<double> parameters_bar) const {
  SchemePoint point(*scheme_, {u.begin(), u.end()}, u_bar.empty() ? 0 : 1);
  std::vector<double> r = point.residual();
  // With P at the prediction the state of P is held fixed.
  const std::shared_ptr<const LinearMarch> own =
      weighting == Weighting::dual && options_.state == "prediction" ? march_at(point) : nullptr;
  if (own)
    own->apply(r, r);
  else
    weigh(weighting, r, 1);
  const double length = norm(r);
  if (u_bar.empty()) return length;
  const std::vector<double> error(r);
  const double inverse = length > 0 ? 1 / length : 0;
  for (double& x : r) x *= inverse;
  if (own)
    own->apply_transpose(r, r);
  else
    weigh_transpose(weighting, r);
  point.apply_transpose(r, u_bar);
  const std::vector<double> by_parameter = point.parameter_gradient();
  for (size_t l = 0; l < parameters_bar.size(); ++l)
    parameters_bar[l] = std::inner_product(r.begin(), r.end(), by_parameter.begin() + l * r.size(), 0.0);
  if (!parameters_bar.empty()) {
    const std::vector<double> by_march = march_gradient(weighting, point, r, error);
    for (size_t l = 0; l < parameters_bar.size(); ++l) parameters_bar[l] -= by_march[l];
  }
  return length;
}

std::vector<double> StorageProblem::march_gradient(Weighting weighting, SchemePoint& at,
                                                   std::span<const double> s,
                                                   std::span<const double> v) const {
  std::vector<double> out(scheme_->learned(), 0.0), unused(points());
  if (weighting == Weighting::plain) return out;
  const bool history = weighting == Weighting::dual;
  if (options_.state == "initial") {
    SchemePoint initial = this->at(linearisation_state());
    if (history) {
      initial.second(s, v, unused, out);
      return out;
    }
    // Without history the frames are problems of their own.
    std::vector<double> one(points()), part(out.size());
    for (int j = 0; j < frames(); ++j) {
      std::fill(one.begin(), one.end(), 0.0);
      std::copy_n(&s[static_cast<long>(j) * width()], width(), &one[static_cast<long>(j) * width()]);
      std::vector<double> own(points(), 0.0);
      std::copy_n(&v[static_cast<long>(j) * width()], width(), &own[static_cast<long>(j) * width()]);
      initial.second(one, own, unused, part);
      for (size_t l = 0; l < out.size(); ++l) out[l] += part[l];
    }
    return out;
  }
  if (history && options_.state == "prediction") {
    at.second(s, v, unused, out);
    return out;
  }
  return scheme_->frozen_march_gradient(s, v, history);
}

std::vector<double> StorageProblem::error_of(const std::vector<double>& u, std::vector<double> r,
                                             const CorrectionOptions& options) const {
  SchemePoint point = at(u);
  (options.state == "frozen" ? frozen().dual : march_at(point))->apply(r, r);
  return r;
}

void StorageProblem::correct_steps(std::vector<double>& u, const CorrectionOptions& options,
                                   std::vector<std::vector<double>>& states) const {
  for (int step = 0; step < options.steps; ++step) {
    states.push_back(u);
    SchemePoint point(*scheme_, u, 1);
    std::vector<double> error = point.residual();
    (options.state == "frozen" ? frozen().dual : march_at(point))->apply(error, error);
    for (long p = 0; p < points(); ++p) u[width() + p] -= error[p];
  }
}

void StorageProblem::correct_transpose(const std::vector<std::vector<double>>& states,
                                       const CorrectionOptions& options, std::span<double> u_bar,
                                       std::span<double> parameters_bar) const {
  std::vector<double> s(points()), pulled(points()), by_parameter(scheme_->learned());
  for (auto state = states.rbegin(); state != states.rend(); ++state) {
    SchemePoint point(*scheme_, *state, options.state == "frozen" ? 1 : 2);
    const bool frozen = options.state == "frozen";
    const std::shared_ptr<const LinearMarch> march = frozen ? this->frozen().dual : march_at(point);
    march->apply_transpose(u_bar, s);
    if (frozen) {
      // u - P^-1 r(u) with a constant P.
      point.apply_transpose(s, pulled);
      for (long p = 0; p < points(); ++p) u_bar[p] -= pulled[p];
    } else {
      // P = r'(u), e = P^-1 r: d(u - e) = P^-1 r''[e, du].
      std::vector<double> error = point.residual();
      march->apply(error, error);
      point.second(s, error, u_bar, by_parameter);
      // In held cells P is the identity and r is 0, so that u passes through.
      for (const int cell : scheme_->held())
        for (long p = static_cast<long>(cell) * unknowns(); p < points(); p += width())
          for (int a = 0; a < unknowns(); ++a) u_bar[p + a] += s[p + a];
      for (size_t l = 0; l < parameters_bar.size(); ++l) parameters_bar[l] += by_parameter[l];
    }
    const std::vector<double> gradient = point.parameter_gradient();
    for (size_t l = 0; l < parameters_bar.size(); ++l)
      parameters_bar[l] -= std::inner_product(s.begin(), s.end(), gradient.begin() + l * s.size(), 0.0);
  }
}

std::vector<double> StorageProblem::linear_residual() const {
  if (options_.state == "initial") {
    // r(v) - P v about the initial state v in all frames, at zero.
    const std::vector<double> v = linearisation_state();
    std::vector<double> r = evaluate(v), moved(points());
    apply_march(march().matrices, std::span(v).subspan(width()), 1, moved);
    for (long p = 0; p < points(); ++p) r[p] -= moved[p];
    return r;
  }
  return scheme_->frozen_residual(whole(std::vector<double>(points(), 0.0)));
}

std::vector<double> StorageProblem::linear_target(Weighting weighting) const {
  std::vector<double> r = linear_residual();
  weigh(weighting, r, 1);
  for (double& x : r) x = -x;
  return r;
}

std::vector<double> StorageProblem::solve_frames(int frames) const {
  // One frame is a problem of its own: frame by frame, Newton with a march of one frame.
  const int n = width();
  std::vector<double> u(initial_);
  for (int j = 0; j < frames; ++j) {
    const std::vector<double> next = solve_step(j, std::span(u).last(n));
    u.insert(u.end(), next.begin(), next.end());
  }
  return u;
}

std::vector<double> StorageProblem::solve_step(int j, std::span<const double> old) const {
  std::vector<double> pair(old.begin(), old.end());
  pair.insert(pair.end(), old.begin(), old.end());
  const ConservativeScheme whole = scheme_->step(j);
  const auto result = [&] { return std::vector<double>(pair.begin() + width(), pair.end()); };
  if (solve_newton(whole, pair, {.steps = 60})) return result();

  // Where the full steps of Newton's method go astray (kinks of a storage, fronts thinner than a cell), the
  // solution is followed from the old state as the length of the time step grows. Each length begins on the
  // line through the last two solutions, or where that fails at the last one, and damps its steps.
  double reached = 0, stride = 1, reached_before = 0;
  std::vector<double> now(old.begin(), old.end()), before(now);
  while (reached < 1) {
    const double at = std::min(1.0, reached + stride);
    const bool last = at == 1;
    const ConservativeScheme part = last ? whole : scheme_->step(j, at);
    const auto solved_from = [&](double along) {
      for (int i = 0; i < width(); ++i) pair[width() + i] = now[i] + along * (now[i] - before[i]);
      return solve_newton(part, pair, {.steps = last ? 60 : 25, .damped = true, .loose = !last});
    };
    const bool line = reached > 0;
    if ((line && solved_from((at - reached) / (reached - reached_before))) || solved_from(0)) {
      before = std::exchange(now, result());
      reached_before = std::exchange(reached, at);
      stride *= 2;
    } else if ((stride /= 2) < smallest_part) {
      throw NumericalError(
          fmt::format("the exact discrete solution is lost in frame {} (t = {:g}): Newton's method does not "
                      "converge, and followed as the time step grows the solution ends at {:.3g} of the "
                      "step; use more frames, unless the solution itself blows up there",
                      j + 1, scheme_->times()[j + 1], reached));
    }
  }
  return now;
}

bool StorageProblem::solve_newton(const ConservativeScheme& step, std::vector<double>& pair,
                                  const NewtonOptions& options) {
  const int n = step.width();
  const double rounding = 1e-14 * std::sqrt(static_cast<double>(n));
  try {
    for (int iteration = 0; iteration < options.steps; ++iteration) {
      SchemePoint point(step, pair, 1);
      std::vector<double> r = point.residual();
      const double size = norm(r);
      make_direct_march(point.linearisation())->apply(r, r);
      // Close to the solution full steps converge quadratically, and the residual is all rounding.
      const bool close = norm(r) <= 1e-8 * (1 + norm(std::span(pair).subspan(n)));
      const double along = options.damped && !close ? step_length(step, pair, r, size) : 1;
      for (int i = 0; i < n; ++i) pair[n + i] -= along * r[i];
      const double tolerance = (options.loose ? 1e-8 : rounding) * (1 + norm(std::span(pair).subspan(n)));
      if (along == 1 && std::isfinite(tolerance) && norm(r) <= tolerance) return true;
    }
  } catch (const NumericalError&) {
    // A term that is not finite, or a singular linearisation: the iteration is astray.
  }
  return false;
}

double StorageProblem::step_length(const ConservativeScheme& step, std::span<const double> pair,
                                   std::span<const double> direction, double size) {
  const int n = step.width();
  double best = 1, least = std::numeric_limits<double>::infinity();
  for (double along = 1; along > smallest_part; along /= 2) {
    std::vector<double> next(pair.begin(), pair.end());
    for (int i = 0; i < n; ++i) next[n + i] -= along * direction[i];
    try {
      const double after = norm(SchemePoint(step, std::move(next)).residual());
      if (after <= (1 - 1e-4 * along) * size) return along;
      if (after < least) {
        least = after;
        best = along;
      }
    } catch (const NumericalError&) {
      // Too far: a term is not finite there.
    }
  }
  return best;
}

StorageExpert::StorageExpert(const StorageProblem& problem, std::span<const double> basis, int columns,
                             std::vector<long> rows, Weighting weighting, double ridge,
                             ObservedRows observations, std::vector<int> observed)
    : problem_(problem),
      basis_(basis),
      columns_(columns),
      rows_(std::move(rows)),
      weighting_(weighting),
      ridge_(ridge),
      observations_(observations),
      observed_(std::move(observed)),
      weighed_(problem.points()) {
  RANKINE_ASSERT(static_cast<long>(basis.size()) == problem.points() * columns, "a basis of the wrong size");
  if (observed_.empty()) return;
  const std::vector<double> at_zero =
      observations_.all->misfit(problem.whole(std::vector<double>(problem.points(), 0.0)));
  for (int i : observed_) offset_.push_back(observations_.weight * at_zero[i]);
}

std::vector<double> StorageExpert::observe(std::span<const double> v, int columns) const {
  if (observed_.empty()) return {};
  const std::vector<double> all = observations_.all->along(v, columns);
  std::vector<double> out;
  for (int i : observed_)
    for (int c = 0; c < columns; ++c) out.push_back(observations_.weight * all[i * columns + c]);
  return out;
}

void StorageExpert::add_observed(std::span<const double> r, std::span<double> out) const {
  if (observed_.empty()) return;
  std::vector<double> all(observations_.all->size(), 0.0);
  for (size_t k = 0; k < observed_.size(); ++k) all[observed_[k]] = observations_.weight * r[k];
  observations_.all->add_transpose(all, out);
}

std::vector<double> StorageExpert::combine(std::span<const double> w) const {
  std::vector<double> u(problem_.points());
  for (long p = 0; p < problem_.points(); ++p) {
    double sum = 0;
    for (int c = 0; c < columns_; ++c) sum = kernels::multiply_add(w[c], basis_[p * columns_ + c], sum);
    u[p] = sum;
  }
  return u;
}

void StorageExpert::set_point(std::span<const double> w, int order) {
  if (std::equal(w.begin(), w.end(), at_.begin(), at_.end())) return;
  at_.assign(w.begin(), w.end());
  point_ = std::make_unique<SchemePoint>(problem_.scheme(), problem_.whole(combine(w)), order);
  weighed_ = point_->residual();
  problem_.weigh(weighting_, weighed_, 1);
}

void StorageExpert::residual(std::span<const double> w, std::span<double> rho) {
  set_point(w, 0);
  for (size_t r = 0; r < rows_.size(); ++r) rho[r] = weighed_[rows_[r]];
  if (!observed_.empty()) {
    const std::vector<double> data = observe(combine(w), 1);
    for (size_t k = 0; k < data.size(); ++k) rho[rows_.size() + k] = data[k] + offset_[k];
  }
  if (ridge_ > 0)
    for (int c = 0; c < columns_; ++c) rho[rows_.size() + observed_.size() + c] = ridge_ * w[c];
}

void StorageExpert::linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) {
  set_point(w, 1);
  residual(w, rho);
  const bool all_rows = static_cast<long>(rows_.size()) == problem_.points();
  std::vector<double> scratch(all_rows ? 0 : problem_.points() * columns_);
  std::span<double> columns =
      all_rows ? jacobian.first(problem_.points() * columns_) : std::span<double>(scratch);
  point_->apply(basis_, columns_, columns);
  problem_.weigh(weighting_, columns, columns_);
  if (!all_rows)
    for (size_t r = 0; r < rows_.size(); ++r)
      std::copy_n(&columns[rows_[r] * columns_], columns_, &jacobian[r * columns_]);
  const std::vector<double> data = observe(basis_, columns_);
  std::copy(data.begin(), data.end(), jacobian.begin() + static_cast<long>(rows_.size()) * columns_);
  if (ridge_ > 0) {
    std::span<double> ridge_rows = jacobian.subspan((rows_.size() + observed_.size()) * columns_,
                                                    static_cast<size_t>(columns_) * columns_);
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
  const std::vector<double> p = pulled_back_residual();
  const long points = problem_.points();
  std::vector<double> weight(points), weighted(basis_.size());
  if (point_->curvature_weight(p, weight)) {
    for (long q = 0; q < points; ++q)
      for (int c = 0; c < columns_; ++c) weighted[q * columns_ + c] = weight[q] * basis_[q * columns_ + c];
  } else {
    std::vector<double> column(points);
    for (int c = 0; c < columns_; ++c) {
      for (long q = 0; q < points; ++q) column[q] = basis_[q * columns_ + c];
      point_->second(p, column, weight);
      for (long q = 0; q < points; ++q) weighted[q * columns_ + c] = weight[q];
    }
  }
  kernels::add_transposed_product(basis_.data(), weighted.data(), points, columns_, columns_, hessian.data());
}

void StorageExpert::linear_start(std::span<const double> target, double damping, std::span<double> w) const {
  std::vector<double> columns(basis_.begin(), basis_.end());
  if (weighting_ != Weighting::dual) {
    // In the dual norm P^-1 of the march's own columns is the basis itself; else they have to be formed.
    apply_march(problem_.march_matrices(), basis_, columns_, columns);
    problem_.weigh(weighting_, columns, columns_);
  }
  std::vector<double> rows(rows_.size() * columns_), rhs(rows_.size());
  for (size_t r = 0; r < rows_.size(); ++r) {
    std::copy_n(&columns[rows_[r] * columns_], columns_, &rows[r * columns_]);
    rhs[r] = target[rows_[r]];
  }
  const std::vector<double> data = observe(basis_, columns_);
  rows.insert(rows.end(), data.begin(), data.end());
  for (double offset : offset_) rhs.push_back(-offset);
  std::vector<double> augmented(static_cast<size_t>(columns_ + 1) * (columns_ + 1));
  kernels::augmented_gram(rows, rhs, columns_, augmented);
  solve_normal(augmented, columns_, ridge_, damping, w);
}

void StorageExpert::stationarity_gradient(std::span<const double> w, std::span<const double> lambda,
                                          std::span<double> by_solution, std::span<double> by_direction,
                                          std::span<double> by_parameter) {
  set_point(w, 1);
  const long points = problem_.points();
  const std::vector<double> v = combine(lambda), p = pulled_back_residual();
  // by_direction = r'^T p;  by_solution = r'^T Q^T S^T S Q r' v + <p, r''[v, .]>.
  point_->apply_transpose(p, by_direction);
  std::vector<double> along(points), masked(points, 0.0);
  point_->apply(v, 1, along);
  problem_.weigh(weighting_, along, 1);
  for (long row : rows_) masked[row] = along[row];
  problem_.weigh_transpose(weighting_, masked);
  point_->apply_transpose(masked, by_solution);
  const std::vector<double> weighed_along(along);
  point_->second(p, v, along, by_parameter);
  for (long q = 0; q < points; ++q) by_solution[q] += along[q];
  if (!by_parameter.empty()) {
    // With e = Q r, f = Q r' v, and P_p the derivative of Q^-1:
    //   d phi / dp = masked . (r_p - P_p e) + p . (r'_p v - P_p f).
    const std::vector<double> r = point_->parameter_gradient();
    const std::vector<double> by_error = problem_.march_gradient(weighting_, *point_, masked, weighed_);
    const std::vector<double> by_along = problem_.march_gradient(weighting_, *point_, p, weighed_along);
    for (size_t l = 0; l < by_parameter.size(); ++l)
      by_parameter[l] += std::inner_product(masked.begin(), masked.end(),
                                            r.begin() + static_cast<long>(l) * points, -by_error[l]) -
                         by_along[l];
  }
  if (observed_.empty()) return;
  // Observation rows are linear in u: no second derivative.
  std::vector<double> misfit = observe(combine(w), 1);
  for (size_t k = 0; k < misfit.size(); ++k) misfit[k] += offset_[k];
  add_observed(misfit, by_direction);
  add_observed(observe(v, 1), by_solution);
}

std::vector<long> rows_of(const Box& box, const Grid& grid, int unknowns) {
  std::vector<long> rows;
  std::vector<long> inside;  // the cells of the box
  for (int cell = 0; cell < grid.cells(); ++cell) {
    bool contained = true;
    for (int axis = 0; axis < grid.axes(); ++axis) {
      const int i = grid.index(cell, axis);
      contained = contained && i >= box.begin[axis] && i < box.end[axis];
    }
    if (contained) inside.push_back(cell);
  }
  for (long j = box.frame_begin; j < box.frame_end; ++j)
    for (const long cell : inside)
      for (int a = 0; a < unknowns; ++a) rows.push_back((j * grid.cells() + cell) * unknowns + a);
  return rows;
}

std::vector<Box> equal_boxes(int frames, const Grid& grid, std::span<const int> parts) {
  std::vector<Box> boxes;
  int count = 1;
  for (const int n : parts) count *= n;
  for (int k = 0; k < count; ++k) {
    Box box{};
    int rest = k;
    for (int axis = grid.axes() - 1; axis >= 0; --axis) {
      const int n = parts[1 + axis], size = grid.cells(axis) / n;
      box.begin[axis] = rest % n * size;
      box.end[axis] = box.begin[axis] + size;
      rest /= n;
    }
    box.frame_begin = rest * (frames / parts[0]);
    box.frame_end = box.frame_begin + frames / parts[0];
    boxes.push_back(box);
  }
  return boxes;
}

}  // namespace rankine
