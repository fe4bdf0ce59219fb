#include "solvers/least_squares.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.hpp"
#include "kernels/gram.hpp"
#include "kernels/lapack.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine {
namespace {

using Vector = std::vector<double>;

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;  // in the order and with the rounding of kernels::augmented_gram()
  for (size_t i = 0; i < a.size(); ++i) sum = kernels::multiply_add(a[i], b[i], sum);
  return sum;
}
double norm(std::span<const double> a) { return std::sqrt(dot(a, a)); }
bool all_finite(std::span<const double> a) {
  return std::all_of(a.begin(), a.end(), [](double x) { return std::isfinite(x); });
}

/// Combines the parts [begin, end) in the fixed tree that splits at the largest power of two below the count.
template <class Combine>
Vector combine_in_tree(const Vector& parts, int block, int begin, int end, const Combine& combine) {
  if (end - begin == 1) return Vector(parts.begin() + begin * block, parts.begin() + (begin + 1) * block);
  int half = 1;
  while (2 * half < end - begin) half *= 2;
  return combine(combine_in_tree(parts, block, begin, begin + half, combine),
                 combine_in_tree(parts, block, begin + half, end, combine));
}

Vector add(Vector a, const Vector& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

/// Triangles of [J rho] stacked and factored again.
struct StackTriangles {
  int n;
  Vector operator()(const Vector& a, const Vector& b) const {
    Vector stacked(a);
    stacked.insert(stacked.end(), b.begin(), b.end());
    Vector triangle(static_cast<size_t>(n) * n);
    lapack::qr_triangle(stacked, 2 * n, n, triangle);
    return triangle;
  }
};

/// Reusable row storage: one solve evaluates the same shapes many times.
struct Rows {
  Vector rho, jacobian;
  explicit Rows(const LeastSquaresProblem& problem)
      : rho(problem.rows()), jacobian(problem.rows() * problem.unknowns()) {}
};

LinearisedSystem reduce_with(LeastSquaresProblem& problem, std::span<const double> w, Reduction reduction,
                             Rows& rows) {
  const int n = problem.unknowns(), augmented = n + 1, block = augmented * augmented;
  problem.linearise(w, rows.rho, rows.jacobian);

  const std::vector<long> parts = problem.parts();
  Vector local;
  local.reserve(parts.size() * block);
  long first = 0;
  Vector reduced(block);
  for (long count : parts) {
    if (reduction == Reduction::qr) {
      lapack::qr_triangle(std::span<const double>(rows.jacobian).subspan(first * n, count * n),
                          std::span<const double>(rows.rho).subspan(first, count), n, reduced);
    } else {
      kernels::augmented_gram(std::span(rows.jacobian).subspan(first * n, count * n),
                              std::span(rows.rho).subspan(first, count), n, reduced);
    }
    local.insert(local.end(), reduced.begin(), reduced.end());
    first += count;
  }
  const Vector all = problem.gather_parts(std::move(local), block);
  const int count = static_cast<int>(all.size() / block);

  LinearisedSystem system;
  system.n = n;
  system.gradient.assign(n, 0.0);
  system.gram.assign(static_cast<size_t>(n) * n, 0.0);
  if (reduction == Reduction::qr) {
    const Vector t = combine_in_tree(all, block, 0, count, StackTriangles{augmented});
    system.triangle.assign(static_cast<size_t>(n) * n, 0.0);
    system.projected.resize(n);
    double squares = t[n * augmented + n] * t[n * augmented + n];
    for (int i = 0; i < n; ++i) {
      for (int j = i; j < n; ++j) system.triangle[i * n + j] = t[i * augmented + j];
      system.projected[i] = t[i * augmented + n];
      squares += system.projected[i] * system.projected[i];
    }
    system.objective = squares / 2;
    for (int k = 0; k < n; ++k)
      for (int i = k; i < n; ++i) {
        system.gradient[i] += system.triangle[k * n + i] * system.projected[k];
        for (int j = k; j < n; ++j)
          system.gram[i * n + j] += system.triangle[k * n + i] * system.triangle[k * n + j];
      }
  } else {
    return normal_system(combine_in_tree(all, block, 0, count, add), n);
  }
  return system;
}

double objective_with(LeastSquaresProblem& problem, std::span<const double> w, Rows& rows) {
  problem.residual(w, rows.rho);
  Vector local;
  long first = 0;
  for (long count : problem.parts()) {
    const auto part = std::span(rows.rho).subspan(first, count);
    local.push_back(dot(part, part));
    first += count;
  }
  const Vector all = problem.gather_parts(std::move(local), 1);
  return combine_in_tree(all, 1, 0, static_cast<int>(all.size()), add)[0] / 2;
}

/// d of (J^T J + shift scale^2) d = -g, by QR of [R; sqrt(shift) scale] where a triangle is there, else by
/// Cholesky of the scaled Gram matrix. False where the matrix is singular.
bool damped_step(const LinearisedSystem& system, double shift, std::span<const double> scale,
                 std::span<double> d) {
  const int n = system.n;
  if (!system.triangle.empty()) {
    Vector rows(static_cast<size_t>(2 * n) * n, 0.0), rhs(2 * n, 0.0);
    std::copy(system.triangle.begin(), system.triangle.end(), rows.begin());
    for (int i = 0; i < n; ++i) {
      rows[(n + i) * n + i] = std::sqrt(shift) * scale[i];
      rhs[i] = -system.projected[i];
    }
    if (!all_finite(rows) || !all_finite(rhs)) return false;
    const int rank = lapack::least_squares(rows, 2 * n, n, rhs, std::numeric_limits<double>::epsilon());
    std::copy_n(rhs.begin(), n, d.begin());
    return rank > 0;
  }
  Vector matrix(system.gram);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) matrix[i * n + j] /= scale[i] * scale[j];
    matrix[i * n + i] += shift;
    d[i] = -system.gradient[i] / scale[i];
  }
  if (!lapack::solve_spd(matrix, n, d)) return false;
  for (int i = 0; i < n; ++i) d[i] /= scale[i];
  return true;
}

Vector jacobi_scale(const LinearisedSystem& system) {
  Vector scale(system.n);
  for (int i = 0; i < system.n; ++i) {
    const double diagonal = system.gram[i * system.n + i];
    scale[i] = diagonal > 0 ? std::sqrt(diagonal) : 1.0;
  }
  return scale;
}

/// Change of 1/2 |rho|^2 that the model 1/2 |rho + J d|^2 promises: g.d + 1/2 d.Gd (negative for a descent
/// step).
double predicted_change(const LinearisedSystem& system, std::span<const double> d) {
  double change = dot(system.gradient, d);
  for (int i = 0; i < system.n; ++i)
    change += 0.5 * d[i] * dot(std::span<const double>(&system.gram[i * system.n], system.n), d);
  return change;
}

/// No step can lower the objective by more than its own rounding: stationary at this precision.
bool below_rounding(double predicted, double objective) {
  return std::abs(predicted) <= 8 * std::numeric_limits<double>::epsilon() * objective;
}

SolveReport not_finite(SolveReport report, const char* what) {
  report.status = SolveStatus::not_finite;
  report.reason = std::string(what) + " is not finite";
  return report;
}

SolveReport step_limit(SolveReport report, const LeastSquaresOptions& options) {
  report.status = SolveStatus::step_limit;
  report.reason = "the budget of " + std::to_string(options.max_steps) + " steps was used up";
  return report;
}

SolveReport stalled(SolveReport report, const char* damping) {
  report.status = SolveStatus::stalled;
  report.reason = std::string("no damping up to ") + damping + " lowers the objective";
  return report;
}

class GaussNewtonIteration final : public LeastSquaresIteration {
 public:
  GaussNewtonIteration(std::span<const double> w, const LeastSquaresOptions& options)
      : LeastSquaresIteration(w), options_(options), damping_(options.damping), step_(w.size()) {}

  void take(LinearisedSystem system) override {
    const double gradient_norm = norm(system.gradient);
    if (settles_) {
      settles_ = false;
      if (!(gradient_norm < report_.gradient_norm)) return finish();
      accept();
    } else {
      if (!std::isfinite(system.objective) || !std::isfinite(gradient_norm) || !all_finite(system.gram)) {
        report_.objective = system.objective;
        report_.gradient_norm = gradient_norm;
        return finish(not_finite(report_, "the linearised system"));
      }
      if (first_gradient_ < 0) first_gradient_ = gradient_norm;
    }
    system_ = std::move(system);
    report_.objective = system_.objective;
    report_.gradient_norm = gradient_norm;
    if (gradient_norm <= options_.atol + options_.rtol * first_gradient_) return finish();
    step();
  }

  void take(double trial_objective) override {
    if (trial_objective < report_.objective) {
      accept();
      report_.objective = trial_objective;
      damping_ /= 10;
      // Where the budget ends the gradient at the new point is not worth another linearisation: whoever
      // differentiates there evaluates it in solve_adjoint().
      if (report_.iterations == options_.max_steps) return finish(step_limit(report_, options_));
      return ask(Question::system);
    }
    damping_ = 30 * std::max(damping_, 1e-6);
    if (damping_ > 1e12) return finish(stalled(report_, "1e12"));
    step();
  }

 private:
  void step() {
    if (report_.iterations == options_.max_steps) return finish(step_limit(report_, options_));
    ++report_.iterations;
    const bool solved = damped_step(system_, damping_, jacobi_scale(system_), step_);
    move(step_);
    if (!solved) return take(std::numeric_limits<double>::infinity());
    // Below its rounding the objective can no longer tell better from worse; the gradient can.
    settles_ = below_rounding(predicted_change(system_, step_), report_.objective);
    ask(settles_ ? Question::system : Question::objective);
  }

  LeastSquaresOptions options_;
  double damping_, first_gradient_ = -1;
  bool settles_ = false;
  LinearisedSystem system_;
  Vector step_;
};

class LevenbergMarquardtIteration final : public LeastSquaresIteration {
 public:
  LevenbergMarquardtIteration(std::span<const double> w, const LeastSquaresOptions& options)
      : LeastSquaresIteration(w), options_(options), lambda_(options.damping), step_(w.size()) {}

  void take(LinearisedSystem system) override {
    system_ = std::move(system);
    report_.objective = system_.objective;
    report_.gradient_norm = norm(system_.gradient);
    if (!std::isfinite(system_.objective) || !std::isfinite(report_.gradient_norm) ||
        !all_finite(system_.gram))
      return finish(not_finite(report_, "the linearised system"));
    step();
  }

  void take(double trial_objective) override {
    const double predicted = predicted_change(system_, step_);
    const double change = trial_objective - report_.objective;
    const double ratio = predicted < 0 ? change / predicted : -1;
    if (std::isfinite(trial_objective) && ratio >= 0.01) {
      bool settled = std::abs(change) <= options_.atol + options_.rtol * std::abs(report_.objective);
      for (size_t i = 0; i < step_.size(); ++i)
        settled = settled && std::abs(step_[i]) <= options_.atol + options_.rtol * std::abs(solution()[i]);
      accept();
      report_.objective = trial_objective;
      if (settled) return finish();
      if (ratio > 0.99) lambda_ /= 3.5;
      return ask(Question::system);
    }
    if (below_rounding(predicted, report_.objective)) return finish();
    lambda_ *= 4;
    if (lambda_ > 1e20) return finish(stalled(report_, "1e20"));
    step();
  }

 private:
  void step() {
    if (report_.iterations == options_.max_steps) return finish(step_limit(report_, options_));
    ++report_.iterations;
    if (!damped_step(system_, lambda_, Vector(step_.size(), 1.0), step_))
      return finish(not_finite(report_, "the damped step"));
    move(step_);
    ask(Question::objective);
  }

  LeastSquaresOptions options_;
  double lambda_;
  LinearisedSystem system_;
  Vector step_;
};

template <class Iteration>
class IteratingSolver final : public LeastSquaresSolver {
 public:
  SolveReport solve(LeastSquaresProblem& problem, std::span<double> w,
                    const LeastSquaresOptions& options) override {
    Rows rows(problem);
    Iteration iteration(w, options);
    while (iteration.question() != Question::none) {
      if (iteration.question() == Question::system)
        iteration.take(reduce_with(problem, iteration.point(), options.reduction, rows));
      else
        iteration.take(objective_with(problem, iteration.point(), rows));
    }
    std::copy(iteration.solution().begin(), iteration.solution().end(), w.begin());
    return iteration.report();
  }
  std::unique_ptr<LeastSquaresIteration> begin(std::span<const double> w,
                                               const LeastSquaresOptions& options) const override {
    return std::make_unique<Iteration>(w, options);
  }

 private:
  using Question = LeastSquaresIteration::Question;
};

}  // namespace

const char* to_string(SolveStatus status) {
  switch (status) {
    case SolveStatus::converged:
      return "converged";
    case SolveStatus::step_limit:
      return "step_limit";
    case SolveStatus::stalled:
      return "stalled";
    case SolveStatus::not_finite:
      return "not_finite";
    case SolveStatus::not_a_minimum:
      return "not_a_minimum";
  }
  return "unknown";
}

std::vector<double> stack_triangles(const std::vector<double>& triangles, int n) {
  return combine_in_tree(triangles, n * n, 0, static_cast<int>(triangles.size()) / (n * n),
                         StackTriangles{n});
}

LinearisedSystem normal_system(std::span<const double> augmented, int n) {
  const int m = n + 1;
  LinearisedSystem system;
  system.n = n;
  system.gradient.resize(n);
  system.gram.resize(static_cast<size_t>(n) * n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) system.gram[i * n + j] = augmented[i * m + j];
    system.gradient[i] = augmented[i * m + n];
  }
  system.objective = augmented[n * m + n] / 2;
  return system;
}

void solve_normal(std::span<const double> augmented, int n, double ridge, double damping,
                  std::span<double> w) {
  const int m = n + 1;
  Vector matrix(static_cast<size_t>(n) * n), scale(n);
  for (int i = 0; i < n; ++i) {
    const double diagonal = augmented[i * m + i] + ridge * ridge;
    scale[i] = diagonal > 0 ? std::sqrt(diagonal) : 1.0;
  }
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) matrix[i * n + j] = augmented[i * m + j] / (scale[i] * scale[j]);
    matrix[i * n + i] += damping + ridge * ridge / (scale[i] * scale[i]);
    w[i] = augmented[i * m + n] / scale[i];
  }
  if (!lapack::solve_spd(matrix, n, w)) {
    std::fill(w.begin(), w.end(), 1.0);
    return;
  }
  for (int i = 0; i < n; ++i) w[i] /= scale[i];
}

LinearisedSystem reduce(LeastSquaresProblem& problem, std::span<const double> w, Reduction reduction) {
  Rows rows(problem);
  return reduce_with(problem, w, reduction, rows);
}

double objective(LeastSquaresProblem& problem, std::span<const double> w) {
  Rows rows(problem);
  return objective_with(problem, w, rows);
}

std::unique_ptr<LeastSquaresSolver> make_gauss_newton() {
  return std::make_unique<IteratingSolver<GaussNewtonIteration>>();
}
std::unique_ptr<LeastSquaresSolver> make_levenberg_marquardt() {
  return std::make_unique<IteratingSolver<LevenbergMarquardtIteration>>();
}

void note(const AdjointReport& adjoint, SolveReport& report) {
  report.gradient_norm = adjoint.gradient_norm;
  if (!adjoint.finite) {
    report.status = SolveStatus::not_finite;
    report.reason = "the adjoint system is singular or not finite";
  } else if (!adjoint.positive_definite) {
    report.status = SolveStatus::not_a_minimum;
    report.reason = "the Hessian at the solution is not positive definite";
  }
}

AdjointReport solve_adjoint(LeastSquaresProblem& problem, std::span<const double> w,
                            std::span<const double> w_bar, std::span<double> lambda, AdjointMatrix matrix,
                            double damping) {
  const LinearisedSystem system = reduce(problem, w, Reduction::normal);
  return solve_adjoint(
      system, [&](std::span<double> hessian) { problem.add_curvature(hessian); }, w_bar, lambda, matrix,
      damping);
}

AdjointReport solve_adjoint(const LinearisedSystem& system,
                            const std::function<void(std::span<double>)>& add_curvature,
                            std::span<const double> w_bar, std::span<double> lambda, AdjointMatrix matrix,
                            double damping) {
  const int n = system.n;
  AdjointReport report;
  report.gradient_norm = norm(system.gradient);
  const Vector scale = jacobi_scale(system);
  const auto scaled = [&](const Vector& h) {
    Vector out(h);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) out[i * n + j] /= scale[i] * scale[j];
      out[i * n + i] += damping;
    }
    return out;
  };
  const auto solve = [&](const Vector& h) {
    Vector a = scaled(h);
    for (int i = 0; i < n; ++i) lambda[i] = w_bar[i] / scale[i];
    const int negative = lapack::solve_symmetric(a, n, lambda);
    for (int i = 0; i < n; ++i) lambda[i] /= scale[i];
    return negative;
  };
  Vector hessian(system.gram);
  if (matrix != AdjointMatrix::gauss_newton) add_curvature(hessian);
  const int negative = solve(hessian);
  report.positive_definite = negative == 0;
  if (negative != 0 && matrix == AdjointMatrix::full_if_spd) solve(system.gram);
  report.finite = negative >= 0 && all_finite(lambda);
  if (!report.finite) std::fill(lambda.begin(), lambda.end(), 0.0);
  return report;
}

}  // namespace rankine
