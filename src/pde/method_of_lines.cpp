#include "src/pde/method_of_lines.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/fourier_reference.hpp"
#include "src/pde/fourier_scheme.hpp"
#include "src/pde/limited_flux.hpp"
#include "src/pde/small_system.hpp"
#include "src/pde/time_events.hpp"

namespace rankine {
OdeSystem semi_discrete(const Pde& pde, const Grid& fine, const SchemeParameters& parameters, bool limited) {
  const auto space = std::make_shared<const SpatialOperator>(pde, fine, parameters);
  const auto flux = limited && space->convection() == Convection::central
                        ? std::make_shared<const LimitedFlux>(*space)
                        : nullptr;
  const int m = pde.unknowns(), width = space->width();
  OdeSystem system;
  const kernels::StencilFrames shape = space->stencil(0);
  system.cells = shape.cells;
  system.unknowns = m;
  system.reach = shape.reach;
  system.periodic = shape.periodic;
  system.layout = shape.layout;
  system.autonomous = pde.autonomous();
  system.rhs = [space, flux, m](double t, std::span<const double> u, std::span<double> f) {
    const double times[1] = {t};
    const SpatialOperator::Ghosts ghosts = space->ghosts(times);
    space->value(space->terms(times, ghosts, u, 0), 0, f);
    if (flux) flux->add_difference(t, ghosts, u, f);
    if (space->pde().steady()) return;
    const kernels::TermValues storage = space->storage(times, u, 1);
    std::vector<double> slope(m * m);
    for (int i = 0; i < space->cells(); ++i) {
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) slope[a * m + b] = storage.by(a, b)[i];
      solve_small(slope, m, &f[i * m], 1);
    }
  };
  system.jacobian = [space, flux, m, width](double t, std::span<const double> u,
                                            kernels::StencilFrames& out) {
    // d/du [M'^-1 G] = M'^-1 (G' - M''[M'^-1 G])
    const double times[1] = {t};
    const SpatialOperator::Ghosts ghosts = space->ghosts(times);
    const SpatialOperator::Terms terms = space->terms(times, ghosts, u, 1);
    std::fill(out.values.begin(), out.values.end(), 0.0);
    space->add_jacobian(terms, ghosts, 0, 1, out, 0);
    if (flux) flux->add_jacobian(t, ghosts, u, out);
    if (space->pde().steady()) return;
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

std::string anti_diffusion(const Pde& pde, const Grid& grid, const SchemeParameters& parameters, double t,
                           std::span<const double> u) {
  if (pde.flux_derivatives() != 1 || pde.discretisation() == Discretisation::fourier) return {};
  const SpatialOperator space(pde, grid, parameters);
  const double times[1] = {t};
  const int m = pde.unknowns();
  const SpatialOperator::Terms terms = space.terms(times, space.ghosts(times), u, 1);
  for (int axis = 0; axis < grid.axes(); ++axis)
    for (int a = 0; a < m; ++a) {
      const double* by_slope = terms.flux[axis].by(a, (1 + axis) * m + a);
      const double* worst = std::max_element(by_slope, by_slope + space.faces(axis));
      if (*worst > 0)
        return "the flux of " + pde.field_name(a) + " grows with its own derivative (by " + shortest(*worst) +
               ") at " + grid.place(space.face_centre(axis, static_cast<int>(worst - by_slope))) +
               ", t = " + shortest(t) +
               ": anti-diffusion, whose waves grow the faster the finer the grid; diffusion is -D u_" +
               space_name(axis) + ", D >= 0: change the flux, or end before (pde.duration)";
    }
  return {};
}

namespace {

/// Why an integration stopped, as far as its last state tells, and what can be done: "; ...".
std::string diagnosis(const Pde& pde, const Grid& grid, const SchemeParameters& parameters,
                      const OdeOptions& options, const OdeResult& result) {
  if (result.last_state.empty()) return "; change the initial states or the terms that are not finite there";
  const std::vector<double>& u = result.last_state;
  const double t = result.last_time;
  const SpatialOperator space(pde, grid, parameters);
  const double times[1] = {t};
  const int m = pde.unknowns();
  const auto place = [&](int cell, double value) {
    return " at " + grid.place(grid.centre(cell)) + ", t = " + shortest(t) + ", where u = " + shortest(value);
  };
  const kernels::TermValues storage = space.storage(times, u, 1);
  for (int a = 0; a < m; ++a)
    for (int i = 0; i < grid.cells(); ++i)
      if (!(storage.by(a, a)[i] > 1e-6 * pde.typical_storage_slope()))
        return "; the storage of " + pde.field_name(a) + " hardly rises or falls (slope " +
               shortest(storage.by(a, a)[i]) + ")" + place(i, u[i * m + a]) +
               "; the equation says nothing of du/dt there: give the storage a slope everywhere, such as "
               "1e-3*u more";
  if (const std::string fault = anti_diffusion(pde, grid, parameters, t, u); !fault.empty())
    return "; " + fault;
  std::vector<double> rate(space.width()), later(space.width());
  const OdeSystem system = semi_discrete(pde, grid, parameters);
  system.rhs(t, u, rate);
  long fastest = 0;
  for (long i = 0; i < static_cast<long>(rate.size()); ++i)
    if (std::abs(rate[i]) > std::abs(rate[fastest])) fastest = i;
  const std::string where = place(static_cast<int>(fastest / m), u[fastest]);
  if (result.status == OdeStatus::pole)
    return where + " and du/dt = " + shortest(rate[fastest]) +
           "; end before (pde.duration), or change the source or the initial states";
  const std::vector<double> sizes = largest_values(u, m);
  for (int a = 0; a < m; ++a) {
    const double usual = std::max(options.scale.empty() ? 1.0 : options.scale[a], pde.size(a));
    if (sizes[a] > 1e6 * usual)
      return "; " + pde.field_name(a) + " has grown to " + shortest(sizes[a]) + ": the solution blows up" +
             where + "; end before (pde.duration), or change the source or the initial states";
  }
  const std::string limit = "; the limit is pde.reference_steps: " + std::to_string(options.max_steps);
  if (!pde.autonomous()) {
    // Whether the terms alone change the rate by its own size while the state stands still.
    double size = 0;
    for (const double r : rate) size = std::max(size, std::abs(r));
    for (double wait = pde.duration() * 1e-9; wait < pde.duration() * 1e-2; wait *= 2) {
      system.rhs(std::min(t + wait, pde.duration()), u, later);
      double by_time = 0;
      for (size_t i = 0; i < rate.size(); ++i) by_time = std::max(by_time, std::abs(later[i] - rate[i]));
      if (by_time > 0.5 * size)
        return "; the terms or walls that read t change du/dt from " + shortest(size) + " by " +
               shortest(by_time) + " within " + shortest(wait) + " after t = " + shortest(t) +
               ": they vary too fast for so few steps" + limit +
               "; allow more, or replace what varies so fast by its mean";
    }
  }
  const std::string what = "; the solution changes fastest (du/dt = " + shortest(rate[fastest]) + ")" + where;
  if (result.status == OdeStatus::step_limit) return what + limit + "; allow more steps, or smooth the terms";
  return what +
         "; a term that is singular there, or a solution that blows up, ends like this: change the "
         "equation, its initial states or pde.duration";
}

}  // namespace

double decade_of(double size) {
  if (!(size > 0) || !std::isfinite(size)) return 1;
  return std::pow(10.0, std::floor(std::log10(size / 0.15)));
}

namespace {

constexpr double much_smaller = 1.0 / 30;

/// What the unknowns of one sample are measured in: as the PDE says, or less where the sample is much
/// smaller.
std::vector<double> scales_of(const Pde& pde, std::span<const double> initial,
                              const std::vector<double>& parameters, std::span<const double> times) {
  const int m = pde.unknowns();
  std::vector<double> size = largest_values(initial, m), scales;
  for (int axis = 0; axis < pde.axes(); ++axis)
    for (const Side side : {Side::left, Side::right})
      for (int a = 0; a < m && !pde.periodic(axis); ++a)
        for (const double t : times)
          for (const Place& at : wall_places(pde, {axis, side})) {
            const WallCondition wall = pde.wall({axis, side}, a, at, t, parameters, {});
            const double value = std::abs(wall.target / wall.value_factor);
            if (wall.value_factor != 0 && std::isfinite(value)) size[a] = std::max(size[a], value);
          }
  for (int a = 0; a < m; ++a) {
    const double scale = decade_of(pde.size(a));
    scales.push_back(size[a] > 0 && size[a] < much_smaller * scale ? decade_of(size[a]) : scale);
  }
  return scales;
}

}  // namespace

std::vector<double> method_of_lines(const Pde& pde, std::span<const double> initial,
                                    const SchemeParameters& parameters, const Grid& fine, const Grid& coarse,
                                    std::span<const double> times, const LinesOptions& lines) {
  const int m = pde.unknowns(), fine_cells = fine.cells(), width = fine_cells * m;
  const bool starts_later = times.empty() || times.front() > 0;
  std::vector<double> moments(times.begin(), times.end());
  if (starts_later) moments.insert(moments.begin(), 0.0);
  OdeOptions options;
  options.rtol = lines.rtol > 0 ? lines.rtol : pde.reference_rtol();
  options.atol = options.rtol * 1e-2;
  options.max_steps = pde.reference_steps();
  if (lines.limited) options.method = OdeMethod::rosenbrock3;  // which needs no exact Jacobian
  if (!pde.autonomous()) {
    constexpr int places = 32;
    std::vector<double> x, u;
    const auto fields = static_cast<int>(parameters.fields.size()) / fine.cells();
    x.resize(places * (fine.axes() + fields));
    for (int i = 0; i < places; ++i) {
      // Along x evenly, along further axes by steps of irrational lengths, so that no line is left out.
      constexpr double shares[max_space_axes] = {1.0 / places, 0.6180339887498949, 0.4142135623730951};
      long cell = 0;
      for (int axis = 0; axis < fine.axes(); ++axis) {
        const double share = axis == 0 ? i * shares[0] : (i + 0.5) * shares[axis];
        cell += static_cast<long>((share - std::floor(share)) * fine.cells(axis)) * fine.stride(axis);
      }
      const Place at = fine.centre(static_cast<int>(cell));
      for (int axis = 0; axis < fine.axes(); ++axis) x[axis * places + i] = at[axis];
      for (int k = 0; k < fields; ++k)
        x[(fine.axes() + k) * places + i] = parameters.fields[k * static_cast<long>(fine_cells) + cell];
      if (fine.axes() == 1) x[i] = pde.length(0) * (i + 0.5) / places;
      u.insert(u.end(), initial.begin() + cell * m, initial.begin() + (cell + 1) * m);
    }
    options.stops = time_stops(pde, parameters.values, x, u);
  }
  const OdeSystem system = semi_discrete(pde, fine, parameters, lines.limited);
  if (pde.steady()) {
    std::vector<double> states(initial.begin(), initial.end());
    const std::vector<double> state = stationary_state(system, initial, options.rtol);
    if (starts_later) states.clear();
    for (size_t j = states.empty() ? 0 : 1; j < times.size(); ++j)
      states.insert(states.end(), state.begin(), state.end());
    return average_cells(states, fine, coarse, m);
  }
  std::vector<double> scales = scales_of(pde, initial, parameters.values, moments);
  // A solution that stays much smaller than expected is computed again, with the tolerance that it needs.
  for (;;) {
    options.scale = scales;
    if (std::all_of(scales.begin(), scales.end(), [](double s) { return s == 1; })) options.scale.clear();
    const OdeResult result = integrate_stiff(system, initial, moments, options);
    if (result.status != OdeStatus::completed)
      throw NumericalError("reference solution: " + result.reason +
                           diagnosis(pde, fine, parameters, options, result));
    const std::vector<double> largest = largest_values(result.values, m);
    bool again = false;
    for (int a = 0; a < m; ++a)
      if (largest[a] > 1e-30 && largest[a] < much_smaller * scales[a]) {
        scales[a] = decade_of(largest[a]);
        again = true;
      }
    if (!again)
      return average_cells(std::span(result.values).subspan(starts_later ? width : 0), fine, coarse, m);
  }
}

std::vector<double> average_cells(std::span<const double> values, int fine, int coarse, int unknowns) {
  if (coarse < 1 || fine % coarse != 0) {
    throw InputError("cannot average " + std::to_string(fine) + " cells to " + std::to_string(coarse) +
                     ": the coarse number of cells must divide the fine one");
  }
  return average_cells(values, Grid({fine}, {1}), Grid({coarse}, {1}), unknowns);
}

std::vector<double> average_cells(std::span<const double> values, const Grid& fine, const Grid& coarse,
                                  int unknowns) {
  int ratio[max_space_axes] = {1, 1, 1}, box = 1;
  for (int axis = 0; axis < fine.axes(); ++axis) {
    if (fine.cells(axis) % coarse.cells(axis) != 0)
      throw InputError("cannot average " + fine.describe() + " cells to " + coarse.describe() + ": along " +
                       space_name(axis) + " the coarse number must divide the fine one");
    ratio[axis] = fine.cells(axis) / coarse.cells(axis);
    box *= ratio[axis];
  }
  std::vector<int> into(fine.cells(), 0);  // the coarse cell of each fine one
  for (int cell = 0; cell < fine.cells(); ++cell)
    for (int axis = 0; axis < fine.axes(); ++axis)
      into[cell] += fine.index(cell, axis) / ratio[axis] * coarse.stride(axis);
  const size_t m = unknowns, rows = values.size() / (fine.cells() * m);
  std::vector<double> means(rows * coarse.cells() * m, 0.0);
  for (size_t row = 0; row < rows; ++row)
    for (int cell = 0; cell < fine.cells(); ++cell)
      for (size_t a = 0; a < m; ++a)
        means[(row * coarse.cells() + into[cell]) * m + a] += values[(row * fine.cells() + cell) * m + a];
  for (double& mean : means) mean /= box;
  return means;
}

std::vector<double> on_coarser(const Pde& pde, std::span<const double> values, const Grid& fine,
                               const Grid& coarse) {
  return pde.discretisation() == Discretisation::fourier
             ? resampled(values, fine, coarse, pde.unknowns())
             : average_cells(values, fine, coarse, pde.unknowns());
}

namespace {

/// The PDE's data_grid() where `grid` divides it, else `grid`.
Grid start_grid(const Pde& pde, const Grid& grid) {
  for (int axis = 0; axis < grid.axes(); ++axis)
    if (pde.data_cells(axis) % grid.cells(axis) != 0) return grid;
  return pde.data_grid();
}

/// Cell averages of what `evaluate` gives at points [axis][point], from start_grid(); values at the centres under the
/// Fourier discretisation.
template <class Evaluate>
std::vector<double> cell_averages(const Pde& pde, const Grid& grid, int numbers, const Evaluate& evaluate) {
  const Grid fine = pde.discretisation() == Discretisation::fourier ? grid : start_grid(pde, grid);
  std::vector<double> x = fine.centres(), values(static_cast<size_t>(fine.cells()) * numbers);
  if (fine.axes() == 1)
    for (int i = 0; i < fine.cells(); ++i) x[i] = pde.length(0) * (i + 0.5) / fine.cells();
  evaluate(x, values);
  return fine == grid ? values : average_cells(values, fine, grid, numbers);
}

}  // namespace

std::vector<double> initial_cells(const Pde& pde, std::span<const double> numbers,
                                  std::span<const double> parameters, const Grid& grid, double* lost) {
  if (lost != nullptr) *lost = 0;
  if (pde.discretisation() == Discretisation::fourier) {
    const Grid fine = start_grid(pde, grid);
    std::vector<double> u(static_cast<size_t>(fine.cells()) * pde.unknowns());
    pde.initial_state(numbers, parameters, fine.centres(), u);
    const FourierScheme scheme(pde, fine, {parameters.begin(), parameters.end()});
    if (lost != nullptr) *lost = scheme.lost_share(u);
    return resampled(scheme.kept(u), fine, grid, pde.unknowns());
  }
  return cell_averages(pde, grid, pde.unknowns(),
                       [&](const std::vector<double>& x, std::vector<double>& values) {
                         pde.initial_state(numbers, parameters, x, values);
                       });
}

std::vector<double> field_cells(const Pde& pde, std::span<const double> numbers,
                                std::span<const double> parameters, const Grid& grid) {
  const int count = static_cast<int>(pde.fields().size());
  if (count == 0) return {};
  const std::vector<double> by_cell =
      cell_averages(pde, grid, count, [&](const std::vector<double>& x, std::vector<double>& values) {
        pde.field_values(numbers, parameters, x, values);
      });
  std::vector<double> out(by_cell.size());
  for (size_t i = 0; i < by_cell.size(); ++i) out[i % count * grid.cells() + i / count] = by_cell[i];
  return out;
}

std::vector<double> exact_cells(const Pde& pde, double t, std::span<const double> parameters,
                                const Grid& grid) {
  return cell_averages(pde, grid, pde.unknowns(),
                       [&](const std::vector<double>& x, std::vector<double>& values) {
                         pde.exact(t, parameters, x, values);
                       });
}

}  // namespace rankine
