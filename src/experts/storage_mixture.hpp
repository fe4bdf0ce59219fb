// Hard constraint on one sample: K experts solve for the coefficients of the network's basis fields, each on
// its box, and u = b . w_k there. With `assembled` coupling the stencils act on the assembled u and all
// experts are one system.
#pragma once

#include <span>
#include <vector>

#include "src/experts/expert_options.hpp"
#include "src/experts/storage_problem.hpp"

namespace rankine {

enum class Coupling { none, assembled };

struct MixtureSolution {
  std::vector<double> coefficients;     ///< [expert][basis]
  std::vector<double> u;                ///< [frames + 1][cells], initial state included
  std::vector<SolveReport> reports;     ///< one a solve: experts of them, or one if coupled
  std::vector<std::vector<long>> rows;  ///< the residual rows of each solve
  ObservedRows observations = {};       ///< those that the solves fitted; they must outlive the solution
};

class StorageMixture {
 public:
  /// `experts`: boxes of the grid of frames x cells, that cover it without overlap.
  StorageMixture(int frames, const Grid& grid, int unknowns, std::vector<Box> experts, int basis,
                 Coupling coupling, Weighting rows, SolverOptions options);

  std::span<const Box> boxes() const { return boxes_; }
  int experts() const { return static_cast<int>(boxes_.size()); }
  /// Basis fields of each unknown.
  int basis() const { return basis_; }
  /// Coefficients of a sample: every expert has its own for every unknown.
  int coefficients() const { return experts() * unknowns_ * basis_; }
  /// Number of least-squares problems a sample poses.
  int solves() const { return coupling_ == Coupling::assembled ? 1 : experts(); }
  /// All residual rows of solve `s`, of which a deck may sample some.
  std::vector<long> all_rows(int s) const;

  /// `fields`: [frames][cell][unknown][basis]; `rows`: the rows of each solve. An expert fits those
  /// `observations` that lie in its box. A solve that fails says so in the solution's reports; it throws
  /// nothing.
  MixtureSolution solve(const StorageProblem& problem, std::span<const double> fields,
                        std::vector<std::vector<long>> rows, ObservedRows observations = {}) const;

  /// Overwrites `fields_bar` [frames][cell][unknown][basis] with the gradient of <u_bar, u> (u_bar without
  /// the initial frame) through the coefficients by the implicit function theorem. Indefinite Hessians are
  /// noted in the solution's reports.
  /// `parameters_bar` [learned], where not empty, is overwritten with the gradient by the learned parameters.
  void pull_back(const StorageProblem& problem, std::span<const double> fields, MixtureSolution& solution,
                 std::span<const double> u_bar, std::span<double> fields_bar,
                 std::span<double> parameters_bar = {}) const;

  /// Expert by expert and unknown by unknown the linear least-squares fit of `target`
  /// [frames][cell][unknown],
  ///   w = argmin |B w - y|^2 + ridge sum_c |b_c|^2 w_c^2,   u = B w,
  /// through normal equations scaled by the columns' norms. The rows of one expert see no other.
  MixtureSolution fit(const StorageProblem& problem, std::span<const double> fields,
                      std::span<const double> target, double ridge) const;
  /// The exact adjoint of fit() with `target` held fixed.
  void pull_back_fit(std::span<const double> fields, std::span<const double> target,
                     const MixtureSolution& solution, double ridge, std::span<const double> u_bar,
                     std::span<double> fields_bar) const;

 private:
  int groups() const { return coupling_ == Coupling::assembled ? experts() * unknowns_ : unknowns_; }
  /// Which observations are rows of solve `s`.
  std::vector<int> observed(int s, const ObservedRows& observations) const;
  /// Columns of a solve.
  int columns() const { return groups() * basis_; }
  /// First coefficient of the column group that field entry p belongs to: in the whole set, and in its solve.
  int first_coefficient(long p) const {
    return (expert_of_[p] * unknowns_ + static_cast<int>(p % unknowns_)) * basis_;
  }
  int first_column(long p) const {
    return coupling_ == Coupling::assembled ? first_coefficient(p) : static_cast<int>(p % unknowns_) * basis_;
  }
  /// The columns of a solve: the fields themselves, or cut to each expert's box and each unknown.
  std::vector<double> expanded(std::span<const double> fields) const;
  std::vector<double> assemble(std::span<const double> initial, std::span<const double> fields,
                               std::span<const double> coefficients) const;
  /// Normal equations of one fit: Gram matrix with ridge and right-hand side per column group; [group][...].
  struct Fits;
  Fits normal_equations(std::span<const double> fields, std::span<const double> target, double ridge) const;

  Grid grid_;
  int unknowns_;
  std::vector<Box> boxes_;
  std::vector<int> expert_of_;                // [frames][cell][unknown]
  std::vector<std::vector<long>> points_of_;  // [expert][unknown]: those of expert_of_
  int basis_;
  Coupling coupling_;
  Weighting weighting_;
  SolverOptions options_;
};

}  // namespace rankine
