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

enum Kind { reference, half_tolerance, limited_flux, other_cells };

/// One way to solve a sample: [time][cell][unknown].
struct Repetition {
  Kind kind;
  int cells;
  std::vector<double> times;
  size_t length(const Pde& pde) const { return times.size() * cells * pde.unknowns(); }
};

std::vector<double> solve(const Pde& pde, const CheckedSample& sample, const Repetition& how) {
  const auto& [kind, cells, times] = how;
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

namespace {

/// Solutions of one sample in all these ways, each solved by one of the ranks; all ranks get all of them.
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
        if (ways[own].kind == half_tolerance) how = std::string(", ") + in_time.done;
        if (ways[own].kind == limited_flux) how = std::string(", ") + in_flux.done;
        if (ways[own].kind == other_cells) how = fmt::format(", on {} cells", ways[own].cells);
        throw NumericalError(sample.name + how + ": " + error.what());
      }
    });
  }
  // What is gathered stands rank by rank.
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
  const int cells = pde.data_cells(), m = pde.unknowns();
  const bool halves = cells % 2 == 0 && cells >= 8, convects = has_convection(pde);
  const int others = halves ? cells / 2 : 2 * cells, coarse = std::min(cells, others);
  ReferenceCheck out;
  for (const CheckedSample& sample : samples) {
    const std::vector<double>& times = sample.times;
    std::vector<Repetition> ways{
        {reference, cells, times}, {half_tolerance, cells, times}, {other_cells, others, times}};
    // The limited flux takes large steps, which many frames would cut short.
    constexpr size_t few_frames = 25;
    const size_t stride = (times.size() + few_frames - 1) / few_frames;
    std::vector<double> few_times;
    for (size_t j = 0; j < times.size(); j += stride) few_times.push_back(times[j]);
    if (convects) ways.push_back({limited_flux, cells, few_times});
    std::vector<std::vector<double>> solutions = solve_all(pde, sample, ways, communicator, between);
    const std::vector<double>& base = solutions.front();
    const auto frame = [&](size_t j) {
      return std::span(base).subspan(j * cells * m, static_cast<size_t>(cells) * m);
    };
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
    take(in_time, in_time.done, options.time_error, distance_of(pde, base, solutions[1], cells, times),
         out.time_error);
    take(in_space, fmt::format(fmt::runtime(in_space.done), others, cells), options.space_error,
         distance_of(pde, average_cells(base, cells, coarse, m),
                     average_cells(solutions[2], others, coarse, m), coarse, times),
         out.space_error);
    if (convects) {
      std::vector<double> few;
      for (size_t j = 0; j < times.size(); j += stride)
        few.insert(few.end(), frame(j).begin(), frame(j).end());
      take(in_flux, in_flux.done, options.flux_gap, distance_of(pde, few, solutions[3], cells, few_times),
           out.flux_gap);
    }
    if (faults.empty()) {
      out.references.push_back(std::move(solutions.front()));
      continue;
    }
    for (size_t j = 0; j < times.size(); ++j)
      if (std::string why = anti_diffusion(pde, cells, sample.parameters, times[j], frame(j)); !why.empty()) {
        remedy = std::move(why);
        break;
      }
    throw NumericalError("reference solution of " + sample.name + ": " + join(faults, "; ") + "; " + remedy);
  }
  return out;
}

}  // namespace rankine
