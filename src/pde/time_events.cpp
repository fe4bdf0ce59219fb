#include "src/pde/time_events.hpp"

#include <algorithm>
#include <cmath>

namespace rankine {
namespace {

/// One result of a program as a function of time.
class EventFunction {
 public:
  EventFunction(const kernels::Program& program, int result, std::span<const double> parameters)
      : program_(program), result_(result), parameters_(parameters) {}

  std::vector<double> operator()(const std::vector<double>& t) const {
    program_.evaluate({static_cast<long>(t.size()), {}, {}, t, parameters_, {}}, 0, values_);
    return {values_.at(result_), values_.at(result_) + t.size()};
  }
  double operator()(double t) const {
    program_.evaluate({1, {}, {}, std::span(&t, 1), parameters_, {}}, 0, values_);
    return values_.at(result_)[0];
  }

  /// Where the sign changes between a and b, to the last digit: the end where it has changed.
  double root(double a, double b) const {
    const bool positive = (*this)(a) > 0;
    for (;;) {
      const double middle = 0.5 * (a + b);
      if (!(middle > a && middle < b)) return b;
      (((*this)(middle) > 0) == positive ? a : b) = middle;
    }
  }

  /// The extremum between a and b by golden sections; `sign` 1: a minimum, -1: a maximum.
  double extremum(double a, double b, double sign) const {
    const double golden = 0.5 * (std::sqrt(5.0) - 1);
    double left = b - golden * (b - a), right = a + golden * (b - a);
    double at_left = sign * (*this)(left), at_right = sign * (*this)(right);
    for (int i = 0; i < 80 && right > left; ++i) {
      if (at_left < at_right) {
        b = right;
        right = left;
        at_right = at_left;
        left = b - golden * (b - a);
        at_left = sign * (*this)(left);
      } else {
        a = left;
        left = right;
        at_left = at_right;
        right = a + golden * (b - a);
        at_right = sign * (*this)(right);
      }
    }
    return 0.5 * (a + b);
  }

 private:
  const kernels::Program& program_;
  int result_;
  std::span<const double> parameters_;
  mutable kernels::TermValues values_;
};

void sort_unique(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

std::vector<double> uniform(double duration, int intervals) {
  std::vector<double> t;
  for (int i = 0; i <= intervals; ++i) t.push_back(duration * i / intervals);
  return t;
}

/// The terms and walls of a PDE as numbers that depend on time, at a fixed state.
std::vector<std::vector<double>> terms_over_time(const Pde& pde, std::span<const double> parameters,
                                                 std::span<const double> x, std::span<const double> u,
                                                 const std::vector<double>& t) {
  const int m = pde.unknowns();
  const int axes = pde.axes();
  const auto rows_of_x = axes + static_cast<int>(pde.fields().size());
  const auto places = static_cast<long>(x.size()) / rows_of_x, points = places * static_cast<long>(t.size());
  // Values and slopes apart from zero, so that a coefficient that varies shows.
  const int fields = pde.term_fields();
  std::vector<double> arguments(kernels::flux_arguments(axes, fields) * points), at_x(rows_of_x * points),
      at_t(points);
  for (int a = 0; a < fields; ++a) {
    const double size = a < m && pde.size(a) > 0 ? pde.size(a) : 1;
    for (long p = 0; p < points; ++p) {
      arguments[a * points + p] = (a < m ? u[(p % places) * m + a] : 0) + 0.37 * size;
      for (int axis = 0; axis < axes; ++axis)
        arguments[((1 + axis) * fields + a) * points + p] = size / pde.length(axis);
      if (axes == 1) arguments[(2 * fields + a) * points + p] = size / (pde.length(0) * pde.length(0));
    }
  }
  for (long p = 0; p < points; ++p) {
    for (int row = 0; row < rows_of_x; ++row) at_x[row * points + p] = x[row * places + p % places];
    at_t[p] = t[p / places];
  }
  std::vector<std::vector<double>> rows;
  const auto take = [&](const kernels::TermValues& values) {
    for (int a = 0; a < m; ++a)
      for (long i = 0; i < places; ++i) {
        std::vector<double>& row = rows.emplace_back();
        for (size_t j = 0; j < t.size(); ++j) row.push_back(values.at(a)[static_cast<long>(j) * places + i]);
      }
  };
  const kernels::TermPoints at{points, arguments, at_x, at_t, parameters, {}};
  kernels::TermValues values;
  for (int axis = 0; axis < axes; ++axis) {
    pde.flux(axis, at, 0, values);
    take(values);
  }
  if (pde.has_source()) {
    const kernels::TermPoints of_source{
        points, std::span(arguments).first(fields * points), at_x, at_t, parameters, {}};
    pde.source(of_source, 0, values);
    take(values);
  }
  for (int axis = 0; axis < axes; ++axis)
    for (const Side side : {Side::left, Side::right})
      for (int a = 0; a < m && !pde.periodic(axis); ++a)
        for (const Place& place : wall_places(pde, {axis, side})) {
          const size_t first = rows.size();
          rows.resize(first + 3);
          for (const double time : t) {
            const WallCondition wall = pde.wall({axis, side}, a, place, time, parameters, {});
            rows[first].push_back(wall.value_factor);
            rows[first + 1].push_back(wall.slope_factor);
            rows[first + 2].push_back(wall.target);
          }
        }
  return rows;
}

}  // namespace

std::vector<double> event_times(std::span<const kernels::Program> programs,
                                std::span<const double> parameters, double duration) {
  constexpr int intervals = 2048;
  std::vector<double> grid = uniform(duration, intervals), events;
  for (const kernels::Program& program : programs)
    for (int r = 0; r < program.results(); ++r) {
      const EventFunction h(program, r, parameters);
      const std::vector<double> values = h(grid);
      std::vector<double> found;
      const auto crossing = [&](double a, double b) { found.push_back(h.root(a, b)); };
      for (size_t i = 0; i + 1 < grid.size(); ++i) {
        const double now = values[i], next = values[i + 1];
        if (now == 0 && (next != 0 || (i > 0 && values[i - 1] != 0))) found.push_back(grid[i]);
        if (now * next < 0) crossing(grid[i], grid[i + 1]);
        if (i == 0) continue;
        const double before = values[i - 1], rise = now - before, fall = next - now;
        if (!(rise * fall < 0)) continue;
        const double extreme = h.extremum(grid[i - 1], grid[i + 1], rise < 0 ? 1 : -1);
        found.push_back(extreme);
        if (h(extreme) * now < 0 && before * now > 0 && next * now > 0) {
          crossing(grid[i - 1], extreme);
          crossing(extreme, grid[i + 1]);
        }
      }
      events.insert(events.end(), found.begin(), found.end());
      grid.insert(grid.end(), found.begin(), found.end());
      sort_unique(grid);
    }
  sort_unique(events);
  std::erase_if(events, [&](double t) { return !(t > 0 && t < duration); });
  return events;
}

std::vector<double> time_stops(const Pde& pde, std::span<const double> parameters, std::span<const double> x,
                               std::span<const double> u) {
  if (pde.autonomous()) return {};
  constexpr int intervals = 4096;
  constexpr double part = 0.125;  // of a term's range, between two stops
  const double duration = pde.duration(), far = duration / 64;
  const std::vector<double> events = pde.time_events(parameters);
  std::vector<double> stops, grid = uniform(duration, intervals);
  // Fine about the events: what turns there may do so within any time.
  for (const double event : events) {
    grid.push_back(event);
    for (double away = duration / intervals; away > 1e-13 * duration; away /= 2) {
      grid.push_back(event - away);
      grid.push_back(event + away);
    }
  }
  std::erase_if(grid, [&](double t) { return !(t >= 0 && t <= duration); });
  sort_unique(grid);
  std::vector<double> varies(grid.size(), 0.0);  // to the next time, as a share of the range
  for (const std::vector<double>& row : terms_over_time(pde, parameters, x, u, grid)) {
    const auto [least, most] = std::minmax_element(row.begin(), row.end());
    const double range = *most - *least, largest = std::max(std::abs(*least), std::abs(*most));
    if (!(range > 1e-9 * largest)) continue;  // constant but for rounding, or not finite
    for (size_t k = 0; k + 1 < row.size(); ++k)
      varies[k] = std::max(varies[k], std::abs(row[k + 1] - row[k]) / range);
  }
  double since = 0;
  size_t last = 0;
  for (size_t k = 0; k + 1 < grid.size(); ++k) {
    // A stop where the variation begins, and at each part of it.
    const bool quiet = since + varies[k] < part;
    if (!quiet) {
      const bool at_once = varies[k] >= part;
      if (at_once && grid[k + 1] - grid[k] < far) stops.push_back(grid[k]);
      if (grid[k + 1] - grid[last] < far || at_once) stops.push_back(grid[k + 1]);
      last = k + 1;
      since = 0;
    } else {
      since += varies[k];
    }
  }
  // What varies within a billionth of the duration about an event is the event.
  std::vector<double> all = events;
  for (const double t : stops) {
    const auto next = std::lower_bound(events.begin(), events.end(), t);
    const bool near = (next != events.end() && *next - t < 1e-9 * duration) ||
                      (next != events.begin() && t - *std::prev(next) < 1e-9 * duration);
    if (!near) all.push_back(t);
  }
  sort_unique(all);
  std::vector<double> apart;  // by more than the rounding errors of time
  for (const double t : all)
    if (t > 0 && t < duration && (apart.empty() || t - apart.back() > 1e-13 * duration)) apart.push_back(t);
  return apart;
}

}  // namespace rankine
