// Nonlinear least squares min_w 1/2 |rho(w)|^2 with few unknowns and many rows, as the experts pose them, and
// the linear system that differentiates its solution. Solver, adjoint and outcome are three things.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rankine {

/// How a solve ended. Every value but `not_finite` leaves a usable iterate; what to do about it is a deck
/// key.
enum class SolveStatus {
  converged,      ///< the stopping rule was met
  step_limit,     ///< the step budget was used up: ordinary where the deck asks for a fixed number of steps
  stalled,        ///< no damping up to the limit lowered the objective
  not_finite,     ///< the objective or a derivative is NaN or infinite
  not_a_minimum,  ///< converged or stopped, but the Hessian there has a non-positive eigenvalue
};
inline constexpr int solve_status_count = 5;
const char* to_string(SolveStatus status);

/// The outcome of one solve.
struct SolveReport {
  SolveStatus status = SolveStatus::converged;
  int iterations = 0;    ///< steps tried, rejected ones included
  double objective = 0;  ///< 1/2 |rho|^2 at the solution
  double gradient_norm =
      0;               ///< |J^T rho|_2 at the point where it was last evaluated (the solution, if converged)
  std::string reason;  ///< a sentence for people; empty if converged
};

/// min_w 1/2 |rho(w)|^2. Rows may be spread over several processes: then `rows()` counts the local ones,
/// residual() and jacobian() fill those, and `gather_parts` brings the partial systems of all parts together.
class LeastSquaresProblem {
 public:
  virtual ~LeastSquaresProblem() = default;
  virtual int unknowns() const = 0;
  /// Local rows.
  virtual long rows() const = 0;
  /// Overwrites `rho` (rows).
  virtual void residual(std::span<const double> w, std::span<double> rho) = 0;
  /// Overwrites `rho` (rows) and `jacobian` (rows x unknowns, row-major).
  virtual void linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) = 0;
  /// Adds sum_i rho_i Hess(rho_i) over all rows of all parts to `hessian` (unknowns x unknowns), at the point
  /// of the latest linearise().
  virtual void add_curvature(std::span<double> hessian) = 0;

  /// Row counts of the local parts (tiles), in order; their sum is rows(). Parts are reduced one by one and
  /// combined in tree order, so the result does not depend on which process holds which part.
  virtual std::vector<long> parts() const { return {rows()}; }
  /// Returns the blocks of all parts of all processes in part order, given the local ones (each `block`
  /// numbers long).
  virtual std::vector<double> gather_parts(std::vector<double> local, int block) {
    (void)block;
    return local;
  }
};

/// The problem linearised at a point, reduced to unknowns x unknowns.
struct LinearisedSystem {
  int n = 0;
  double objective = 0;           ///< 1/2 |rho|^2
  std::vector<double> gradient;   ///< J^T rho (n)
  std::vector<double> gram;       ///< J^T J (n x n)
  std::vector<double> triangle;   ///< R of J = Q R (n x n, upper, row-major); empty when reduced by `normal`
  std::vector<double> projected;  ///< Q^T rho (n); empty when reduced by `normal`
};

/// How the rows are reduced: by a QR factorisation (a ridge of 1e-4 stays 1e-4) or to the Gram matrix J^T J
/// (faster; the ridge becomes 1e-8).
enum class Reduction { qr, normal };

/// The triangle of all rows whose blocks' triangles ([block][n][n], row-major) are given, combined in tree
/// order.
std::vector<double> stack_triangles(const std::vector<double>& triangles, int n);

/// The system of [J rho]^T [J rho], (n + 1) x (n + 1), without triangle.
LinearisedSystem normal_system(std::span<const double> augmented, int n);
/// w = argmin 1/2 |J w - rho|^2 + 1/2 ridge^2 |w|^2 of such a matrix, by Jacobi-scaled normal equations with
/// `damping` relative to their diagonal; ones where they are singular.
void solve_normal(std::span<const double> augmented, int n, double ridge, double damping,
                  std::span<double> w);

/// Linearises at `w` and reduces part by part, in tree order.
LinearisedSystem reduce(LeastSquaresProblem& problem, std::span<const double> w, Reduction reduction);
/// 1/2 |rho(w)|^2, parts summed in tree order.
double objective(LeastSquaresProblem& problem, std::span<const double> w);

struct LeastSquaresOptions {
  int max_steps = 100;
  double rtol = 1e-4;    ///< relative stopping tolerance (meaning: see the solver)
  double atol = 1e-4;    ///< absolute stopping tolerance
  double damping = 1.0;  ///< first Levenberg-Marquardt parameter
  Reduction reduction = Reduction::qr;
};

/// One solve as the questions that it asks of its problem, so that many problems can be answered at once.
class LeastSquaresIteration {
 public:
  enum class Question {
    system,     ///< the problem linearised at point()
    objective,  ///< 1/2 |rho|^2 at point()
    none,       ///< the solve has ended
  };
  virtual ~LeastSquaresIteration() = default;
  Question question() const { return question_; }
  std::span<const double> point() const { return point_; }
  /// The answers. Both lead to the next question.
  virtual void take(LinearisedSystem system) = 0;
  virtual void take(double objective) = 0;
  /// The best point so far, and where there are no more questions the outcome.
  std::span<const double> solution() const { return w_; }
  const SolveReport& report() const { return report_; }

 protected:
  /// The first question is for the system at `start`.
  explicit LeastSquaresIteration(std::span<const double> start)
      : w_(start.begin(), start.end()), point_(w_) {}
  void ask(Question question) { question_ = question; }
  void finish() { question_ = Question::none; }
  void finish(SolveReport report) {
    report_ = std::move(report);
    finish();
  }
  /// point() becomes the solution so far and `step`.
  void move(std::span<const double> step) {
    for (size_t i = 0; i < w_.size(); ++i) point_[i] = w_[i] + step[i];
  }
  void accept() { w_ = point_; }
  SolveReport report_;

 private:
  Question question_ = Question::system;
  std::vector<double> w_, point_;
};

/// One algorithm. Stateless: a solver may be shared.
class LeastSquaresSolver {
 public:
  virtual ~LeastSquaresSolver() = default;
  /// Overwrites `w` (unknowns); its value on entry is the start. Never throws for a failed solve: the report
  /// says so.
  virtual SolveReport solve(LeastSquaresProblem& problem, std::span<double> w,
                            const LeastSquaresOptions& options) = 0;
  /// The same solve question by question; null where the solver cannot be interrupted.
  virtual std::unique_ptr<LeastSquaresIteration> begin(std::span<const double> w,
                                                       const LeastSquaresOptions& options) const {
    (void)w;
    (void)options;
    return nullptr;
  }
};

/// Gauss-Newton on the Jacobi-scaled normal equations: (D^-1 J^T J D^-1 + mu I) D d = -D^-1 J^T rho. Only a
/// decrease is accepted; a rejected step sets mu <- 30 max(mu, 1e-6), an accepted one mu <- mu / 10. Stops
/// when |J^T rho| <= atol + rtol |J^T rho|_start, or when neither the objective nor, below its rounding, the
/// gradient falls.
std::unique_ptr<LeastSquaresSolver> make_gauss_newton();
/// Levenberg-Marquardt as in optimistix 0.0.x (the paper's solver): damping lambda I, the step accepted where
/// the ratio of true to predicted reduction is >= 0.01; lambda / 3.5 above 0.99, lambda * 4 on rejection;
/// stops when the changes of every w and of the objective are within atol + rtol * their size.
std::unique_ptr<LeastSquaresSolver> make_levenberg_marquardt();
/// TAO's bounded regularised Gauss-Newton (PETSc), options prefix `expert_`. Serial problems only.
std::unique_ptr<LeastSquaresSolver> make_tao_brgn();

/// The matrix of the adjoint: full Newton, Gauss-Newton, or full where it is positive definite and
/// Gauss-Newton else.
enum class AdjointMatrix { full, gauss_newton, full_if_spd };

struct AdjointReport {
  bool positive_definite = true;  ///< inertia of the full Hessian (of J^T J for `gauss_newton`)
  bool finite = true;
  double gradient_norm = 0;  ///< |J^T rho|_2 at the point: how far from stationary the solve stopped
};

/// What the adjoint says of a solve, into its report.
void note(const AdjointReport& adjoint, SolveReport& report);

/// Solves H lambda = w_bar at the point `w`, H = J^T J + sum_i rho_i Hess(rho_i) + damping diag(J^T J).
/// `lambda` is overwritten. Source: implicit function theorem on J^T rho = 0.
AdjointReport solve_adjoint(LeastSquaresProblem& problem, std::span<const double> w,
                            std::span<const double> w_bar, std::span<double> lambda, AdjointMatrix matrix,
                            double damping);
/// The same of a problem that is linearised already. `add_curvature` adds sum_i rho_i Hess(rho_i).
AdjointReport solve_adjoint(const LinearisedSystem& system,
                            const std::function<void(std::span<double>)>& add_curvature,
                            std::span<const double> w_bar, std::span<double> lambda, AdjointMatrix matrix,
                            double damping);

}  // namespace rankine
