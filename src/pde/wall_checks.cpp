#include "src/pde/wall_checks.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/error.hpp"
#include "src/core/random.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

using kernels::TermPoints;
using kernels::TermValues;

constexpr int trial_count = 16, trial_points = 32, moments = 1001;

const char* name_of(Side side) { return side == Side::left ? "left" : "right"; }

double end_of(const Pde& pde, Side side) { return side == Side::left ? 0 : pde.length(0); }

/// A sample as it may be drawn.
struct Trial {
  std::vector<double> parameters, numbers;
};

std::vector<Trial> draw_trials(const Pde& pde) {
  const RandomStream stream(0, "trial walls");
  const std::vector<PdeParameter> parameters = pde.parameters();
  std::vector<Trial> trials;
  const auto add = [&](const auto& share) {
    Trial trial;
    for (size_t p = 0; p < parameters.size(); ++p) trial.parameters.push_back(parameters[p].at(share(p)));
    long redrawn = 0;
    trial.numbers = pde.draw_initial(stream, static_cast<long>(trials.size()), redrawn);
    trials.push_back(std::move(trial));
  };
  for (int s = 0; s < trial_count; ++s)
    add([&](size_t p) { return stream.uniform(1000, s, static_cast<std::int64_t>(p)); });
  for (size_t sampled = 0; sampled < parameters.size(); ++sampled)
    for (const double end : {0.0, 1.0})
      if (parameters[sampled].sampled) add([&](size_t p) { return p == sampled ? end : 0.5; });
  return trials;
}

/// Equally spaced, and between the events of terms and walls, however near to each other these are; 0 alone
/// where nothing depends on time.
std::vector<double> moments_of(const Pde& pde, const Trial& trial) {
  std::vector<double> times{0};
  if (pde.autonomous()) return times;
  for (int j = 1; j < moments; ++j) times.push_back(pde.duration() * j / (moments - 1));
  double before = 0;
  for (const double event : pde.time_events(trial.parameters)) {
    times.push_back(event);
    times.push_back(0.5 * (before + event));
    before = event;
  }
  std::sort(times.begin(), times.end());
  return times;
}

/// Initial state at points: [point][unknown].
std::vector<double> state_at(const Pde& pde, const Trial& trial, const std::vector<double>& x) {
  std::vector<double> out(x.size() * pde.unknowns());
  pde.initial_state(trial.numbers, trial.parameters, x, out);
  return out;
}

/// Terms at points that have an x and a t of their own.
struct Points {
  std::vector<double> arguments, x, t;  // arguments: [argument][point]; x: [row][point]
  long size() const { return static_cast<long>(t.size()); }
  /// The coefficient fields of the sample, behind the positions.
  void add_fields(const Pde& pde, const Trial& trial) {
    x = with_fields(pde, trial.numbers, trial.parameters, std::move(x));
  }
  TermPoints view(const Trial& trial) const { return {size(), arguments, x, t, trial.parameters, {}}; }
};

/// u, u_x and u_xx of an initial state at `trial_points` places, as the flux reads them; auxiliary fields, which
/// only their equation gives, are of order one.
std::vector<double> arguments_of(const Pde& pde, const Trial& trial) {
  const int m = pde.unknowns(), rows = pde.term_fields();
  const double dx = pde.length(0) / trial_points;
  std::vector<double> x;
  for (int i = 0; i < trial_points; ++i)
    for (const double shift : {-0.25, 0.0, 0.25}) x.push_back((i + 0.5 + shift) * dx);
  const std::vector<double> u = state_at(pde, trial, x);
  std::vector<double> out(static_cast<size_t>(3 * rows * trial_points), 0.5);
  const double h = 0.25 * dx;
  for (int k = 0; k < m; ++k)
    for (int i = 0; i < trial_points; ++i) {
      const double before = u[(3 * i) * m + k], value = u[(3 * i + 1) * m + k],
                   after = u[(3 * i + 2) * m + k];
      out[k * trial_points + i] = value;
      out[(rows + k) * trial_points + i] = (after - before) / (2 * h);
      out[(2 * rows + k) * trial_points + i] = (after - 2 * value + before) / (h * h);
    }
  return out;
}

using Term = std::function<void(const TermPoints&, int, TermValues&)>;

/// The condition's place in the deck.
[[noreturn]] void wall_error(const Pde& pde, const DeckNode& node, const Face& face, int unknown,
                             const std::string& message) {
  if (!node.has("walls") || !node.child("walls").is_mapping()) node.error_at("walls", message);
  DeckNode place = node.child("walls");
  for (const std::string& key : {face_name(face), pde.symbol(unknown)}) {
    if (!place.is_mapping() || !place.has(key) ||
        (key == pde.symbol(unknown) && !place.child(key).is_mapping()))
      break;
    place = place.child(key);
  }
  place.error(message);
}

// -----------------------------------------------------------------------------------------------------------
// Finite at the ends, and a ring that closes

/// Throws where the flux at an end is not finite for the states next to it.
void check_ends(const Pde& pde, const DeckNode& node, const Trial& trial) {
  const int rows = pde.term_fields();
  const std::vector<double> all = arguments_of(pde, trial);
  for (const Side side : {Side::left, Side::right}) {
    Points at;
    for (int a = 0; a < 3 * rows; ++a)
      at.arguments.push_back(all[a * trial_points + (side == Side::left ? 0 : trial_points - 1)]);
    at.x = {end_of(pde, side)};
    at.t = {0};
    at.add_fields(pde, trial);
    TermValues flux;
    pde.flux(0, at.view(trial), 1, flux);
    const auto bad = [](double v) { return !std::isfinite(v); };
    if (std::none_of(flux.value.begin(), flux.value.end(), bad) &&
        std::none_of(flux.gradient.begin(), flux.gradient.end(), bad))
      continue;
    const std::string why = pde.explain("flux", at.view(trial), 0);
    node.error_at("flux", "the flux is not finite with its derivatives at the " + std::string(name_of(side)) +
                              " end (x = " + shortest(at.x[0]) + ", " + pde.symbol(0) + " = " +
                              shortest(at.arguments[0]) + ", t = 0)" + (why.empty() ? "" : ": " + why) +
                              "; faces stand there, so write it finite from 0 to the length " +
                              shortest(pde.length(0)));
  }
}

/// Whether two ends differ, given all values from one end to the other.
bool ends_differ(double first, double last, double least, double most) {
  const double size = std::max(std::abs(least), std::abs(most));
  return std::abs(first - last) > 1e-3 * (most - least) + 1e-12 * size;
}

void check_ring_term(const Pde& pde, const DeckNode& node, const Trial& trial,
                     const std::vector<double>& times, const Term& term, const std::string& name) {
  const int m = pde.unknowns();
  // States, and states further out: a term that starts as 0 has its ends, too.
  const std::vector<double> of_state = arguments_of(pde, trial);
  std::vector<double> shift(m, 1.0);
  for (int k = 0; k < m; ++k) {
    double largest = 0;
    for (int i = 0; i < trial_points; ++i)
      largest = std::max(largest, std::abs(of_state[k * trial_points + i]));
    if (largest > 0) shift[k] = largest;
  }
  constexpr int places = 33;
  const long count = 3L * trial_points;
  std::vector<double> arguments;
  const int rows = pde.term_fields();
  for (int a = 0; a < 3 * rows; ++a)
    for (const double share : {0.0, -0.7, 0.7})
      for (int i = 0; i < trial_points; ++i)
        arguments.push_back(of_state[a * trial_points + i] + share * (a % rows < m ? shift[a % rows] : 1.0));
  std::vector<Points> points(places);
  for (int j = 0; j < places; ++j) {
    points[j].arguments = arguments;
    points[j].x.assign(count, pde.length(0) * j / (places - 1));
    points[j].add_fields(pde, trial);
  }
  std::vector<TermValues> at(places);
  for (const double t : times) {
    for (int j = 0; j < places; ++j) {
      points[j].t.assign(count, t);
      term(points[j].view(trial), 1, at[j]);
    }
    const auto compare = [&](const auto& value_of, long index, const std::string& what) {
      const double first = value_of(at.front())[index], last = value_of(at.back())[index];
      if (!std::isfinite(first) || !std::isfinite(last)) return;  // beyond the states that occur
      double least = first, most = first;
      for (const TermValues& v : at) {
        if (!std::isfinite(value_of(v)[index])) continue;
        least = std::min(least, value_of(v)[index]);
        most = std::max(most, value_of(v)[index]);
      }
      if (!ends_differ(first, last, least, most)) return;
      const long point = index % count;
      std::string state;
      for (int k = 0; k < m; ++k)
        state += pde.symbol(k) + " = " + shortest(arguments[k * count + point]) + ", ";
      node.error_at(
          name, what + " is " + shortest(first) + " at x = 0 and " + shortest(last) +
                    " at x = " + shortest(pde.length(0)) + " (" + state + "t = " + shortest(t) +
                    "), but with walls: periodic these are one point; write it so that both ends agree, for "
                    "example with sin(2*pi*x/length), move a jump inside, or give walls {left, right}");
    };
    for (long i = 0; i < static_cast<long>(at.front().value.size()); ++i)
      compare([](const TermValues& v) -> const std::vector<double>& { return v.value; }, i, "the " + name);
    for (long i = 0; i < static_cast<long>(at.front().gradient.size()); ++i)
      compare([](const TermValues& v) -> const std::vector<double>& { return v.gradient; }, i,
              "a derivative of the " + name);
  }
}

void check_ring(const Pde& pde, const DeckNode& node, const std::vector<Trial>& trials) {
  constexpr int places = 257;
  std::vector<double> x;
  for (int j = 0; j < places; ++j) x.push_back(pde.length(0) * j / (places - 1));
  const int m = pde.unknowns();
  for (const Trial& trial : trials) {
    const std::vector<double> u = state_at(pde, trial, x);
    for (int k = 0; k < m; ++k) {
      double least = u[k], most = u[k];
      for (int j = 0; j < places; ++j) {
        least = std::min(least, u[j * m + k]);
        most = std::max(most, u[j * m + k]);
      }
      const double first = u[k], last = u[(places - 1) * m + k];
      if (ends_differ(first, last, least, most))
        node.error_at("initial",
                      "the initial state of '" + pde.symbol(k) + "' is " + shortest(first) +
                          " at x = 0 and " + shortest(last) + " at x = " + shortest(pde.length(0)) +
                          ", but with walls: periodic these are one point; write an expression whose ends "
                          "agree, for example with sin(2*pi*x/length), or give walls {left, right}");
    }
  }
  std::vector<double> few{0};
  if (!pde.autonomous())
    for (int j = 1; j <= 16; ++j) few.push_back(pde.duration() * j / 16);
  for (size_t s = 0; s < trials.size(); ++s) {
    // The whole course of time for one sample.
    const std::vector<double> times = s == 0 ? moments_of(pde, trials[s]) : few;
    const Term flux = [&](const TermPoints& at, int order, TermValues& out) { pde.flux(0, at, order, out); };
    const Term source = [&](const TermPoints& at, int order, TermValues& out) { pde.source(at, order, out); };
    check_ring_term(pde, node, trials[s], times, flux, "flux");
    if (pde.has_source()) check_ring_term(pde, node, trials[s], times, source, "source");
  }
}

/// The same on a box: along each periodic axis, on lines across it, initial state, fields and terms agree at both
/// ends.
void check_periodic_axes(const Pde& pde, const DeckNode& node, const Trial& trial) {
  constexpr int places = 65;
  const int m = pde.unknowns(), axes = pde.axes();
  const std::vector<std::string> fields = pde.fields();
  double moment = 0;
  const auto compare = [&](int axis, const Place& line, auto&& value, const std::string& key,
                           const std::string& what) {
    double least = value(0), most = value(0);
    for (int j = 0; j < places; ++j) {
      if (!std::isfinite(value(j))) return;
      least = std::min(least, value(j));
      most = std::max(most, value(j));
    }
    const double first = value(0), last = value(places - 1);
    if (!ends_differ(first, last, least, most)) return;
    const std::string x(1, space_name(axis));
    std::string others;
    for (int other = 0; other < axes; ++other)
      if (other != axis) others += std::string(1, space_name(other)) + " = " + shortest(line[other]) + ", ";
    node.error_at(
        key, what + " is " + shortest(first) + " at " + x + " = 0 and " + shortest(last) + " at " + x +
                 " = " + shortest(pde.length(axis)) + " (" + others + "t = " + shortest(moment) +
                 "), but the axis " + x +
                 " is periodic, so that these are one point; write it so that both ends agree, for example "
                 "with sin(2*pi*" +
                 x + "/length_" + x + "), move a jump inside, or give walls " +
                 face_name({axis, Side::left}) + " and " + face_name({axis, Side::right}));
  };
  for (int axis = 0; axis < axes; ++axis)
    for (const double share : {0.29, 0.77}) {
      if (!pde.periodic(axis)) continue;
      Place line{};
      Points points;
      for (int other = 0; other < axes; ++other) {
        line[other] = share * pde.length(other);
        for (int j = 0; j < places; ++j)
          points.x.push_back(other == axis ? pde.length(axis) * j / (places - 1) : line[other]);
      }
      moment = 0;
      points.t.assign(places, moment);
      std::vector<double> u(places * m);
      pde.initial_state(trial.numbers, trial.parameters, points.x, u);
      for (int k = 0; k < m; ++k)
        compare(
            axis, line, [&](int j) { return u[j * m + k]; }, "initial",
            "the initial state of '" + pde.symbol(k) + "'");
      points.add_fields(pde, trial);
      for (size_t k = 0; k < fields.size(); ++k)
        compare(
            axis, line, [&](int j) { return points.x[(axes + k) * places + j]; }, "fields",
            "the field '" + fields[k] + "'");
      // One state all along the line, with slopes.
      const int rows = pde.term_fields();
      points.arguments.resize(static_cast<size_t>(kernels::flux_arguments(axes, rows) * places));
      for (int a = 0; a < kernels::flux_arguments(axes, rows); ++a) {
        const int k = a % rows;
        const double size = k < m && pde.size(k) > 0 ? pde.size(k) : 1;
        std::fill_n(&points.arguments[a * places], places,
                    a < rows ? (k < m ? u[places / 2 * m + k] : 0) + 0.37 * size
                             : size / pde.length(std::min(a / rows, axes) - 1));
      }
      const int moments_here = pde.autonomous() ? 1 : 17;
      for (int round = 0; round < moments_here * (axes + 1); ++round) {
        const int term = round % (axes + 1);
        if (term == axes && !pde.has_source()) continue;
        moment = pde.duration() * (round / (axes + 1)) / 16;
        points.t.assign(places, moment);
        TermValues values;
        if (term < axes) {
          pde.flux(term, points.view(trial), 0, values);
        } else {
          pde.source(points.view(trial), 0, values);
        }
        for (int k = 0; k < m; ++k)
          compare(
              axis, line, [&](int j) { return values.at(k)[j]; }, term < axes ? "flux" : "source",
              term < axes ? std::string("the flux along ") + space_name(term) : "the source");
      }
    }
}

// -----------------------------------------------------------------------------------------------------------
// Conditions on a grid

std::string condition_text(const Pde& pde, int axis, int unknown, const WallCondition& c) {
  const std::string u = pde.symbol(unknown);
  return shortest(c.value_factor) + " " + u + " + " + shortest(c.slope_factor) + " " + u + "_" +
         space_name(axis) + " = " + shortest(c.target);
}

void check_condition(const Pde& pde, const DeckNode& node, const Face& face, int unknown, double t,
                     const WallCondition& c, std::span<const Grid> grids) {
  const std::string where = "the " + face_name(face) + " wall of '" + pde.symbol(unknown) +
                            "' at t = " + shortest(t) + ", " + condition_text(pde, face.axis, unknown, c) +
                            ", ";
  const double length = pde.length(face.axis);
  const bool left = face.side == Side::left;
  if (!std::isfinite(c.value_factor) || !std::isfinite(c.slope_factor) || !std::isfinite(c.target) ||
      !std::isfinite(c.outside))
    wall_error(pde, node, face, unknown,
               where + "is not finite; write it so that it is finite from 0 to " + shortest(pde.duration()));
  if (c.outside < 0 || c.outside > length)
    wall_error(pde, node, face, unknown,
               where + "stands " + shortest(c.outside) + " outside; allowed: from 0 to the length " +
                   shortest(length));
  if (c.value_factor == 0 && c.slope_factor == 0)
    wall_error(pde, node, face, unknown, where + "says nothing: both factors are 0; give one at all times");
  for (const Grid& grid : grids) {
    const int n = grid.cells(face.axis);
    // The denominator of the ghost value, see SpatialOperator::ghosts().
    const double h = length / n / 2 + c.outside, pull = (left ? -1 : 1) * c.slope_factor / h;
    const double ghost = c.target / (c.value_factor + pull);
    if (!std::isfinite(ghost) && c.value_factor + pull != 0)
      wall_error(pde, node, face, unknown,
                 where + "asks for the value " + shortest(ghost) + " on a grid of " + std::to_string(n) +
                     " cells; write it in numbers of common size");
    // Opposite signs feed u by itself, du/dn = |a / b| u, which a grid resolves where h is below |b / a|.
    if (c.value_factor * pull >= 0 || std::abs(c.value_factor) < 0.9 * std::abs(pull)) continue;
    const double reach = std::abs(c.slope_factor / c.value_factor);
    const auto needed = static_cast<long>(std::ceil(length / (2 * 0.5 * reach)));
    wall_error(
        pde, node, face, unknown,
        where + "is singular or has the wrong sign on a grid of " + std::to_string(n) +
            " cells: with the wall " + shortest(h) +
            " from the outermost centre its ghost value divides by " + shortest(c.value_factor) +
            (pull < 0 ? " - " : " + ") + shortest(std::abs(pull)) + " = " + shortest(c.value_factor + pull) +
            "; where the wall takes away what is there, the factors of u and u_" + space_name(face.axis) +
            " have " + (left ? "opposite signs at the " : "the same sign at the ") + face_name(face) +
            (c.outside == 0
                 ? ", and where it feeds it, the grid must resolve the distance " + shortest(reach) +
                       ": give more cells (all of pde.data_cells, grid.cells and half of them above " +
                       std::to_string(needed) + ")"
                 : std::string(", and where it feeds it, the condition must stand nearer to the edge")));
  }
}

/// The one factor of a condition that has no other; NaN for both.
double only_factor(const WallCondition& c) {
  if (c.slope_factor == 0) return c.value_factor;
  return c.value_factor == 0 ? c.slope_factor : std::nan("");
}

/// All conditions of a wall over time. A factor that passes through 0 between two moments is small at one of
/// them; one that jumps to the other sign is not.
void check_conditions(const Pde& pde, const DeckNode& node, const Face& face, int unknown, const Place& at,
                      const Trial& trial, const std::vector<double>& times, std::span<const Grid> grids) {
  std::vector<double> factors;
  double largest = 0;
  for (const double t : times) {
    const WallCondition c = pde.wall(face, unknown, at, t, trial.parameters, {});
    check_condition(pde, node, face, unknown, t, c, grids);
    factors.push_back(only_factor(c));
    if (!std::isnan(factors.back())) largest = std::max(largest, std::abs(factors.back()));
  }
  for (size_t j = 1; j < times.size(); ++j) {
    const double before = factors[j - 1], after = factors[j];
    if (!(before * after < 0) || std::min(std::abs(before), std::abs(after)) > 0.01 * largest) continue;
    wall_error(pde, node, face, unknown,
               "the " + face_name(face) + " wall of '" + pde.symbol(unknown) +
                   "' says nothing between t = " + shortest(times[j - 1]) + " and " + shortest(times[j]) +
                   ", where its only factor goes from " + shortest(before) + " through 0 to " +
                   shortest(after) + "; keep it away from 0");
  }
}

// -----------------------------------------------------------------------------------------------------------
// Characteristics

/// Sign changes in the coefficients of det(lambda - a), which is the number of positive eigenvalues where all
/// are real (Descartes); the coefficients by Faddeev and LeVerrier. `a` is m x m.
int positive_eigenvalues(const std::vector<double>& a, int m) {
  double size = 0;
  for (const double v : a) size = std::max(size, std::abs(v));
  if (size == 0) return 0;
  std::vector<double> scaled(a), power(a.size(), 0.0);
  for (double& v : scaled) v /= size;
  double coefficient = 1;
  int changes = 0, sign = 1;
  for (int k = 1; k <= m; ++k) {
    // power = scaled (power + coefficient I)
    std::vector<double> next(a.size(), 0.0);
    for (int i = 0; i < m; ++i) power[i * m + i] += coefficient;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < m; ++j)
        for (int l = 0; l < m; ++l) next[i * m + j] += scaled[i * m + l] * power[l * m + j];
    power = next;
    double trace = 0;
    for (int i = 0; i < m; ++i) trace += power[i * m + i];
    coefficient = -trace / k;
    if (std::abs(coefficient) < 1e-12) continue;
    if ((coefficient > 0 ? 1 : -1) != sign) ++changes;
    sign = coefficient > 0 ? 1 : -1;
  }
  return changes;
}

std::vector<int> convective_unknowns(const Pde& pde) {
  std::vector<int> out;
  for (int k = 0; k < pde.unknowns(); ++k)
    if (pde.convective(k)) out.push_back(k);
  return out;
}

/// Largest |dF_a/du_b| of the block at a state u [unknown], over places inside the domain.
double largest_speed_inside(const Pde& pde, const Trial& trial, const std::vector<int>& block, double t,
                            const std::vector<double>& u) {
  constexpr int places = 16;
  const auto m = u.size();
  Points at;
  at.arguments.assign(3 * m * places, 0.0);
  for (int i = 0; i < places; ++i) {
    at.x.push_back(pde.length(0) * (i + 0.5) / places);
    at.t.push_back(t);
    for (size_t a = 0; a < m; ++a) at.arguments[a * places + static_cast<size_t>(i)] = u[a];
  }
  at.add_fields(pde, trial);
  TermValues flux;
  pde.flux(0, at.view(trial), 1, flux);
  double largest = 0;
  for (const int a : block)
    for (const int b : block)
      for (int i = 0; i < places; ++i)
        if (std::isfinite(flux.by(a, b)[i])) largest = std::max(largest, std::abs(flux.by(a, b)[i]));
  return largest;
}

/// Of the characteristics of `block` at a state u [unknown], how many leave through the wall; -1 where
/// storage ties the block to other unknowns, or something is not finite.
int leaving(const Pde& pde, const Trial& trial, const std::vector<int>& block, Side side, double t,
            const std::vector<double>& u, bool& linear) {
  const int m = pde.unknowns(), n = static_cast<int>(block.size());
  Points at;
  at.arguments = u;
  at.arguments.resize(static_cast<size_t>(3 * m), 0.0);
  at.x = {end_of(pde, side)};
  at.t = {t};
  at.add_fields(pde, trial);
  TermValues flux, storage;
  pde.flux(0, at.view(trial), 2, flux);
  pde.storage({1, u, at.x, at.t, trial.parameters, {}}, 1, storage);
  std::vector<double> a(static_cast<size_t>(n * n)), s(a.size());
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < m; ++j) {
      const bool inside = std::find(block.begin(), block.end(), j) != block.end();
      if (!inside && (storage.by(block[i], j)[0] != 0 || storage.by(j, block[i])[0] != 0)) return -1;
    }
    for (int j = 0; j < n; ++j) {
      a[i * n + j] = (side == Side::left ? -1 : 1) * flux.by(block[i], block[j])[0];
      s[i * n + j] = storage.by(block[i], block[j])[0];
      for (int k = 0; k < m; ++k) linear = linear && flux.by(block[i], block[j], k)[0] == 0;
    }
  }
  double largest = 0;
  for (const double v : a) {
    if (!std::isfinite(v)) return -1;
    largest = std::max(largest, std::abs(v));
  }
  // A speed that vanishes at the wall does so up to rounding.
  constexpr double rounding = 1e-12;
  if (largest <= rounding * largest_speed_inside(pde, trial, block, t, u)) return 0;
  // a <- s^-1 a by elimination with pivots.
  for (int k = 0; k < n; ++k) {
    int pivot = k;
    for (int i = k + 1; i < n; ++i)
      if (std::abs(s[i * n + k]) > std::abs(s[pivot * n + k])) pivot = i;
    if (!(std::abs(s[pivot * n + k]) > 0)) return -1;
    for (int j = 0; j < n; ++j) {
      std::swap(s[k * n + j], s[pivot * n + j]);
      std::swap(a[k * n + j], a[pivot * n + j]);
    }
    for (int i = 0; i < n; ++i) {
      if (i == k) continue;
      const double factor = s[i * n + k] / s[k * n + k];
      for (int j = 0; j < n; ++j) {
        s[i * n + j] -= factor * s[k * n + j];
        a[i * n + j] -= factor * a[k * n + j];
      }
    }
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) a[i * n + j] /= s[i * n + i];
  return positive_eigenvalues(a, n);
}

bool is_value(const WallCondition& c) { return c.slope_factor == 0; }

const char* outflow_remedy =
    "nothing can be held where it only leaves, and the value would send a wave back; give slope: 0 there (a "
    "wall that changes its kind: {u: if(..., 1, 0), u_x: if(..., 0, 1), value: ...})";

void check_characteristics(const Pde& pde, const DeckNode& node, const Trial& trial, Side side,
                           const std::vector<double>& times) {
  const std::vector<int> block = convective_unknowns(pde);
  if (block.empty()) return;
  const int n = static_cast<int>(block.size());
  const std::vector<double> initial = state_at(pde, trial, {end_of(pde, side)});
  for (const double t : times) {
    std::vector<double> held(initial);
    int values = 0, last = -1;
    for (const int k : block) {
      const WallCondition c = pde.wall({0, side}, k, {}, t, trial.parameters, {});
      if (!is_value(c)) continue;
      held[k] = c.target / c.value_factor;
      last = k;
      ++values;
    }
    if (values == 0) continue;
    bool linear = true;
    const int at_start = leaving(pde, trial, block, side, t, initial, linear),
              at_value = leaving(pde, trial, block, side, t, held, linear);
    if (t > 0 && !linear) return;
    const int out = std::min(at_start, at_value);
    if (out < 0 || values <= n - out) continue;
    std::string what = "a value is held at the " + std::string(name_of(side)) + " wall of '" +
                       pde.symbol(last) + "', where all characteristics leave the domain";
    if (n > 1)
      what = std::to_string(values) + " values are held at the " + name_of(side) + " wall, where " +
             std::to_string(out) + " of the " + std::to_string(n) +
             " characteristics leave the domain, so that " + std::to_string(n - out) + " may be held";
    wall_error(pde, node, {0, side}, last, what + " (t = " + shortest(t) + "): " + outflow_remedy);
  }
}

}  // namespace

void check_walls(const Pde& pde, const DeckNode& node, std::span<const Grid> grids) {
  const std::vector<Trial> trials = draw_trials(pde);
  for (const Trial& trial : trials) {
    const std::vector<double> times = moments_of(pde, trial);
    for (int axis = 0; axis < pde.axes() && pde.axes() > 1; ++axis)
      for (const Side side : {Side::left, Side::right})
        for (int k = 0; k < pde.unknowns() && !pde.periodic(axis); ++k)
          for (const Place& at : wall_places(pde, {axis, side}))
            check_conditions(pde, node, {axis, side}, k, at, trial, times, grids);
  }
  if (pde.axes() > 1) {
    for (const Trial& trial : trials) check_periodic_axes(pde, node, trial);
    return;
  }
  for (const Trial& trial : trials) check_ends(pde, node, trial);
  if (pde.periodic(0)) {
    check_ring(pde, node, trials);
    return;
  }
  for (const Trial& trial : trials) {
    const std::vector<double> times = moments_of(pde, trial);
    for (const Side side : {Side::left, Side::right}) {
      for (int k = 0; k < pde.unknowns(); ++k)
        check_conditions(pde, node, {0, side}, k, {}, trial, times, grids);
      check_characteristics(pde, node, trial, side, times);
    }
  }
}

void check_outflow(const Pde& pde, std::span<const double> parameters, std::span<const double> solution,
                   const Grid& grid, std::span<const double> times) {
  // The numbers of the sample's coefficient fields are not known here.
  if (pde.axes() > 1 || pde.periodic(0) || !pde.fields().empty()) return;
  const int m = pde.unknowns(), cells = grid.cells();
  const Trial trial{{parameters.begin(), parameters.end()}, {}};
  for (const int k : convective_unknowns(pde)) {
    double least = solution[k], most = solution[k];
    for (size_t p = k; p < solution.size(); p += m) {
      least = std::min(least, solution[p]);
      most = std::max(most, solution[p]);
    }
    if (!(least < most)) continue;
    for (const Side side : {Side::left, Side::right}) {
      for (size_t j = 0; j < times.size(); ++j) {
        const WallCondition c = pde.wall({0, side}, k, {}, times[j], parameters, {});
        if (!is_value(c)) continue;
        const double held = c.target / c.value_factor;
        const double* cell = &solution[(j * cells + (side == Side::left ? 0 : cells - 1)) * m];
        // The flux at the wall for states from the outermost cell's to the value, and over the whole range
        // of states and places: a flux that vanishes at the wall carries nothing out.
        constexpr int steps = 33;
        Points at;
        at.arguments.assign(static_cast<size_t>(3 * m) * 2 * steps, 0.0);
        at.x.assign(2 * steps, end_of(pde, side));
        at.t.assign(2 * steps, times[j]);
        for (int a = 0; a < m; ++a)
          for (int i = 0; i < 2 * steps; ++i) at.arguments[a * 2 * steps + i] = cell[a];
        for (int i = 0; i < steps; ++i) {
          const double share = static_cast<double>(i) / (steps - 1);
          at.arguments[k * 2 * steps + i] = held + share * (cell[k] - held);
          at.arguments[k * 2 * steps + steps + i] = least + share * (most - least);
          at.x[steps + i] = pde.length(0) * (i + 0.5) / steps;
        }
        TermValues flux;
        pde.flux(0, at.view(trial), 1, flux);
        bool alone = true;
        for (int other = 0; other < m; ++other)
          for (int i = 0; i < steps && other != k; ++i) alone = alone && flux.by(k, other)[i] == 0;
        const double* f = flux.at(k);
        if (!alone || !std::all_of(f, f + 2 * steps, [](double v) { return std::isfinite(v); })) continue;
        // Godunov: the least flux between the states where the left one is smaller, else the greatest.
        const double left = side == Side::left ? held : cell[k], right = side == Side::left ? cell[k] : held;
        const double at_wall =
            left <= right ? *std::min_element(f, f + steps) : *std::max_element(f, f + steps);
        const auto [low, high] = std::minmax_element(f + steps, f + 2 * steps);
        if (std::abs(at_wall - f[0]) <= 0.01 * (*high - *low)) continue;
        throw NumericalError("the solution leaves through the " + std::string(name_of(side)) + " wall of '" +
                             pde.symbol(k) + "' at t = " + shortest(times[j]) + " with " + pde.symbol(k) +
                             " = " + shortest(cell[k]) + ", while pde.walls holds the value " +
                             shortest(held) + " there: " + outflow_remedy);
      }
    }
  }
}

}  // namespace rankine
