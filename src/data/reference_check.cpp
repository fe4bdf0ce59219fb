#include "src/data/reference_check.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/limited_flux.hpp"
#include "src/pde/method_of_lines.hpp"

namespace rankine {
namespace {

/// Which solution of a sample.
enum Kind { reference, half_tolerance, other_cells, limited_flux };

/// Solves one sample on `cells` cells: [time][cell][unknown].
std::vector<double> solve(const Pde& pde, const CheckedSample& sample, Kind kind, int cells,
                          std::span<const double> times) {
  // A front that the limited flux keeps sharp makes the integrator take many small steps. The gap that is
  // looked for is large, so that they need not be accurate.
  constexpr double limited_rtol = 1e-4;
  const std::vector<double> initial = initial_cells(pde, sample.numbers, sample.parameters, cells);
  if (kind == reference) return pde.reference(initial, sample.parameters, cells, times);
  const double rtol = kind == half_tolerance ? 0.5 * pde.reference_rtol()
                      : kind == limited_flux ? std::max(limited_rtol, pde.reference_rtol())
                                             : pde.reference_rtol();
  return method_of_lines(pde, initial, sample.parameters, cells, cells, times,
                         {.rtol = rtol, .limited = kind == limited_flux});
}

/// The relative L2 distance of two solutions [time][cell][unknown] on `cells` cells, and where they differ
/// most. Unknowns of comparable size have one norm; one that is much smaller has its own, and the largest
/// distance counts.
struct Distance {
  double relative = 0;
  std::string place;  // "x = .., t = .., where u is .. and .."
};

Distance distance_of(const Pde& pde, std::span<const double> a, std::span<const double> b, int cells,
                     std::span<const double> times) {
  constexpr double comparable = 1e-3;  // of the largest mean square
  const int m = pde.unknowns();
  std::vector<double> size(m, 0.0), difference(m, 0.0);
  for (size_t p = 0; p < a.size(); ++p) {
    size[p % m] += a[p] * a[p];
    difference[p % m] += (a[p] - b[p]) * (a[p] - b[p]);
  }
  const double largest = *std::max_element(size.begin(), size.end());
  double common_size = 0, common_difference = 0;
  for (int k = 0; k < m; ++k)
    if (size[k] >= comparable * largest) {
      common_size += size[k];
      common_difference += difference[k];
    }
  Distance out;
  for (int k = 0; k < m; ++k) {
    const bool common = size[k] >= comparable * largest;
    if (size[k] == 0 && difference[k] == 0) continue;
    const double relative = std::sqrt(common ? common_difference / common_size : difference[k] / size[k]);
    double most = -1;
    for (size_t p = k; p < a.size() && !(relative <= out.relative); p += m) {
      const double d = std::abs(a[p] - b[p]);
      if (d <= most) continue;
      most = d;
      const double x = pde.length() * (static_cast<double>(p / m % cells) + 0.5) / cells;
      out.place = fmt::format("x = {}, t = {}, where {} is {} and {}", shortest(x),
                              shortest(times[p / m / cells]), pde.symbol(k), shortest(a[p]), shortest(b[p]));
    }
    if (!(relative <= out.relative)) out.relative = relative;
  }
  return out;
}

struct Rule {
  const char *done, *key, *remedy;
};
constexpr Rule in_time{
    "with half the tolerance in time", "time_error",
    "make pde.reference_rtol smaller; where the solution blows up, end before (pde.duration)"};
constexpr Rule in_space{"on {} cells instead of {}", "space_error",
                        "take more pde.data_cells, or let fronts be wider than some cells by more diffusion "
                        "(-D*d(u,x) in the flux) "
                        "or smoother initial states"};
constexpr Rule in_flux{
    "with a flux that satisfies the entropy condition", "flux_gap",
    "the central flux of reference and constraint is wrong where the solution has shocks: add diffusion "
    "(-D*d(u,x) in the flux) until fronts are wider than some cells, or take more pde.data_cells; problems "
    "with "
    "shocks thinner than a cell are not solved"};

}  // namespace

void ReferenceCheckOptions::options(OptionVisitor& o) {
  o("time_error", time_error,
    {.help =
         "allowed difference from the reference with half of pde.reference_rtol (row reference_time_error)",
     .min = 0,
     .exclusive_min = true});
  o("space_error", space_error,
    {.help = "allowed difference from the reference on half of pde.data_cells (row reference_space_error)",
     .min = 0,
     .exclusive_min = true});
  o("flux_gap", flux_gap,
    {.help = "allowed difference from the reference with a limited, entropy-satisfying convective flux (row "
             "reference_flux_gap)",
     .min = 0,
     .exclusive_min = true});
}

ReferenceCheck check_references(const Pde& pde, const ReferenceCheckOptions& options,
                                const std::vector<CheckedSample>& samples, std::span<const double> times,
                                const Communicator& communicator, const std::function<void()>& between) {
  const int cells = pde.data_cells();
  const bool halves = cells % 2 == 0 && cells >= 8, convects = has_convection(pde);
  const int others = halves ? cells / 2 : 2 * cells, coarse = std::min(cells, others);
  const int kinds = convects ? 4 : 3, ranks = communicator.size();
  const auto cells_of = [&](int kind) { return kind == other_cells ? others : cells; };
  ReferenceCheck out;
  for (const CheckedSample& sample : samples) {
    // Solution i on rank i modulo their number; what the ranks gather stands rank by rank.
    std::vector<double> mine;
    for (int first = 0; first < kinds; first += ranks) {
      if (between) between();
      communicator.together([&] {
        const int kind = first + communicator.rank();
        if (kind >= kinds) return;
        try {
          const std::vector<double> u = solve(pde, sample, static_cast<Kind>(kind), cells_of(kind), times);
          mine.insert(mine.end(), u.begin(), u.end());
        } catch (const NumericalError& error) {
          const std::string how = kind == reference        ? ""
                                  : kind == half_tolerance ? std::string(", ") + in_time.done
                                  : kind == other_cells    ? fmt::format(" on {} cells", others)
                                                           : std::string(", ") + in_flux.done;
          throw NumericalError(sample.name + how + ": " + error.what());
        }
      });
    }
    const std::vector<double> all = communicator.all_gather_varying(std::span<const double>(mine));
    std::vector<std::span<const double>> of(kinds);
    size_t at = 0;
    for (int rank = 0; rank < ranks; ++rank)
      for (int kind = rank; kind < kinds; kind += ranks) {
        const size_t length = times.size() * cells_of(kind) * pde.unknowns();
        of[kind] = std::span(all).subspan(at, length);
        at += length;
      }
    const std::span<const double> base = of[reference];
    std::vector<std::string> faults;
    std::string remedy;
    // The later checks say more of what is wrong, so that the last remedy is given.
    const auto take = [&](const Rule& rule, const std::string& done, double allowed, const Distance& distance,
                          double& worst) {
      worst = std::isnan(worst) ? distance.relative : std::max(worst, distance.relative);
      if (distance.relative <= allowed) return;
      faults.push_back(fmt::format(
          "{} it differs by {:.2g} (relative L2 distance; allowed: data.reference_check.{} = {}), most at {}",
          done, distance.relative, rule.key, shortest(allowed), distance.place));
      remedy = rule.remedy;
    };
    take(in_time, in_time.done, options.time_error, distance_of(pde, base, of[half_tolerance], cells, times),
         out.time_error);
    take(in_space, fmt::format(fmt::runtime(in_space.done), others, cells), options.space_error,
         distance_of(pde, average_cells(base, cells, coarse, pde.unknowns()),
                     average_cells(of[other_cells], others, coarse, pde.unknowns()), coarse, times),
         out.space_error);
    if (convects)
      take(in_flux, in_flux.done, options.flux_gap, distance_of(pde, base, of[limited_flux], cells, times),
           out.flux_gap);
    if (faults.empty()) continue;
    const size_t width = static_cast<size_t>(cells) * pde.unknowns();
    for (size_t j = 0; j < times.size(); ++j)
      if (std::string why =
              anti_diffusion(pde, cells, sample.parameters, times[j], base.subspan(j * width, width));
          !why.empty()) {
        remedy = std::move(why);
        break;
      }
    throw NumericalError("reference solution of " + sample.name + ": " + join(faults, "; ") + "; " + remedy);
  }
  return out;
}

}  // namespace rankine
