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
};

class StorageMixture {
 public:
  /// `experts`: boxes that cover the grid without overlap. `problem` is kept by reference.
  StorageMixture(const StorageProblem& problem, std::vector<Box> experts, int basis, Coupling coupling,
                 Weighting rows, SolverOptions options);

  int experts() const { return static_cast<int>(boxes_.size()); }
  int basis() const { return basis_; }
  /// Number of least-squares problems a sample poses.
  int solves() const { return coupling_ == Coupling::assembled ? 1 : experts(); }
  /// All residual rows of solve `s`, of which a deck may sample some.
  std::vector<long> all_rows(int s) const;

  /// `fields`: [frames][cells][basis]; `rows`: the rows of each solve. Never throws for a failed solve.
  MixtureSolution solve(std::span<const double> initial, std::span<const double> fields,
                        std::vector<std::vector<long>> rows) const;

  /// Overwrites `fields_bar` [frames][cells][basis] with the gradient of <u_bar, u> (u_bar without the
  /// initial frame) through the coefficients by the implicit function theorem. Indefinite Hessians are noted
  /// in the solution's reports.
  void pull_back(std::span<const double> initial, std::span<const double> fields, MixtureSolution& solution,
                 std::span<const double> u_bar, std::span<double> fields_bar) const;

 private:
  int columns() const { return coupling_ == Coupling::assembled ? experts() * basis_ : basis_; }
  /// The columns of a solve: the fields, or in a coupled solve the fields cut to each expert's box.
  std::vector<double> expanded(std::span<const double> fields) const;
  std::vector<double> assemble(std::span<const double> initial, std::span<const double> fields,
                               std::span<const double> coefficients) const;

  const StorageProblem& problem_;
  std::vector<Box> boxes_;
  std::vector<int> expert_of_;  // [frames][cells]
  int basis_;
  Coupling coupling_;
  Weighting weighting_;
  SolverOptions options_;
};

}  // namespace rankine
