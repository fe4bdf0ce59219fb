#include "src/experts/device_experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

template <class T>
Tensor on_device(const std::vector<T>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
}

}  // namespace

bool DeviceExperts::fits(const FormulationOptions& options) {
  const SolverOptions& solver = options.solver;
  return !options.soft() && !options.target() && options.coupling == "none" && options.points == 0 &&
         !options.observations.rows && options.row_weighting() == Weighting::dual &&
         options.loss_weighting() == Weighting::dual && solver.method != "tao_brgn" &&
         solver.reduction == "normal" && solver.ridge == 0;
}

DeviceExperts::DeviceExperts(std::shared_ptr<const DeviceResidual> residual, const StorageMixture& mixture,
                             SolverOptions options)
    : residual_(std::move(residual)), mixture_(mixture), options_(std::move(options)) {
  const ConservativeScheme& scheme = residual_->scheme();
  const std::vector<double>& stencil = scheme.linear_flux()->stencil.values;
  std::vector<double> now, before;
  for (int j = 0; j < scheme.frames(); ++j)
    for (const double g : stencil) {
      now.push_back(-scheme.now(j) / scheme.scale() * g);
      before.push_back(scheme.before(j) / scheme.scale() * g);
    }
  std::vector<std::int32_t> boxes, owner(scheme.points());
  for (int k = 0; k < mixture_.experts(); ++k) {
    const Box& box = mixture_.boxes()[k];
    boxes.insert(boxes.end(), {box.frame_begin, box.frame_end, box.begin[0], box.end[0]});
    for (const long row : mixture_.all_rows(k)) owner[row] = k;
  }
  now_rows_ = on_device(now);
  before_rows_ = on_device(before);
  boxes_ = on_device(boxes);
  owner_ = on_device(owner);
  tables_.scheme = residual_->linear();
  tables_.now_rows = now_rows_.data<double>();
  tables_.before_rows = before_rows_.data<double>();
  tables_.experts = mixture_.experts();
  tables_.basis = mixture_.basis();
  tables_.boxes = boxes_.data<std::int32_t>();
  tables_.owner = owner_.data<std::int32_t>();
}

DeviceSolves::DeviceSolves(std::shared_ptr<const DeviceExperts> experts, Tensor fields, Tensor initial)
    : experts_(std::move(experts)),
      fields_(std::move(fields)),
      initial_(std::move(initial)),
      frames_(experts_->tables().scheme.frames),
      cells_(experts_->tables().scheme.cells),
      basis_(experts_->tables().basis),
      all_(initial_.extent(0) * experts_->tables().experts) {
  std::iota(all_.begin(), all_.end(), 0);
}

kernels::LinearExperts DeviceSolves::experts() const {
  kernels::LinearExperts out = experts_->tables();
  out.fields = fields_.data<double>();
  out.count = static_cast<std::int64_t>(at_list_.size());
  out.samples = samples_.data<std::int32_t>();
  out.expert = expert_.data<std::int32_t>();
  return out;
}

void DeviceSolves::weigh(const Tensor& residuals, bool transposed) const {
  kernels::tridiagonal_march(experts_->residual().march(transposed), static_cast<int>(at_list_.size()),
                             residuals.data<double>(), residuals.data<double>());
}

void DeviceSolves::make_list(const List& list) {
  if (samples_.defined() && list == at_list_) return;
  at_list_ = list;
  List samples, expert;
  for (const std::int32_t k : list) {
    samples.push_back(k / experts_->tables().experts);
    expert.push_back(k % experts_->tables().experts);
  }
  samples_ = on_device(samples);
  expert_ = on_device(expert);
}

void DeviceSolves::evaluate(const List& list, const std::vector<double>& w) {
  if (u_.defined() && list == at_list_ && w == at_w_) return;
  make_list(list);
  at_w_ = w;
  const auto count = static_cast<std::int64_t>(list.size());
  w_there_ = on_device(w);
  u_ = Tensor::empty({count, frames_ + 1, cells_}, DType::f64);
  slope_ = Tensor::empty(u_.shape(), DType::f64);
  const Tensor storage = Tensor::empty(u_.shape(), DType::f64);
  weighed_ = Tensor::empty({frames_, cells_, count}, DType::f64);
  kernels::expert_states(experts(), initial_.data<double>(), w_there_.data<double>(), u_.data<double>());
  experts_->residual().scheme().pde().device_storage(u_.count(), u_.data<double>(), storage.data<double>(),
                                                     slope_.data<double>(), {});
  kernels::linear_residual(experts_->residual().linear(), count, u_.data<double>(), storage.data<double>(),
                           weighed_.data<double>());
  weigh(weighed_, false);
}

std::vector<double> DeviceSolves::systems() const {
  const kernels::LinearExperts e = experts();
  const Tensor work = Tensor::empty({kernels::expert_work(e)}, DType::f64);
  const Tensor out = Tensor::empty({e.count, basis_ + 1, basis_ + 1}, DType::f64);
  kernels::expert_systems(e, experts_->residual().march(false), slope_.data<double>(),
                          weighed_.data<double>(), work.data<double>(), out.data<double>());
  return out.to_vector();
}

std::vector<double> DeviceSolves::starts(const std::vector<StorageProblem>& problems) {
  const SolverOptions& options = experts_->options();
  std::vector<double> w(all_.size() * basis_, options.start == "ones" ? 1.0 : 0.0);
  if (options.start != "linear") return w;
  const std::int64_t samples = initial_.extent(0);
  std::vector<double> targets(frames_ * cells_ * samples);
  for (std::int64_t s = 0; s < samples; ++s) {
    const std::vector<double> target = problems[s].linear_target(Weighting::dual);
    for (size_t p = 0; p < target.size(); ++p) targets[p * samples + s] = target[p];
  }
  make_list(all_);
  at_w_.clear();
  const kernels::LinearExperts e = experts();
  const Tensor there = on_device(targets), out = Tensor::empty({e.count, basis_ + 1, basis_ + 1}, DType::f64);
  kernels::expert_starts(e, samples, there.data<double>(), out.data<double>());
  const std::vector<double> augmented = out.to_vector();
  const size_t size = static_cast<size_t>(basis_ + 1) * (basis_ + 1);
  for (size_t k = 0; k < all_.size(); ++k)
    solve_normal(std::span(augmented).subspan(k * size, size), basis_, 0, std::max(options.damping, 1e-14),
                 std::span(w).subspan(k * basis_, basis_));
  return w;
}

bool DeviceSolves::solve(const std::vector<StorageProblem>& problems) {
  using Question = LeastSquaresIteration::Question;
  const std::unique_ptr<LeastSquaresSolver> solver = experts_->options().make();
  w_ = starts(problems);
  std::vector<std::unique_ptr<LeastSquaresIteration>> solves;
  for (const int k : all_)
    solves.push_back(
        solver->begin(std::span(w_).subspan(k * basis_, basis_), experts_->options().least_squares()));
  const size_t size = static_cast<size_t>(basis_ + 1) * (basis_ + 1);
  // Round by round all questions of one kind are answered.
  while (true) {
    List ask;
    std::vector<double> points;
    const auto collect = [&](Question question) {
      for (const int k : all_) {
        if (solves[k]->question() != question) continue;
        ask.push_back(k);
        points.insert(points.end(), solves[k]->point().begin(), solves[k]->point().end());
      }
      return !ask.empty();
    };
    if (collect(Question::system)) {
      evaluate(ask, points);
      const std::vector<double> all = systems();
      if (!all_finite(all)) return false;
      for (size_t i = 0; i < ask.size(); ++i)
        solves[ask[i]]->take(normal_system(std::span(all).subspan(i * size, size), basis_));
    } else if (collect(Question::objective)) {
      evaluate(ask, points);
      const Tensor out = Tensor::empty({static_cast<std::int64_t>(ask.size())}, DType::f64);
      kernels::expert_objectives(experts(), weighed_.data<double>(), out.data<double>());
      const std::vector<double> all = out.to_vector();
      if (!all_finite(all)) return false;
      for (size_t i = 0; i < ask.size(); ++i) solves[ask[i]]->take(all[i]);
    } else {
      break;
    }
  }
  for (const int k : all_) {
    reports_.push_back(solves[k]->report());
    std::copy(solves[k]->solution().begin(), solves[k]->solution().end(), w_.begin() + k * basis_);
  }
  return std::none_of(reports_.begin(), reports_.end(),
                      [](const SolveReport& r) { return r.status == SolveStatus::not_finite; });
}

Tensor DeviceSolves::solution() {
  evaluate(all_, w_);
  const Tensor out = Tensor::empty({initial_.extent(0), frames_, cells_}, DType::f64);
  kernels::expert_solution(experts(), u_.data<double>(), out.data<double>());
  return out;
}

Tensor DeviceSolves::pull_back(const Tensor& u_bar) {
  const NoGrad off;
  evaluate(all_, w_);
  const kernels::LinearExperts e = experts();
  const kernels::LinearScheme& linear = experts_->residual().linear();
  const auto empty = [](const Shape& shape) { return Tensor::empty(shape, DType::f64); };
  const Tensor curvature = empty(u_.shape()), storage = empty(u_.shape());
  experts_->residual().scheme().pde().device_storage(u_.count(), u_.data<double>(), storage.data<double>(),
                                                     slope_.data<double>(), curvature.data<double>());

  // Direct part u = B w at fixed w, and the gradient with respect to w.
  const Tensor out = empty(fields_.shape()), by_w = empty({e.count, basis_});
  kernels::expert_direct_gradients(e, w_there_.data<double>(), u_bar.data<double>(), out.data<double>(),
                                   by_w.data<double>());

  // p = Q^T S^T S Q r, and H lambda = w_bar.
  const Tensor p = empty(weighed_.shape()), hessians = empty({e.count, basis_, basis_});
  kernels::expert_rows(e, weighed_.data<double>(), p.data<double>());
  weigh(p, true);
  kernels::expert_curvatures(e, curvature.data<double>(), p.data<double>(), hessians.data<double>());
  const std::vector<double> augmented = systems(), second = hessians.to_vector(), w_bar = by_w.to_vector();
  const SolverOptions& options = experts_->options();
  const size_t block = static_cast<size_t>(basis_) * basis_,
               size = static_cast<size_t>(basis_ + 1) * (basis_ + 1);
  std::vector<double> lambda(w_.size());
  for (const int k : all_)
    note(solve_adjoint(
             normal_system(std::span(augmented).subspan(k * size, size), basis_),
             [&](std::span<double> hessian) {
               for (size_t i = 0; i < block; ++i) hessian[i] += second[k * block + i];
             },
             std::span(w_bar).subspan(k * basis_, basis_), std::span(lambda).subspan(k * basis_, basis_),
             options.adjoint_matrix(), options.adjoint_damping),
         reports_[k]);

  // As StorageExpert::stationarity_gradient().
  const Tensor lambda_there = on_device(lambda), v = empty(u_.shape()), along = empty(weighed_.shape()),
               masked = empty(weighed_.shape());
  kernels::expert_states(e, {}, lambda_there.data<double>(), v.data<double>());
  kernels::expert_directions(e, slope_.data<double>(), v.data<double>(), along.data<double>());
  weigh(along, false);
  kernels::expert_rows(e, along.data<double>(), masked.data<double>());
  weigh(masked, true);
  const Tensor by_solution = empty({e.count, frames_, cells_}), by_direction = empty(by_solution.shape());
  kernels::linear_residual_transposed(linear, e.count, slope_.data<double>(), masked.data<double>(),
                                      by_solution.data<double>());
  kernels::linear_residual_transposed(linear, e.count, slope_.data<double>(), p.data<double>(),
                                      by_direction.data<double>());
  kernels::expert_second(e, curvature.data<double>(), p.data<double>(), v.data<double>(),
                         by_solution.data<double>());
  kernels::expert_implicit_gradients(e, w_there_.data<double>(), lambda_there.data<double>(),
                                     by_solution.data<double>(), by_direction.data<double>(),
                                     out.data<double>());
  return out;
}

std::vector<SolveReport> DeviceSolves::reports(std::int64_t sample) const {
  const auto first = reports_.begin() + sample * experts_->tables().experts;
  return {first, first + experts_->tables().experts};
}

std::vector<double> DeviceSolves::coefficients(std::int64_t sample) const {
  const std::int64_t count = static_cast<std::int64_t>(experts_->tables().experts) * basis_;
  return {w_.begin() + sample * count, w_.begin() + (sample + 1) * count};
}

}  // namespace rankine
