#include "src/experts/storage_mixture.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"

namespace rankine {

StorageMixture::StorageMixture(const StorageProblem& problem, std::vector<Box> experts, int basis,
                               Coupling coupling, Weighting rows, SolverOptions options)
    : problem_(problem),
      boxes_(std::move(experts)),
      expert_of_(problem.points(), -1),
      basis_(basis),
      coupling_(coupling),
      weighting_(rows),
      options_(std::move(options)) {
  for (int k = 0; k < this->experts(); ++k)
    for (long row : rows_of(boxes_[k], problem.cells())) expert_of_[row] = k;
  RANKINE_ASSERT(std::none_of(expert_of_.begin(), expert_of_.end(), [](int k) { return k < 0; }),
                 "the experts do not cover the grid");
}

std::vector<long> StorageMixture::all_rows(int s) const {
  if (coupling_ == Coupling::none) return rows_of(boxes_[s], problem_.cells());
  std::vector<long> rows(problem_.points());
  std::iota(rows.begin(), rows.end(), 0L);
  return rows;
}

std::vector<double> StorageMixture::expanded(std::span<const double> fields) const {
  const int wide = columns();
  std::vector<double> out(problem_.points() * wide, 0.0);
  for (long p = 0; p < problem_.points(); ++p)
    std::copy_n(&fields[p * basis_], basis_, &out[p * wide + expert_of_[p] * basis_]);
  return out;
}

std::vector<double> StorageMixture::assemble(std::span<const double> initial, std::span<const double> fields,
                                             std::span<const double> coefficients) const {
  std::vector<double> u(initial.begin(), initial.end());
  u.resize(problem_.cells() + problem_.points());
  for (long p = 0; p < problem_.points(); ++p) {
    const double* w = &coefficients[expert_of_[p] * basis_];
    double sum = 0;
    for (int i = 0; i < basis_; ++i) sum += w[i] * fields[p * basis_ + i];
    u[problem_.cells() + p] = sum;
  }
  return u;
}

MixtureSolution StorageMixture::solve(std::span<const double> initial, std::span<const double> fields,
                                      std::vector<std::vector<long>> rows) const {
  const bool coupled = coupling_ == Coupling::assembled;
  const std::vector<double> wide = coupled ? expanded(fields) : std::vector<double>();
  const std::span<const double> basis = coupled ? std::span<const double>(wide) : fields;
  const std::unique_ptr<LeastSquaresSolver> solver = options_.make();

  MixtureSolution solution;
  solution.rows = std::move(rows);
  for (int s = 0; s < solves(); ++s) {
    StorageExpert expert(problem_, initial, basis, columns(), solution.rows[s], weighting_, options_.ridge);
    std::vector<double> w(columns(), options_.start == "ones" ? 1.0 : 0.0);
    if (options_.start == "linear") expert.linear_start(std::max(options_.damping, 1e-14), w);
    solution.reports.push_back(solver->solve(expert, w, options_.least_squares()));
    solution.coefficients.insert(solution.coefficients.end(), w.begin(), w.end());
  }
  solution.u = assemble(initial, fields, solution.coefficients);
  return solution;
}

void StorageMixture::pull_back(std::span<const double> initial, std::span<const double> fields,
                               MixtureSolution& solution, std::span<const double> u_bar,
                               std::span<double> fields_bar) const {
  const long points = problem_.points();
  const bool coupled = coupling_ == Coupling::assembled;
  const std::vector<double> wide = coupled ? expanded(fields) : std::vector<double>();
  const std::span<const double> basis = coupled ? std::span<const double>(wide) : fields;

  // Direct part u = b . w at fixed w, and the gradient with respect to w.
  std::vector<double> coefficients_bar(solution.coefficients.size(), 0.0);
  for (long p = 0; p < points; ++p) {
    const int at = expert_of_[p] * basis_;
    for (int i = 0; i < basis_; ++i) {
      fields_bar[p * basis_ + i] = solution.coefficients[at + i] * u_bar[p];
      coefficients_bar[at + i] += fields[p * basis_ + i] * u_bar[p];
    }
  }
  std::vector<double> by_solution(points), by_direction(points), lambda(columns());
  for (int s = 0; s < solves(); ++s) {
    const auto of_solve = [&](std::span<const double> all) {
      return all.subspan(static_cast<size_t>(s) * columns(), columns());
    };
    const std::span<const double> w = of_solve(solution.coefficients);
    StorageExpert expert(problem_, initial, basis, columns(), solution.rows[s], weighting_, options_.ridge);
    SolveReport& report = solution.reports[s];
    if (report.status == SolveStatus::not_finite) continue;
    const AdjointReport adjoint = solve_adjoint(expert, w, of_solve(coefficients_bar), lambda,
                                                options_.adjoint_matrix(), options_.adjoint_damping);
    report.gradient_norm = adjoint.gradient_norm;
    if (!adjoint.finite) {
      report.status = SolveStatus::not_finite;
      report.reason = "the adjoint system is singular or not finite";
    } else if (!adjoint.positive_definite) {
      report.status = SolveStatus::not_a_minimum;
      report.reason = "the Hessian at the solution is not positive definite";
    }
    expert.stationarity_gradient(w, lambda, by_solution, by_direction);
    for (long p = 0; p < points; ++p) {
      const int at = coupled ? expert_of_[p] * basis_ : 0;
      for (int i = 0; i < basis_; ++i)
        fields_bar[p * basis_ + i] -= w[at + i] * by_solution[p] + lambda[at + i] * by_direction[p];
    }
  }
}

}  // namespace rankine
