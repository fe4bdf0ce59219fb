#include "src/pde/method_of_lines.hpp"

#include <cmath>
#include <memory>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

/// Solves the m x m system a x = b in place by elimination with pivoting; m is the number of unknowns of a
/// PDE.
void solve_small(std::vector<double> a, int m, double* x, int columns) {
  for (int k = 0; k < m; ++k) {
    int pivot = k;
    for (int i = k + 1; i < m; ++i)
      if (std::abs(a[i * m + k]) > std::abs(a[pivot * m + k])) pivot = i;
    if (a[pivot * m + k] == 0)
      throw NumericalError(
          "the storage does not increase with u: its derivative is singular, so the equation says "
          "nothing of du/dt; change pde.storage");
    for (int j = 0; j < m; ++j) std::swap(a[k * m + j], a[pivot * m + j]);
    for (int c = 0; c < columns; ++c) std::swap(x[k * columns + c], x[pivot * columns + c]);
    for (int i = k + 1; i < m; ++i) {
      const double factor = a[i * m + k] / a[k * m + k];
      for (int j = k; j < m; ++j) a[i * m + j] -= factor * a[k * m + j];
      for (int c = 0; c < columns; ++c) x[i * columns + c] -= factor * x[k * columns + c];
    }
  }
  for (int k = m - 1; k >= 0; --k)
    for (int c = 0; c < columns; ++c) {
      double sum = x[k * columns + c];
      for (int j = k + 1; j < m; ++j) sum -= a[k * m + j] * x[j * columns + c];
      x[k * columns + c] = sum / a[k * m + k];
    }
}

}  // namespace

OdeSystem semi_discrete(const Pde& pde, int fine_cells, const std::vector<double>& parameters) {
  const auto space =
      std::make_shared<const SpatialOperator>(pde, fine_cells, SchemeParameters{parameters, {}});
  const int m = pde.unknowns(), width = space->width();
  OdeSystem system;
  system.cells = fine_cells;
  system.unknowns = m;
  system.reach = space->reach();
  system.periodic = pde.periodic();
  system.autonomous = pde.autonomous();
  system.rhs = [space, m](double t, std::span<const double> u, std::span<double> f) {
    const double times[1] = {t};
    const SpatialOperator::Ghosts ghosts = space->ghosts(times);
    space->value(space->terms(times, ghosts, u, 0), 0, f);
    const kernels::TermValues storage = space->storage(times, u, 1);
    std::vector<double> slope(m * m);
    for (int i = 0; i < space->cells(); ++i) {
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) slope[a * m + b] = storage.by(a, b)[i];
      solve_small(slope, m, &f[i * m], 1);
    }
  };
  system.jacobian = [space, m, width](double t, std::span<const double> u, kernels::StencilFrames& out) {
    // d/du [M'^-1 G] = M'^-1 (G' - M''[M'^-1 G])
    const double times[1] = {t};
    const SpatialOperator::Ghosts ghosts = space->ghosts(times);
    const SpatialOperator::Terms terms = space->terms(times, ghosts, u, 1);
    std::fill(out.values.begin(), out.values.end(), 0.0);
    space->add_jacobian(terms, ghosts, 0, 1, out, 0);
    std::vector<double> f(width), slope(m * m), row;
    space->value(terms, 0, f);
    const kernels::TermValues storage = space->storage(times, u, 2);
    const int points = out.points();
    for (int i = 0; i < space->cells(); ++i) {
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) slope[a * m + b] = storage.by(a, b)[i];
      solve_small(slope, m, &f[i * m], 1);
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b)
          for (int c = 0; c < m; ++c) out.at(0, i, 0)[a * m + b] -= storage.by(a, b, c)[i] * f[i * m + c];
      // Rows a of all blocks of this cell: [a][offset][b].
      row.resize(static_cast<size_t>(m) * points * m);
      for (int s = 0; s < points; ++s)
        for (int a = 0; a < m; ++a)
          for (int b = 0; b < m; ++b) row[(a * points + s) * m + b] = out.at(0, i, s - out.reach)[a * m + b];
      solve_small(slope, m, row.data(), points * m);
      for (int s = 0; s < points; ++s)
        for (int a = 0; a < m; ++a)
          for (int b = 0; b < m; ++b) out.at(0, i, s - out.reach)[a * m + b] = row[(a * points + s) * m + b];
    }
  };
  return system;
}

namespace {

/// Why an integration stopped, as far as its last state tells.
std::string diagnosis(const Pde& pde, int cells, const std::vector<double>& parameters, double t,
                      const std::vector<double>& u) {
  const SpatialOperator space(pde, cells, {parameters, {}});
  const double times[1] = {t};
  const auto place = [&](double x, double value) {
    return " at x = " + shortest(x) + ", t = " + shortest(t) + ", where u = " + shortest(value);
  };
  const int m = pde.unknowns();
  const kernels::TermValues storage = space.storage(times, u, 1);
  for (int a = 0; a < m; ++a)
    for (int i = 0; i < cells; ++i)
      if (!(storage.by(a, a)[i] > 1e-6 * pde.typical_storage_slope()))
        return "the storage of " + pde.field_name(a) + " hardly rises or falls (slope " +
               shortest(storage.by(a, a)[i]) + ")" + place(space.cell_centre(i), u[i * m + a]) +
               "; the equation says nothing of du/dt there";
  const SpatialOperator::Ghosts ghosts = space.ghosts(times);
  const SpatialOperator::Terms terms = space.terms(times, ghosts, u, 1);
  for (int a = 0; a < m && pde.flux_derivatives() == 1; ++a)
    for (int f = 0; f < space.faces(); ++f)
      if (terms.flux.by(a, m + a)[f] > 0)
        return "the flux of " + pde.field_name(a) + " grows with its own derivative (by " +
               shortest(terms.flux.by(a, m + a)[f]) + ") at x = " + shortest(f * pde.length() / cells) +
               ", t = " + shortest(t) + ": anti-diffusion, which no grid resolves; diffusion is -D u_x";
  std::vector<double> rate(space.width());
  semi_discrete(pde, cells, parameters).rhs(t, u, rate);
  long fastest = 0;
  for (long i = 0; i < static_cast<long>(rate.size()); ++i)
    if (std::abs(rate[i]) > std::abs(rate[fastest])) fastest = i;
  return "the solution changes fastest (du/dt = " + shortest(rate[fastest]) + ")" +
         place(space.cell_centre(static_cast<int>(fastest / m)), u[fastest]) +
         "; a term that is singular there, or a solution that blows up, ends like this";
}

}  // namespace

std::vector<double> method_of_lines(const Pde& pde, std::span<const double> initial,
                                    const std::vector<double>& parameters, int fine_cells, int cells,
                                    std::span<const double> times) {
  const int width = fine_cells * pde.unknowns();
  const bool starts_later = times.empty() || times.front() > 0;
  std::vector<double> stops(times.begin(), times.end());
  if (starts_later) stops.insert(stops.begin(), 0.0);
  OdeOptions options;
  options.rtol = pde.reference_rtol();
  options.atol = options.rtol * 1e-2;
  options.max_steps = 20000;  // hundreds are usual; an equation that needs more is singular in time
  const OdeResult result =
      integrate_stiff(semi_discrete(pde, fine_cells, parameters), initial, stops, options);
  if (result.status != OdeStatus::completed) {
    std::string why;
    if (!result.last_state.empty())
      why = "; " + diagnosis(pde, fine_cells, parameters, result.last_time, result.last_state);
    throw NumericalError("reference solution: " + result.reason + why +
                         "; change the equation, its initial states or its duration");
  }
  return average_cells(std::span(result.values).subspan(starts_later ? width : 0), fine_cells, cells,
                       pde.unknowns());
}

std::vector<double> average_cells(std::span<const double> values, int fine, int coarse, int unknowns) {
  if (coarse < 1 || fine % coarse != 0) {
    throw InputError("cannot average " + std::to_string(fine) + " cells to " + std::to_string(coarse) +
                     ": the coarse number of cells must divide the fine one");
  }
  const int ratio = fine / coarse;
  std::vector<double> means(values.size() / ratio);
  for (size_t i = 0; i < means.size(); ++i) {
    const size_t cell = i / unknowns, a = i % unknowns;
    double sum = 0;
    for (int k = 0; k < ratio; ++k) sum += values[(cell * ratio + k) * unknowns + a];
    means[i] = sum / ratio;
  }
  return means;
}

namespace {

/// Cell averages of what `evaluate` gives at points x, from data_cells() where `cells` divides them.
template <class Evaluate>
std::vector<double> cell_averages(const Pde& pde, int cells, const Evaluate& evaluate) {
  const int fine = pde.data_cells() % cells == 0 ? pde.data_cells() : cells;
  std::vector<double> x(fine), values(static_cast<size_t>(fine) * pde.unknowns());
  for (int i = 0; i < fine; ++i) x[i] = pde.length() * (i + 0.5) / fine;
  evaluate(x, values);
  return fine == cells ? values : average_cells(values, fine, cells, pde.unknowns());
}

}  // namespace

std::vector<double> initial_cells(const Pde& pde, std::span<const double> numbers,
                                  std::span<const double> parameters, int cells) {
  return cell_averages(pde, cells, [&](const std::vector<double>& x, std::vector<double>& values) {
    pde.initial_state(numbers, parameters, x, values);
  });
}

std::vector<double> exact_cells(const Pde& pde, double t, std::span<const double> parameters, int cells) {
  return cell_averages(pde, cells, [&](const std::vector<double>& x, std::vector<double>& values) {
    pde.exact(t, parameters, x, values);
  });
}

}  // namespace rankine
