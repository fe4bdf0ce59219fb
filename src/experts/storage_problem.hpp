// The constraint of the default formulation: the conservative residual of a PDE on a space-time grid, weighed
// by the frozen march, and the least-squares problem that one expert solves in a basis of fields. One sample
// at a time, whole domain.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/conservative_residual.hpp"
#include "solvers/least_squares.hpp"
#include "solvers/linear_march.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// In which norm a residual is measured: |r|, |A^-1 r| with the spatial factor of the march alone, or |P^-1
/// r|, which measures the error itself.
enum class Weighting { plain, spatial, dual };

/// A box of frames [frame_begin, frame_end) (0 is the first frame after the initial state) and cells
/// [cell_begin, cell_end).
struct Box {
  int frame_begin, frame_end, cell_begin, cell_end;
};

/// The discretised PDE. Fields u are [frames + 1][cells] with the initial state in frame 0; residuals are
/// [frames][cells].
class StorageProblem {
 public:
  /// `times`: frames + 1 increasing times, the initial one included. The first `implicit_steps` steps are
  /// backward Euler, the others have implicit weight `theta` (1/2: trapezoid). `petsc_march`: solve P by
  /// PETSc's KSP, not the direct march.
  StorageProblem(const Pde& pde, int cells, std::vector<double> times, double theta, int implicit_steps,
                 bool petsc_march);

  int frames() const { return residual_.frames(); }
  int cells() const { return residual_.cells(); }
  long points() const { return residual_.points(); }
  const std::vector<double>& times() const { return times_; }
  const kernels::ConservativeResidual& residual() const { return residual_; }
  const LinearMarch& march() const { return *dual_; }

  kernels::StorageFields storage(std::span<const double> u) const;
  /// The frozen storage slope times u, with constant slope.
  kernels::StorageFields frozen_storage(std::span<const double> u) const;
  /// r(u), [frames][cells].
  std::vector<double> evaluate(std::span<const double> u) const;

  /// field <- Q field for the weighting's Q (identity, A^-1, P^-1), for columns [frames][cells][columns].
  void weigh(Weighting weighting, std::span<double> field, int columns) const;
  void weigh_transpose(Weighting weighting, std::span<double> field) const;

  /// |Q r(u)|_2; where `u_bar` is not empty it is overwritten with the gradient ([frames][cells]; the initial
  /// frame is data).
  double residual_norm(Weighting weighting, std::span<const double> u, std::span<double> u_bar) const;
  /// u <- u - P^-1 r(u), `steps` times: steps of an approximate Newton method with the frozen march.
  void correct(std::span<double> u, int steps) const;
  /// The exact discrete solution: Newton's method frame by frame from the initial state in frame 0 of `u`.
  /// Throws NumericalError where it does not converge.
  void solve_exactly(std::span<double> u) const;
  /// Solution of the frozen march for the initial state and the walls alone: where the linear start aims at.
  std::vector<double> frozen_solution(std::span<const double> initial) const;

 private:
  const Pde& pde_;
  std::vector<double> times_;
  kernels::ConservativeResidual residual_;
  std::unique_ptr<LinearMarch> spatial_, dual_;
};

/// rho(w) = [rows of Q r(sum_i w_i b_i); ridge w]: the problem of one expert.
class StorageExpert final : public LeastSquaresProblem {
 public:
  /// `basis`: [frames][cells][columns], kept by reference; `rows`: indices frame * cells + cell of the
  /// residual rows used.
  StorageExpert(const StorageProblem& problem, std::span<const double> initial, std::span<const double> basis,
                int columns, std::vector<long> rows, Weighting weighting, double ridge);

  int unknowns() const override { return columns_; }
  long rows() const override { return static_cast<long>(rows_.size()) + (ridge_ > 0 ? columns_ : 0); }
  void residual(std::span<const double> w, std::span<double> rho) override;
  void linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) override;
  void add_curvature(std::span<double> hessian) override;

  /// The solution of the linear problem with the storage frozen, Jacobi-scaled normal equations with relative
  /// damping.
  void linear_start(double damping, std::span<double> w) const;

  /// With v = sum_i lambda_i b_i, phi(b) = lambda . J^T rho at fixed w and lambda has the gradient
  ///   d phi / d b_i = w_i * by_solution + lambda_i * by_direction     (both [frames][cells], overwritten).
  void stationarity_gradient(std::span<const double> w, std::span<const double> lambda,
                             std::span<double> by_solution, std::span<double> by_direction);

 private:
  void set_point(std::span<const double> w);
  std::vector<double> combine(std::span<const double> w) const;
  /// Q^T S^T S Q r at the point.
  std::vector<double> pulled_back_residual() const;

  const StorageProblem& problem_;
  std::span<const double> basis_;
  int columns_;
  std::vector<long> rows_;
  Weighting weighting_;
  double ridge_;
  std::vector<double> initial_;
  std::vector<double> at_, u_, weighed_;  // the latest point, u and Q r there
  kernels::StorageFields storage_;
};

/// Rows of a box, in order.
std::vector<long> rows_of(const Box& box, int cells);

}  // namespace rankine
