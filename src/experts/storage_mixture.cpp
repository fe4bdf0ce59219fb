#include "src/experts/storage_mixture.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"
#include "kernels/gram.hpp"
#include "kernels/lapack.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine {

using kernels::multiply_add;

StorageMixture::StorageMixture(int frames, const Grid& grid, int unknowns, std::vector<Box> experts,
                               int basis, Coupling coupling, Weighting rows, SolverOptions options)
    : grid_(grid),
      unknowns_(unknowns),
      boxes_(std::move(experts)),
      expert_of_(static_cast<size_t>(frames) * grid.cells() * unknowns, -1),
      basis_(basis),
      coupling_(coupling),
      weighting_(rows),
      options_(std::move(options)) {
  for (int k = 0; k < this->experts(); ++k)
    for (long row : rows_of(boxes_[k], grid_, unknowns_)) expert_of_[row] = k;
  RANKINE_ASSERT(std::none_of(expert_of_.begin(), expert_of_.end(), [](int k) { return k < 0; }),
                 "the experts do not cover the grid");
  points_of_.resize(static_cast<size_t>(this->experts()) * unknowns_);
  for (long p = 0; p < static_cast<long>(expert_of_.size()); ++p)
    points_of_[first_coefficient(p) / basis_].push_back(p);
}

std::vector<long> StorageMixture::all_rows(int s) const {
  if (coupling_ == Coupling::none) return rows_of(boxes_[s], grid_, unknowns_);
  std::vector<long> rows(expert_of_.size());
  std::iota(rows.begin(), rows.end(), 0L);
  return rows;
}

std::vector<double> StorageMixture::expanded(std::span<const double> fields) const {
  const int wide = columns();
  const long points = static_cast<long>(expert_of_.size());
  std::vector<double> out(points * wide, 0.0);
  for (long p = 0; p < points; ++p)
    std::copy_n(&fields[p * basis_], basis_, &out[p * wide + first_column(p)]);
  return out;
}

std::vector<double> StorageMixture::assemble(std::span<const double> initial, std::span<const double> fields,
                                             std::span<const double> coefficients) const {
  std::vector<double> u(initial.begin(), initial.end());
  const long points = static_cast<long>(expert_of_.size());
  for (long p = 0; p < points; ++p) {
    const double* w = &coefficients[first_coefficient(p)];
    double sum = 0;
    for (int i = 0; i < basis_; ++i) sum = multiply_add(w[i], fields[p * basis_ + i], sum);
    u.push_back(sum);
  }
  return u;
}

std::vector<int> StorageMixture::observed(int s, const ObservedRows& observations) const {
  std::vector<int> out;
  for (int i = 0; observations.all && i < observations.all->size(); ++i) {
    const ObservationOperator& h = observations.all->h();
    const long p = (static_cast<long>(h.step(i)) * grid_.cells() + h.cell(i)) * unknowns_;
    if (coupling_ == Coupling::assembled || expert_of_[p] == s) out.push_back(i);
  }
  return out;
}

MixtureSolution StorageMixture::solve(const StorageProblem& problem, std::span<const double> fields,
                                      std::vector<std::vector<long>> rows, ObservedRows observations) const {
  const bool wider = groups() > 1;
  const std::vector<double> wide = wider ? expanded(fields) : std::vector<double>();
  const std::span<const double> basis = wider ? std::span<const double>(wide) : fields;
  const std::unique_ptr<LeastSquaresSolver> solver = options_.make();
  const std::vector<double> target =
      options_.start == "linear" ? problem.linear_target(weighting_) : std::vector<double>();

  MixtureSolution solution;
  solution.rows = std::move(rows);
  solution.observations = observations;
  for (int s = 0; s < solves(); ++s) {
    StorageExpert expert(problem, basis, columns(), solution.rows[s], weighting_, options_.ridge,
                         observations, observed(s, observations));
    std::vector<double> w(columns(), options_.start == "ones" ? 1.0 : 0.0);
    if (options_.start == "linear") expert.linear_start(target, std::max(options_.damping, 1e-14), w);
    solution.reports.push_back(solver->solve(expert, w, options_.least_squares()));
    solution.coefficients.insert(solution.coefficients.end(), w.begin(), w.end());
  }
  solution.u = assemble(problem.initial(), fields, solution.coefficients);
  return solution;
}

void StorageMixture::pull_back(const StorageProblem& problem, std::span<const double> fields,
                               MixtureSolution& solution, std::span<const double> u_bar,
                               std::span<double> fields_bar, std::span<double> parameters_bar) const {
  std::fill(parameters_bar.begin(), parameters_bar.end(), 0.0);
  const long points = problem.points();
  const bool wider = groups() > 1;
  const std::vector<double> wide = wider ? expanded(fields) : std::vector<double>();
  const std::span<const double> basis = wider ? std::span<const double>(wide) : fields;

  // Direct part u = b . w at fixed w, and the gradient with respect to w.
  std::vector<double> coefficients_bar(solution.coefficients.size(), 0.0);
  for (long p = 0; p < points; ++p) {
    const int at = first_coefficient(p);
    for (int i = 0; i < basis_; ++i) {
      fields_bar[p * basis_ + i] = solution.coefficients[at + i] * u_bar[p];
      coefficients_bar[at + i] = multiply_add(fields[p * basis_ + i], u_bar[p], coefficients_bar[at + i]);
    }
  }
  std::vector<double> by_solution(points), by_direction(points), lambda(columns());
  std::vector<double> by_parameter(parameters_bar.size());
  for (int s = 0; s < solves(); ++s) {
    const auto of_solve = [&](std::span<const double> all) {
      return all.subspan(static_cast<size_t>(s) * columns(), columns());
    };
    const std::span<const double> w = of_solve(solution.coefficients);
    StorageExpert expert(problem, basis, columns(), solution.rows[s], weighting_, options_.ridge,
                         solution.observations, observed(s, solution.observations));
    SolveReport& report = solution.reports[s];
    if (report.status == SolveStatus::not_finite) continue;
    const AdjointReport adjoint = solve_adjoint(expert, w, of_solve(coefficients_bar), lambda,
                                                options_.adjoint_matrix(), options_.adjoint_damping);
    note(adjoint, report);
    expert.stationarity_gradient(w, lambda, by_solution, by_direction, by_parameter);
    for (size_t l = 0; l < by_parameter.size(); ++l) parameters_bar[l] -= by_parameter[l];
    for (long p = 0; p < points; ++p) {
      const int at = first_column(p);
      for (int i = 0; i < basis_; ++i)
        fields_bar[p * basis_ + i] -=
            multiply_add(w[at + i], by_solution[p], lambda[at + i] * by_direction[p]);
    }
  }
}

/// One fit for each expert and unknown: scaled matrices and the scales of their columns.
struct StorageMixture::Fits {
  int basis;
  std::vector<double> matrix, scale;  // [fit][basis][basis], [fit][basis]
  std::vector<double> by_target;      // B^T y, [fit][basis]
  /// x <- (B^T B + ridge diag)^-1 x for the fit whose first coefficient is `first`. False if singular.
  bool solve(int first, std::span<double> x) const {
    std::vector<double> a(matrix.begin() + static_cast<long>(first) * basis,
                          matrix.begin() + static_cast<long>(first + basis) * basis);
    for (int i = 0; i < basis; ++i) x[i] /= scale[first + i];
    if (!lapack::solve_spd(a, basis, x)) return false;
    for (int i = 0; i < basis; ++i) x[i] /= scale[first + i];
    return true;
  }
};

StorageMixture::Fits StorageMixture::normal_equations(std::span<const double> fields,
                                                      std::span<const double> target, double ridge) const {
  const int n = basis_, m = n + 1;
  Fits fits{n, std::vector<double>(static_cast<size_t>(coefficients()) * n),
            std::vector<double>(coefficients()), std::vector<double>(coefficients())};
  std::vector<double> augmented(static_cast<size_t>(m) * m);
  for (int first = 0; first < coefficients(); first += n) {
    kernels::augmented_gram_of_rows(fields, target, points_of_[first / n], n, augmented);
    double* gram = &fits.matrix[static_cast<size_t>(first) * n];
    for (int i = 0; i < n; ++i) {
      const double length = std::sqrt(augmented[i * m + i]);
      fits.scale[first + i] = length > 0 ? length : 1;
      fits.by_target[first + i] = augmented[i * m + n];
    }
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j)
        gram[i * n + j] = augmented[i * m + j] / (fits.scale[first + i] * fits.scale[first + j]);
      gram[i * n + i] += gram[i * n + i] > 0 ? ridge * gram[i * n + i] : 1;
    }
  }
  return fits;
}

MixtureSolution StorageMixture::fit(const StorageProblem& problem, std::span<const double> fields,
                                    std::span<const double> target, double ridge) const {
  const Fits fits = normal_equations(fields, target, ridge);
  MixtureSolution solution;
  solution.coefficients = fits.by_target;
  solution.reports.resize(experts());
  for (int k = 0; k < experts(); ++k) {
    SolveReport& report = solution.reports[k];
    report.status = SolveStatus::converged;
    report.iterations = 1;
    for (int a = 0; a < unknowns_; ++a) {
      const int first = (k * unknowns_ + a) * basis_;
      const std::span<double> w = std::span(solution.coefficients).subspan(first, basis_);
      const bool finite = std::all_of(w.begin(), w.end(), [](double x) { return std::isfinite(x); });
      if (finite && fits.solve(first, w) &&
          std::all_of(w.begin(), w.end(), [](double x) { return std::isfinite(x); }))
        continue;
      std::fill(w.begin(), w.end(), 0.0);
      report.status = SolveStatus::not_finite;
      report.reason =
          finite ? "the fit's matrix is singular to rounding" : "the target or the fields are not finite";
    }
  }
  solution.u = assemble(problem.initial(), fields, solution.coefficients);
  const double* u = &solution.u[problem.width()];
  for (long p = 0; p < static_cast<long>(expert_of_.size()); ++p)
    solution.reports[expert_of_[p]].objective += 0.5 * (u[p] - target[p]) * (u[p] - target[p]);
  return solution;
}

void StorageMixture::pull_back_fit(std::span<const double> fields, std::span<const double> target,
                                   const MixtureSolution& solution, double ridge,
                                   std::span<const double> u_bar, std::span<double> fields_bar) const {
  // (B^T B + ridge D) w = B^T y, D = diag(b_c . b_c);  lambda = (B^T B + ridge D)^-1 B^T u_bar:
  //   B_bar = u_bar w^T + (y - B w) lambda^T - (B lambda) w^T - 2 ridge b_c lambda_c w_c
  const Fits fits = normal_equations(fields, u_bar, ridge);
  const long points = static_cast<long>(expert_of_.size());
  std::vector<double> lambda(fits.by_target);
  for (int first = 0; first < coefficients(); first += basis_) {
    const std::span<double> x = std::span(lambda).subspan(first, basis_);
    if (!fits.solve(first, x)) std::fill(x.begin(), x.end(), 0.0);
  }
  for (long p = 0; p < points; ++p) {
    const double *b = &fields[p * basis_], *w = &solution.coefficients[first_coefficient(p)],
                 *l = &lambda[first_coefficient(p)];
    double fitted = 0, along = 0;
    for (int i = 0; i < basis_; ++i) {
      fitted += b[i] * w[i];
      along += b[i] * l[i];
    }
    for (int i = 0; i < basis_; ++i)
      fields_bar[p * basis_ + i] =
          (u_bar[p] - along) * w[i] + (target[p] - fitted) * l[i] - 2 * ridge * b[i] * l[i] * w[i];
  }
}

}  // namespace rankine
