#include "src/data/reference_check.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/convective_flux.hpp"
#include "src/pde/fourier_reference.hpp"
#include "src/pde/method_of_lines.hpp"

namespace rankine {
namespace {

/// For flux_limit, means over this many cells of the fine grid are compared. They are whole cells of the
/// coarse grid, too.
constexpr int mean_cells = 8;

enum Kind { reference, half_tolerance, limited_flux, other_cells };

/// A way to solve a sample, with the solution [time][cell][unknown].
struct Repetition {
  Kind kind;
  Grid grid;
  std::vector<double> times;
  size_t length(const Pde& pde) const { return times.size() * grid.cells() * pde.unknowns(); }
};

struct Rule {
  const char *done, *key, *remedy;
  double share = 1;  // of the tolerance in time
};
constexpr Rule in_time{
    "with half the tolerance in time", "time_error",
    "make pde.reference_rtol smaller; where the solution blows up, end before (pde.duration)", 0.5};
/// Where steps are halved until the tolerance is met: the change by one more halving.
constexpr Rule in_halved_time{"with a sixteenth of the tolerance in time", in_time.key, in_time.remedy,
                              0.0625};
const Rule& time_rule(const Pde& pde) {
  return pde.discretisation() == Discretisation::fourier ? in_halved_time : in_time;
}

std::vector<double> solve(const Pde& pde, const CheckedSample& sample, const Repetition& how) {
  const auto& [kind, grid, times] = how;
  // A front that the limited flux keeps sharp makes the integrator take many small steps. The gap that is
  // looked for is large, so that they need not be accurate.
  constexpr double limited_rtol = 1e-4;
  const std::vector<double> initial = initial_cells(pde, sample.numbers, sample.parameters, grid);
  const SchemeParameters parameters = sample.on(pde, grid);
  if (kind == reference) return pde.reference(initial, parameters, grid, times);
  if (kind == half_tolerance)
    return pde.reference_to(time_rule(pde).share * pde.reference_rtol(), initial, parameters, grid, times);
  const double rtol =
      kind == limited_flux ? std::max(limited_rtol, pde.reference_rtol()) : pde.reference_rtol();
  if (pde.discretisation() == Discretisation::fourier)
    return fourier_reference(pde, rtol, initial, parameters, grid, grid, times);
  return method_of_lines(pde, initial, parameters, grid, grid, times,
                         {.rtol = rtol, .limited = kind == limited_flux});
}

/// The relative L2 distance of two solutions [time][cell][unknown] on a grid, and where they differ most. Relative to the norm of the solution, or to 3.5 times that of its variation about the mean where
/// this is smaller: a constant that is added to the solution hides nothing. All unknowns have one norm, but
/// for those that are a thousand times smaller than the largest; of the norms the largest distance counts.
struct Distance {
  double relative = 0;
  std::string place;  // "x = .., y = .., t = .., where u is .. and .."
};

Distance distance_of(const Pde& pde, std::span<const double> a, std::span<const double> b, const Grid& grid,
                     std::span<const double> times) {
  constexpr double comparable = 1e-6;  // share of the largest mean square
  constexpr double variations = 3.5,
                   constant = 1e-3;  // smallest deviation from the mean that is counted
  const int m = pde.unknowns();
  std::vector<double> size(m, 0.0), sum(m, 0.0), difference(m, 0.0);
  for (size_t p = 0; p < a.size(); ++p) {
    size[p % m] += a[p] * a[p];
    sum[p % m] += a[p];
    difference[p % m] += (a[p] - b[p]) * (a[p] - b[p]);
  }
  const double largest = *std::max_element(size.begin(), size.end());
  const double count = static_cast<double>(a.size()) / m;
  struct Norm {
    double size = 0, variation = 0, difference = 0;
    double relative() const {
      if (difference == 0) return 0;
      const double least = std::max(variations * std::sqrt(variation), constant * std::sqrt(size));
      return std::sqrt(difference) / std::min(std::sqrt(size), least);
    }
  };
  Norm common;
  std::vector<Norm> own(m);
  for (int k = 0; k < m; ++k) {
    own[k] = {size[k], std::max(size[k] - sum[k] * sum[k] / count, 0.0), difference[k]};
    if (size[k] < comparable * largest) continue;
    common.size += own[k].size;
    common.variation += own[k].variation;
    common.difference += own[k].difference;
  }
  Distance out;
  int worst = -1;
  for (int k = 0; k < m; ++k) {
    const double relative = size[k] < comparable * largest ? own[k].relative() : common.relative();
    const bool more = relative > out.relative || std::isnan(relative) ||
                      (worst >= 0 && relative == out.relative && difference[k] > difference[worst]);
    if (!more) continue;
    out.relative = relative;
    worst = k;
  }
  double most = -1;
  for (size_t p = std::max(worst, 0); p < a.size() && worst >= 0; p += m) {
    const double d = std::abs(a[p] - b[p]);
    if (d <= most) continue;
    most = d;
    const int cells = grid.cells();
    out.place = fmt::format(
        "{}, t = {}, where {} is {} and {}", grid.place(grid.centre(static_cast<int>(p / m % cells))),
        shortest(times[p / m / cells]), pde.symbol(worst), shortest(a[p]), shortest(b[p]));
  }
  return out;
}

/// Finds features of an initial state or a source that values at cell centres miss. If the means over cells,
/// of `fine` points each, differ from the values at the centres by more than a quarter of the whole, the text
/// names place and remedy.
std::string sub_cell_fault(const Pde& pde, const CheckedSample& sample) {
  constexpr double share = 0.25;
  const Grid grid = pde.data_grid();
  const int axes = grid.axes(), cells = grid.cells(), m = pde.unknowns();
  const int along = axes == 1 ? 32 : axes == 2 ? 6 : 3;  // points along an axis of a cell
  int fine = 1;
  for (int axis = 0; axis < axes; ++axis) fine *= along;
  const long points = static_cast<long>(cells) * (fine + 1);  // the last of a cell is its centre
  std::vector<double> x(axes * points), u(points * m);
  for (int axis = 0; axis < axes; ++axis) {
    const double dx = grid.spacing(axis);
    double* to = &x[axis * points];
    for (int i = 0; i < cells; ++i) {
      const int index = grid.index(i, axis);
      int stride = 1;
      for (int other = axis + 1; other < axes; ++other) stride *= along;
      for (int k = 0; k < fine; ++k)
        *to++ = (static_cast<double>(index) + (k / stride % along + 0.5) / along) * dx;
      *to++ = (static_cast<double>(index) + 0.5) * dx;
    }
  }
  pde.initial_state(sample.numbers, sample.parameters, x, u);
  x = with_fields(pde, sample.numbers, sample.parameters, std::move(x));
  const auto fault = [&](const char* what, int unknown, const auto& value) -> std::string {
    double all = 0, missed = 0, most = 0, largest = 0;
    int where = 0;
    for (int i = 0; i < cells; ++i) {
      const long first = static_cast<long>(i) * (fine + 1);
      double mean = 0;
      for (int k = 0; k < fine; ++k) {
        mean += value(first + k) / fine;
        largest = std::max(largest, std::abs(value(first + k)));
      }
      const double miss = std::abs(mean - value(first + fine));
      all += std::abs(mean);
      missed += miss;
      if (miss > most) {
        most = miss;
        where = i;
      }
    }
    if (!(missed > share * all) || all < 1e-9 * largest * cells) return {};
    return fmt::format(
        "the {} of {} about {} is narrower than a cell: the means over the {} cells and the values at "
        "their centres differ by {:.0f} % of all; take more pde.data_cells, or make it wider and as much "
        "lower",
        what, pde.field_name(unknown), grid.place(grid.centre(where)), grid.describe(), 100 * missed / all);
  };
  for (int a = 0; a < m; ++a)
    if (std::string why = fault("initial state", a, [&](long p) { return u[p * m + a]; }); !why.empty())
      return why;
  if (!pde.has_source()) return {};
  std::vector<double> arguments(points * m);
  for (long p = 0; p < points; ++p)
    for (int a = 0; a < m; ++a) arguments[a * points + p] = u[p * m + a];
  std::vector<double> moments{0.0};
  if (!pde.autonomous())
    for (int j = 1; j <= 8; ++j) moments.push_back(pde.duration() * j / 8);
  for (const double moment : moments) {
    const std::vector<double> t(points, moment);
    kernels::TermValues source;
    pde.source({points, arguments, x, t, sample.parameters, {}}, 0, source);
    for (int a = 0; a < m; ++a)
      if (std::string why = fault("source", a, [&](long p) { return source.at(a)[p]; }); !why.empty())
        return why;
  }
  return {};
}

constexpr Rule in_space{"on {} cells instead of {}", "space_error",
                        "take more pde.data_cells, or let fronts be wider than some cells by more diffusion "
                        "(-D*d(u,x) in the flux) or smoother initial states"};
constexpr Rule in_flux{
    "with a flux that satisfies the entropy condition", "flux_gap",
    "the central flux of reference and constraint is wrong where the solution has shocks: write "
    "pde.convection: limited, or add diffusion (-D*d(u,x) in the flux) until fronts are wider than some "
    "cells, or take more pde.data_cells"};

constexpr Rule in_limit{
    "with such a flux, on infinitely fine grids as far as two grids tell,", "flux_limit",
    "the central flux of reference and constraint converges to something else than the solution with the "
    "right shocks: write pde.convection: limited, or add diffusion (-D*d(u,x) in the flux) until fronts are "
    "wider than some of the pde.data_cells"};

}  // namespace

SchemeParameters CheckedSample::on(const Pde& pde, const Grid& grid) const {
  return {parameters, {}, field_cells(pde, numbers, parameters, grid)};
}

bool flux_is_checked(const Pde& pde) {
  return pde.discretisation() == Discretisation::finite_volume && !pde.steady() && has_convection(pde) &&
         convection_on(pde, pde.data_grid()) == Convection::central;
}

bool flux_is_checked_on_two_grids(const Grid& grid) {
  const std::vector<int>& cells = grid.cells_by_axis();
  return std::all_of(cells.begin(), cells.end(),
                     [](int n) { return n % mean_cells == 0 && n >= 4 * mean_cells; });
}

void ReferenceCheckOptions::options(OptionVisitor& o) {
  o("time_error", time_error,
    {.help = "allowed difference from the reference with half of pde.reference_rtol (row "
             "reference_time_error); ten times that tolerance is always allowed",
     .min = 0,
     .exclusive_min = true});
  o("space_error", space_error,
    {.help =
         "allowed difference from the reference on half of pde.data_cells (row reference_space_error), under "
         "the Fourier discretisation on twice as many",
     .min = 0,
     .exclusive_min = true});
  o("flux_gap", flux_gap,
    {.help = "allowed difference of a central convective flux's reference from that with a limited, "
             "entropy-satisfying one (row reference_flux_gap)",
     .min = 0,
     .exclusive_min = true});
  o("flux_limit", flux_limit,
    {.help =
         "allowed rest of that difference on infinitely fine grids, extrapolated from means over 8 cells on "
         "both grids (row reference_flux_limit; where pde.data_cells is a multiple of 8 and at least 32)",
     .min = 0,
     .exclusive_min = true});
}

namespace {

/// The solutions of one sample in all these ways. Each is computed by one rank, and all ranks receive it.
std::vector<std::vector<double>> solve_all(const Pde& pde, const CheckedSample& sample,
                                           const std::vector<Repetition>& ways,
                                           const Communicator& communicator,
                                           const std::function<void()>& between) {
  const size_t ranks = communicator.size();
  std::vector<double> mine;
  for (size_t first = 0; first < ways.size(); first += ranks) {
    if (between) between();
    communicator.together([&] {
      const size_t own = first + communicator.rank();
      if (own >= ways.size()) return;
      try {
        const std::vector<double> u = solve(pde, sample, ways[own]);
        mine.insert(mine.end(), u.begin(), u.end());
      } catch (const NumericalError& error) {
        std::string how;
        if (ways[own].kind == half_tolerance) how = std::string(", ") + time_rule(pde).done;
        if (ways[own].kind == limited_flux) how = std::string(", ") + in_flux.done;
        if (ways[own].kind == other_cells) how = fmt::format(", on {} cells", ways[own].grid.describe());
        throw NumericalError(sample.name + how + ": " + error.what());
      }
    });
  }
  // The gathered values are ordered by rank.
  const std::vector<double> all = communicator.all_gather_varying(std::span<const double>(mine));
  std::vector<std::vector<double>> solutions(ways.size());
  auto at = all.begin();
  for (size_t rank = 0; rank < ranks; ++rank)
    for (size_t i = rank; i < ways.size(); i += ranks) {
      const auto end = at + static_cast<long>(ways[i].length(pde));
      solutions[i].assign(at, end);
      at = end;
    }
  return solutions;
}

}  // namespace

ReferenceCheck check_references(const Pde& pde, const ReferenceCheckOptions& options,
                                const std::vector<CheckedSample>& samples, const Communicator& communicator,
                                const std::function<void()>& between) {
  const Grid grid = pde.data_grid();
  const int cells = grid.cells(), m = pde.unknowns();
  const std::vector<int>& by_axis = grid.cells_by_axis();
  // Initial states lose waves on fewer cells.
  const bool waves = pde.discretisation() == Discretisation::fourier;
  const bool halves = !waves &&
                      std::all_of(by_axis.begin(), by_axis.end(), [](int n) { return n % 2 == 0 && n >= 8; }),
             convects = flux_is_checked(pde);
  const auto part = [&](int divisor) {
    std::vector<int> fewer;
    for (const int n : by_axis) fewer.push_back(n / divisor);
    return pde.grid(std::move(fewer));
  };
  const Grid others = halves ? part(2) : grid.refined(2), coarse = halves ? others : grid;
  const bool compares_grids = convects && flux_is_checked_on_two_grids(grid);
  const bool judged = std::isfinite(options.space_error);  // smoke sizes are not
  // The tolerance holds for a step; what the steps of a solution add up to may be ten times that.
  const double allowed_in_time = std::max(options.time_error, 10 * pde.reference_rtol());
  ReferenceCheck out;
  for (const CheckedSample& sample : samples) {
    const std::vector<double>& times = sample.times;
    const SchemeParameters parameters = sample.on(pde, grid);
    // For diffusion whose sign depends on time, the initial state is used, because it has no undershoots.
    if (!pde.autonomous() && m == 1) {
      const std::vector<double> start = initial_cells(pde, sample.numbers, sample.parameters, grid);
      for (const double t : times)
        if (const std::string fault = anti_diffusion(pde, grid, parameters, t, start); !fault.empty())
          throw NumericalError(sample.name + ": " + fault);
    }
    std::vector<Repetition> ways{
        {reference, grid, times}, {half_tolerance, grid, times}, {other_cells, others, times}};
    // The limited flux takes large steps, which many frames would cut short.
    constexpr size_t few_frames = 25;
    const size_t stride = (times.size() + few_frames - 1) / few_frames;
    std::vector<double> few_times;
    for (size_t j = 0; j < times.size(); j += stride) few_times.push_back(times[j]);
    if (convects) ways.push_back({limited_flux, grid, few_times});
    if (compares_grids) ways.push_back({limited_flux, others, few_times});
    if (const std::string fault = waves ? "" : sub_cell_fault(pde, sample); !fault.empty() && judged)
      throw NumericalError(sample.name + ": " + fault);
    std::vector<std::vector<double>> solutions = solve_all(pde, sample, ways, communicator, between);
    const std::vector<double>& base = solutions.front();
    const auto frame = [&](size_t j) {
      return std::span(base).subspan(j * cells * m, static_cast<size_t>(cells) * m);
    };
    std::vector<std::string> faults;
    std::string remedy;
    // Later checks are more specific, so that the remedy of the last one that fails is given.
    const auto take = [&](const Rule& rule, const std::string& done, double allowed, const Distance& distance,
                          double& worst) {
      worst = std::isnan(worst) ? distance.relative : std::max(worst, distance.relative);
      if (distance.relative <= allowed) return;
      faults.push_back(fmt::format(
          "{} it differs by {:.2g} (relative L2 distance; allowed: data.reference_check.{} = {}), most at {}",
          done, distance.relative, rule.key, shortest(allowed), distance.place));
      remedy = rule.remedy;
    };
    take(time_rule(pde), time_rule(pde).done, allowed_in_time,
         distance_of(pde, base, solutions[1], grid, times), out.time_error);
    take(in_space, fmt::format(fmt::runtime(in_space.done), others.describe(), grid.describe()),
         options.space_error,
         distance_of(pde, on_coarser(pde, base, grid, coarse), on_coarser(pde, solutions[2], others, coarse),
                     coarse, times),
         out.space_error);
    if (convects) {
      const auto few_of = [&](const std::vector<double>& u, const Grid& on) {
        std::vector<double> few;
        const auto width = static_cast<long>(on.cells()) * m;
        for (size_t j = 0; j < times.size(); j += stride)
          few.insert(few.end(), u.begin() + static_cast<long>(j) * width,
                     u.begin() + static_cast<long>(j + 1) * width);
        return few;
      };
      const std::vector<double> few = few_of(base, grid);
      take(in_flux, in_flux.done, options.flux_gap, distance_of(pde, few, solutions[3], grid, few_times),
           out.flux_gap);
      if (compares_grids) {
        // What is left of the gap on infinitely fine grids, if it falls with the first order.
        const Grid means = part(mean_cells);
        const auto averaged = [&](const std::vector<double>& u, const Grid& on) {
          return average_cells(u, on, means, m);
        };
        Distance fine = distance_of(pde, averaged(few, grid), averaged(solutions[3], grid), means, few_times);
        const Distance rough = distance_of(pde, averaged(few_of(solutions[2], others), others),
                                           averaged(solutions[4], others), means, few_times);
        fine.relative = std::max(0.0, 2 * fine.relative - rough.relative);
        take(in_limit, in_limit.done, options.flux_limit, fine, out.flux_limit);
      }
    }
    if (faults.empty()) {
      out.references.push_back(std::move(solutions.front()));
      continue;
    }
    for (size_t j = 0; j < times.size(); ++j)
      if (std::string why = anti_diffusion(pde, grid, parameters, times[j], frame(j)); !why.empty()) {
        remedy = std::move(why);
        break;
      }
    throw NumericalError("reference solution of " + sample.name + ": " + join(faults, "; ") + "; " + remedy);
  }
  return out;
}

}  // namespace rankine
