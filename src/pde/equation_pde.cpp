#include "src/pde/equation_pde.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/core/strings.hpp"
#include "src/pde/time_events.hpp"

namespace rankine {
namespace {

constexpr int trial_states_count = 16, trial_points = 64;

const char* side_name(Side side) { return side == Side::left ? "left" : "right"; }

/// Throws at the value of `key` if it is given, else at the mapping.
[[noreturn]] void error_of(const DeckNode& node, const char* key, const std::string& message) {
  if (node.has(key)) node.child(key).error(message);
  node.error(message);
}

/// Like DeckNode::reject_unread_keys(), for mappings whose values are formulas: a comma inside { } splits
/// them.
void reject_other_keys(const DeckNode& node) {
  for (const std::string& key : node.keys()) {
    if (key.find_first_of("()") != std::string::npos)
      node.error_at(
          key, "'" + printable(key) + "' is no key; inside { } a formula that holds a comma needs quotes");
  }
  node.reject_unread_keys();
}

void need_mapping(const DeckNode& node, const std::string& example) {
  if (!node.is_mapping()) node.error("'" + node.path() + "' is no mapping; write " + example);
}

ExpressionText text_of(const DeckNode& node) {
  if (!node.is_scalar()) node.error("'" + node.path() + "' is no formula; allowed: a number or a formula");
  return {node.as_text(), node.where()};
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos &&
         text.find_first_of("0123456789") != std::string::npos;
}

/// Draws scale by the range, networks divide by it.
void check_span(const DeckNode& node, double minimum, double maximum, bool logarithmic) {
  if (!std::isfinite(logarithmic ? maximum / minimum : maximum - minimum))
    node.error_at("maximum", "the range from " + shortest(minimum) + " to " + shortest(maximum) +
                                 " is wider than a double holds; choose a narrower one");
}

struct SampledOptions {
  double minimum = 0, maximum = 1;
  bool logarithmic = false;
  void options(OptionVisitor& o) {
    o("minimum", minimum, {.help = "smallest value", .required = true});
    o("maximum", maximum, {.help = "largest value", .required = true});
    o("logarithmic", logarithmic, {.help = "draw uniformly in the logarithm"});
  }
  void validate(const DeckNode& node) const {
    if (minimum > maximum)
      node.error_at("minimum", "minimum " + shortest(minimum) + " is above maximum " + shortest(maximum));
    if (logarithmic && minimum <= 0)
      node.error_at("minimum", "minimum is " + shortest(minimum) + "; logarithmic: true needs one above 0");
    check_span(node, minimum, maximum, logarithmic);
  }
};

struct ConstantOptions {
  double minimum = 0, maximum = 1;
  void options(OptionVisitor& o) {
    o("minimum", minimum, {.help = "smallest value", .required = true});
    o("maximum", maximum, {.help = "largest value", .required = true});
  }
  void validate(const DeckNode& node) const {
    if (minimum > maximum)
      node.error_at("minimum", "minimum " + shortest(minimum) + " is above maximum " + shortest(maximum));
    check_span(node, minimum, maximum, false);
  }
};

struct FourierOptions {
  int modes = 4;
  double amplitude = 1, decay = 1, mean = 0;
  void options(OptionVisitor& o) {
    o("modes", modes, {.help = "number of waves", .min = 1, .max = 256});
    o("amplitude", amplitude, {.help = "root mean square of the random part", .min = 0});
    o("decay", decay, {.help = "wave k has weight k^-decay", .min = 0, .max = 20});
    o("mean", mean, {.help = "constant that the waves are added to"});
  }
};

struct FieldOptions {
  double length_scale = 0.1, amplitude = 1, mean = 0;
  void options(OptionVisitor& o) {
    o("length_scale", length_scale,
      {.help = "distance over which the field forgets: covariance amplitude^2 exp(-r^2 / (2 "
               "length_scale^2)); on a periodic domain the sum of this over all r + n length, scaled to "
               "amplitude^2 at r = 0",
       .min = 0,
       .exclusive_min = true});
    o("amplitude", amplitude, {.help = "standard deviation", .min = 0});
    o("mean", mean, {.help = "mean"});
  }
};

double middle(const PdeParameter& p) {
  if (!p.sampled) return p.value;
  return p.logarithmic ? std::sqrt(p.minimum * p.maximum) : 0.5 * (p.minimum + p.maximum);
}

/// Determinant of an m x m matrix, from its LU factorisation as a band matrix that is full.
double determinant(std::span<const double> a, int m) {
  const int reach = m - 1, column = 3 * reach + 1;
  std::vector<double> band(static_cast<size_t>(m * column));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j) band[j * column + 2 * reach + i - j] = a[i * m + j];
  std::vector<int> pivots(m);
  lapack::factor_band(band, m, reach, reach, pivots);
  double result = 1;
  for (int k = 0; k < m; ++k) result *= (pivots[k] == k ? 1 : -1) * band[k * column + 2 * reach];
  return result;
}

}  // namespace

void EquationOptions::options(OptionVisitor& o) {
  o("title", title, {.help = "what messages call the equation"});
  o("length", length, {.help = "extent of the domain, 0 <= x <= length", .min = 0, .exclusive_min = true});
  o("length_unit", length_unit, {.help = "unit of x"});
  o("duration", duration, {.help = "final time, 0 <= t <= duration", .min = 0, .exclusive_min = true});
  o("time_unit", time_unit, {.help = "unit of t"});
  o("unknowns", unknowns,
    {.help = "names of the unknowns", .min_size = 1, .max_size = EquationPde::max_unknowns});
  o("data_cells", data_cells, {.help = "cells of the reference solution", .min = 4});
  o("reference_rtol", reference_rtol,
    {.help = "relative tolerance of the reference solution in time", .min = 1e-12, .max = 1e-2});
  o("reference_steps", reference_steps,
    {.help = "steps in time that a reference solution may take; hundreds are usual", .min = 1});
}

void EquationPde::describe(OptionVisitor& o) {
  EquationOptions options;
  options.options(o);
  std::string none, slope = "slope of the storage at typical_state", state = "mean of the initial states";
  o("labels", none, {.help = "what an unknown is in words, by name: {u: concentration}"});
  o("parameters", none,
    {.help = "by name: a number, a formula of other parameters, or {minimum, maximum, logarithmic} "
             "drawn for each sample"});
  o("functions", none, {.help = "by signature: {\"R(u)\": 1 + u^2}"});
  std::string storage = "the unknown", zero = "0";
  o("storage", storage, {.help = "M in d/dt M + d/dx F = S; a formula, or one by unknown"});
  o("flux", zero, {.help = "F, may hold d(u,x) and, on a periodic domain, d(u,x,x)"});
  o("source", zero, {.help = "S"});
  o("walls", none,
    {.help =
         "periodic, or {left, right} with {value: e}, {slope: e} or {u: a, u_x: b, value: e} (a u + b u_x "
         "= e) and outside: distance beyond the edge where it holds",
     .required = true});
  o("initial", none,
    {.help =
         "random states: constant: {minimum, maximum}, fourier: {modes, amplitude, decay, mean} or "
         "gaussian_random_field: {length_scale, amplitude, mean}; expression: a formula of x, alone or of "
         "the random state",
     .required = true});
  o("typical_slope", slope, {.help = "storage slope that residuals are divided by"});
  o("typical_state", state,
    {.help = "state that the frozen march is linearised at: a number; with several unknowns numbers, as a "
             "list or by unknown {u: 0.5, v: 1}; no formulas"});
  o("exact", none, {.help = "exact solution of x, t and parameters"});
}

bool EquationPde::is_unknown(const std::string& name) const {
  return std::find(options_.unknowns.begin(), options_.unknowns.end(), name) != options_.unknowns.end();
}

EquationPde::EquationPde(const DeckNode& node) {
  options_.options(*node.reader());
  for (const char* key : {"name", "labels", "parameters", "functions", "storage", "flux", "source", "walls",
                          "initial", "typical_state", "typical_slope", "exact"}) {
    static_cast<void>(node.has(key));
  }
  node.reject_unread_keys();
  const Expressions expressions(read_names(node));
  expressions.check();
  check_definitions(expressions);
  read_terms(node, expressions);
  read_walls(node, expressions);
  read_initial(node, expressions);
  if (node.has("exact")) {
    exact_ =
        expressions.compile(read_formulas(node, "exact", "0"), {.what = "exact solution", .unknowns = false});
  }
  const std::vector<Trial> trials = trial_states(node);
  typical_state_.assign(options_.unknowns.size(), 0.0);
  for (size_t k = 0; k < typical_state_.size(); ++k) {
    double sum = 0, largest = 0;
    for (const Trial& trial : trials) {
      for (int i = 0; i < trial_points; ++i) {
        const double u = trial.arguments[k * trial_points + static_cast<size_t>(i)];
        sum += u;
        largest = std::max(largest, std::abs(u));
      }
    }
    // Rounded, so that the rounding errors of states around 0 do not count.
    const double unit = largest / 1000;
    if (unit > 0) typical_state_[k] = std::round(sum / (trial_states_count * trial_points) / unit) * unit;
  }
  read_typical(node);
  check_terms(node, trials);
  measure_sizes(trials);
  std::vector<kernels::Program> terms{flux_, source_};
  terms.insert(terms.end(), walls_.begin(), walls_.end());
  for (const kernels::Program& term : terms)
    if (term.reads_time()) time_events_.push_back(term.time_events());
}

void EquationPde::measure_sizes(const std::vector<Trial>& trials) {
  sizes_.assign(options_.unknowns.size(), 0.0);
  for (int k = 0; k < unknowns(); ++k) {
    double sum = 0;
    for (const Trial& trial : trials)
      for (int i = 0; i < trial_points; ++i) {
        const double u = trial.arguments[static_cast<size_t>(k * trial_points + i)];
        sum += u * u;
      }
    double& size = sizes_[static_cast<size_t>(k)];
    size = std::sqrt(sum / (trial_states_count * trial_points));
    if (periodic(0)) continue;
    constexpr int wall_times = 65;
    for (const Side side : {Side::left, Side::right})
      for (int j = 0; j < wall_times; ++j) {
        const WallCondition c =
            wall({0, side}, k, {}, duration() * j / (wall_times - 1), trials.front().parameters, {});
        const double value = std::abs(c.target / c.value_factor);
        if (c.value_factor != 0 && std::isfinite(value)) size = std::max(size, value);
      }
  }
}

std::vector<double> EquationPde::time_events(std::span<const double> parameters) const {
  return event_times(time_events_, parameters, duration());
}

ExpressionNames EquationPde::read_names(const DeckNode& node) {
  ExpressionNames names;
  names.constants = {{"length", options_.length}, {"duration", options_.duration}};
  std::vector<std::pair<std::string, std::string>> taken{{"length", "length of the domain"},
                                                         {"duration", "duration"}};
  const auto claim = [&](const DeckNode& at, const std::string& key, const std::string& name,
                         const char* what) {
    const std::string fault = Expressions::name_fault(name);
    if (!fault.empty()) at.error_at(key, fault);
    for (const auto& [other, meaning] : taken) {
      if (other == name)
        at.error_at(key, std::string(what) + " '" + name + "': this is already the " + meaning);
    }
    taken.emplace_back(name, what);
  };
  names.unknowns = options_.unknowns;
  for (const std::string& name : names.unknowns) claim(node, "unknowns", name, "unknown");
  labels_ = names.unknowns;
  const DeckNode labels = node.section("labels");
  need_mapping(labels, "{" + names.unknowns.front() + ": what it is in words}");
  for (const std::string& key : labels.keys()) {
    if (!is_unknown(key))
      labels.error_at(key, "label of '" + printable(key) + "', which is no unknown" +
                               did_you_mean(key, names.unknowns) + " (unknowns: " + join(names.unknowns) +
                               ")");
    labels_[std::find(names.unknowns.begin(), names.unknowns.end(), key) - names.unknowns.begin()] =
        labels.child(key).as_text();
  }
  const DeckNode parameters = node.section("parameters");
  need_mapping(parameters, "{D: 0.1}");
  for (const std::string& key : parameters.keys()) {
    claim(parameters, key, key, "parameter");
    const DeckNode value = parameters.child(key);
    if (value.is_mapping()) {
      SampledOptions sampled;
      value.read(sampled);
      PdeParameter p{.name = key,
                     .value = sampled.minimum,
                     .sampled = sampled.minimum < sampled.maximum,  // else the same for all samples
                     .minimum = sampled.minimum,
                     .maximum = sampled.maximum,
                     .logarithmic = sampled.logarithmic};
      p.value = middle(p);
      parameters_.push_back(p);
    } else if (value.is_scalar() && is_number(value.as_text())) {
      parameters_.push_back({.name = key, .value = value.as_number()});
    } else if (value.is_scalar()) {
      names.definitions.emplace_back(key, text_of(value));
    } else {
      value.error("'" + value.path() +
                  "' is no value; allowed: a number, a formula, or {minimum, maximum, logarithmic}");
    }
  }
  for (const PdeParameter& p : parameters_) names.parameters.push_back(p.name);
  const DeckNode functions = node.section("functions");
  need_mapping(functions, "{\"R(u)\": 1 + u^2}");
  for (const std::string& key : functions.keys()) {
    const DeckNode body = functions.child(key);
    names.functions.push_back(Expressions::function({key, body.where()}, text_of(body)));
    claim(functions, key, names.functions.back().name, "function");
  }
  return names;
}

void EquationPde::check_definitions(const Expressions& expressions) const {
  for (const auto& [name, text] : expressions.names().definitions) {
    const kernels::Program program = expressions.compile(
        {text}, {.what = "parameter '" + name + "'", .unknowns = false, .position = false, .time = false});
    for (const double share : {0.5, 0.0, 1.0}) {  // of the range of the parameters that are drawn
      std::vector<double> parameters;
      for (const PdeParameter& p : parameters_) {
        const double end = share < 0.5 ? p.minimum : p.maximum;
        parameters.push_back(share == 0.5 || !p.sampled ? middle(p) : end);
      }
      const std::string fault = program.explain({1, {}, {}, {}, parameters, {}}, 0);
      if (!fault.empty())
        throw InputError(text.where + ": the parameter '" + name + "' is not finite: " + fault);
    }
  }
}

std::vector<ExpressionText> EquationPde::read_formulas(const DeckNode& node, const std::string& key,
                                                       const std::string& fallback,
                                                       std::vector<char>* given) const {
  const std::vector<std::string>& names = options_.unknowns;
  std::vector<ExpressionText> result;
  for (const std::string& name : names) result.push_back({fallback.empty() ? name : fallback, node.where()});
  if (!node.has(key)) return result;
  const DeckNode value = node.child(key);
  if (given != nullptr) given->assign(names.size(), 0);
  const auto set = [&](size_t unknown, const DeckNode& text) {
    result[unknown] = text_of(text);
    if (given != nullptr) (*given)[unknown] = 1;
  };
  const std::string several = "; the unknowns are " + join(names) + ", write {" + names.front() + ": ...}";
  if (value.is_scalar()) {
    if (names.size() > 1)
      value.error(key + ": one formula for " + std::to_string(names.size()) + " unknowns" + several);
    set(0, value);
  } else if (value.is_sequence()) {
    const std::vector<DeckNode> items = value.items();
    if (items.size() != names.size())
      value.error(key + ": " + std::to_string(items.size()) + " formulas for " +
                  std::to_string(names.size()) + (names.size() == 1 ? " unknown" : " unknowns") + several);
    for (size_t i = 0; i < items.size(); ++i) set(i, items[i]);
  } else if (value.is_mapping()) {
    for (const std::string& name : value.keys()) {
      const auto at = std::find(names.begin(), names.end(), name);
      if (at == names.end())
        value.error_at(name, key + " of '" + printable(name) + "', which is no unknown" +
                                 did_you_mean(name, names) + " (unknowns: " + join(names) +
                                 "); inside { } a formula that holds a comma needs quotes");
      set(static_cast<size_t>(at - names.begin()), value.child(name));
    }
  } else {
    value.error(key + " is empty; allowed: a formula, or formulas by unknown");
  }
  return result;
}

void EquationPde::read_terms(const DeckNode& node, const Expressions& expressions) {
  const size_t m = options_.unknowns.size();
  std::vector<char> has_storage(m, 0), has_flux(m, 0), has_source(m, 0);
  const auto storage = read_formulas(node, "storage", "", &has_storage);
  const auto flux = read_formulas(node, "flux", "0", &has_flux);
  const auto source = read_formulas(node, "source", "0", &has_source);
  for (size_t k = 0; k < m; ++k) {
    const std::string& name = options_.unknowns[k];
    if (node.has("storage") && !has_storage[k])
      error_of(
          node, "storage",
          "storage of '" + name + "' is missing: " + std::to_string(m) + " unknowns need as many equations");
    if (!has_storage[k] && !has_flux[k] && !has_source[k])
      error_of(node, "unknowns",
               "unknown '" + name + "' has no equation" +
                   (m > 1 ? ": " + std::to_string(m) + " unknowns need as many" : std::string()) +
                   "; give it a storage, flux or source");
  }
  storage_ = expressions.compile(storage, {.what = "storage", .position = false, .time = false});
  flux_ = expressions.compile(flux, {.what = "flux", .derivatives = true});
  source_ = expressions.compile(source, {.what = "source"});
  const int count = unknowns();
  for (int k = 0; k < count; ++k) {
    if (flux_.reads_argument(count + k)) flux_derivatives_ = std::max(flux_derivatives_, 1);
    if (flux_.reads_argument(2 * count + k)) flux_derivatives_ = 2;
  }
  for (const ExpressionText& one : flux) {
    const kernels::Program alone = expressions.compile({one}, {.what = "flux", .derivatives = true});
    bool reads = false;
    for (int k = count; k < 3 * count; ++k) reads = reads || alone.reads_argument(k);
    convective_.push_back(reads ? 0 : 1);
  }
  has_source_ = source_.size(0).instructions > 0;
  autonomous_ = !flux_.reads_time() && !source_.reads_time();
}

void EquationPde::read_walls(const DeckNode& node, const Expressions& expressions) {
  const std::string allowed = "allowed: walls: periodic, or walls: {left: {value: 1}, right: {slope: 0}}";
  if (!node.has("walls")) node.error("key 'walls' is missing in '" + node.path() + "'; " + allowed);
  const DeckNode walls = node.child("walls");
  if (walls.is_scalar()) {
    if (walls.as_text() != "periodic")
      walls.error("walls: '" + printable(walls.as_text()) + "' is unknown; " + allowed);
    return;
  }
  if (!walls.is_mapping()) walls.error("walls is neither a word nor a mapping; " + allowed);
  if (walls.has("periodic"))
    walls.error_at("periodic",
                   "a periodic domain has no walls; write walls: periodic, and nothing of left and right");
  for (const Side side : {Side::left, Side::right}) {
    const std::string name = side_name(side);
    if (!walls.has(name))
      walls.error(std::string("the ") + name + " wall is missing: each side needs a condition; " + allowed);
    const DeckNode wall = walls.child(name);
    if (wall.is_scalar() && wall.as_text() == "periodic")
      wall.error("the " + name +
                 " wall is periodic: a domain is periodic on both sides or on none; write walls: "
                 "periodic");
    if (!wall.is_mapping()) wall.error("walls." + name + " is no condition; " + allowed);
    bool by_unknown = unknowns() > 1;
    for (const std::string& unknown : options_.unknowns) {
      if (wall.has(unknown) && wall.child(unknown).is_mapping()) by_unknown = true;
    }
    if (by_unknown) {
      for (const std::string& key : wall.keys()) {
        if (!is_unknown(key))
          wall.error_at(key, "the " + name + " wall of '" + printable(key) + "', which is no unknown" +
                                 did_you_mean(key, options_.unknowns) + " (unknowns: " +
                                 join(options_.unknowns) + "); with several unknowns write {" +
                                 options_.unknowns.front() + ": {value: ...}, ...}");
      }
    }
    for (int k = 0; k < unknowns(); ++k) {
      const std::string& unknown = options_.unknowns[static_cast<size_t>(k)];
      if (by_unknown && !wall.has(unknown))
        wall.error("the " + name + " wall of '" + unknown + "' is missing; each unknown needs a condition");
      read_wall(by_unknown ? wall.child(unknown) : wall, expressions, side, k);
    }
    if (by_unknown) wall.reject_unread_keys();
  }
  walls.reject_unread_keys();
  if (flux_derivatives_ == 2)
    error_of(node, "flux",
             "the flux holds a second derivative, which needs walls: periodic; between walls the "
             "stencils have d(u,x) only");
  for (const kernels::Program& wall : walls_) walls_read_time_ = walls_read_time_ || wall.reads_time();
  autonomous_ = autonomous_ && !walls_read_time_;
}

void EquationPde::read_wall(const DeckNode& node, const Expressions& expressions, Side side, int unknown) {
  const std::string& name = options_.unknowns[static_cast<size_t>(unknown)];
  const std::string what = std::string(side_name(side)) + " wall";
  const std::string kinds =
      "allowed: {value: e}, {slope: e}, or {" + name + ": a, " + name + "_x: b, value: e}";
  if (!node.is_mapping()) node.error("the " + what + " is no mapping; " + kinds);
  const bool value = node.has("value"), slope = node.has("slope"), has_u = node.has(name),
             has_u_x = node.has(name + "_x");
  const bool robin = has_u || has_u_x;
  if (slope && (value || robin))
    node.error_at("slope", "the " + what + " has 'slope' beside another condition; one is enough: " + kinds);
  if (!slope && !value && !robin) {
    for (const std::string& key : node.keys()) {
      if (key != "outside" && key.find_first_of("()") == std::string::npos) {
        const std::string hint = did_you_mean(key, {"value", "slope", name, name + "_x", "outside"});
        node.error_at(key, "the " + what + " has no '" + printable(key) + "'" + hint + "; " + kinds);
      }
    }
    node.error("the " + what + " has no condition; " + kinds);
  }
  const auto formula = [&](const std::string& key, const char* fallback) {
    return node.has(key) ? text_of(node.child(key)) : ExpressionText{fallback, node.where()};
  };
  const ExpressionText factor = robin ? formula(name, "0") : ExpressionText{slope ? "0" : "1", node.where()};
  const ExpressionText slope_factor =
      robin ? formula(name + "_x", "0") : ExpressionText{slope ? "1" : "0", node.where()};
  const ExpressionText target = formula(slope ? "slope" : "value", "0"), outside = formula("outside", "0");
  reject_other_keys(node);
  static_cast<void>(expressions.compile(
      {outside}, {.what = what + "'s place outside", .unknowns = false, .position = false, .time = false}));
  walls_.push_back(expressions.compile({factor, slope_factor, target, outside},
                                       {.what = what, .unknowns = false, .position = false}));
  std::vector<double> parameters;
  for (const PdeParameter& p : parameters_) parameters.push_back(middle(p));
  const WallCondition at_start = wall({0, side}, unknown, {}, 0, parameters, {});
  if (at_start.value_factor == 0 && at_start.slope_factor == 0)
    node.error("the " + what + " is 0 = value: the factors of " + name + " and " + name + "_x are both 0; " +
               kinds);
  const double numbers[] = {at_start.value_factor, at_start.slope_factor, at_start.target, at_start.outside};
  for (const double number : numbers) {
    if (!std::isfinite(number)) {
      const std::vector<double> t{0};
      node.error("the " + what +
                 " is not finite at t = 0: " + walls_.back().explain({1, {}, {}, t, parameters, {}}, 0));
    }
  }
  if (at_start.outside < 0 || at_start.outside > length(0))
    node.error_at("outside", "outside is " + shortest(at_start.outside) + "; allowed: from 0 to the length " +
                                 shortest(length(0)));
}

void EquationPde::read_initial(const DeckNode& node, const Expressions& expressions) {
  const std::string kinds = "allowed: constant, fourier, gaussian_random_field, expression";
  if (!node.has("initial")) node.error("key 'initial' is missing in '" + node.path() + "'; " + kinds);
  const DeckNode initial = node.child("initial");
  if (!initial.is_mapping()) initial.error("initial is no mapping; " + kinds);
  initials_.resize(options_.unknowns.size());
  std::vector<ExpressionText> formulas;
  for (const std::string& name : options_.unknowns) formulas.push_back({name, initial.where()});
  bool by_unknown = unknowns() > 1;
  if (initial.has(options_.unknowns.front())) by_unknown = true;
  for (int k = 0; k < unknowns(); ++k) {
    const std::string& name = options_.unknowns[static_cast<size_t>(k)];
    if (by_unknown && !initial.has(name))
      initial.error("the initial state of '" + name + "' is missing; each unknown needs one");
    const DeckNode own = by_unknown ? initial.child(name) : initial;
    if (!own.is_mapping()) own.error("the initial state of '" + name + "' is no mapping; " + kinds);
    read_initial_of(own, k, formulas[static_cast<size_t>(k)]);
  }
  if (by_unknown) initial.reject_unread_keys();
  initial_ = expressions.compile(formulas, {.what = "initial state", .time = false});
  for (size_t k = 0; k < formulas.size(); ++k) {
    const auto alone = expressions.compile({formulas[k]}, {.what = "initial state", .time = false});
    for (size_t other = 0; other < initials_.size(); ++other) {
      if (initials_[k].formula && initials_[other].kind == Initial::Kind::none &&
          alone.reads_argument(static_cast<int>(other)))
        throw InputError(formulas[k].where + ": initial state '" + printable(formulas[k].text) + "' reads '" +
                         options_.unknowns[other] +
                         "', which stands for a random state; give it one (constant, fourier or "
                         "gaussian_random_field) beside the expression");
    }
  }
}

void EquationPde::read_initial_of(const DeckNode& node, int unknown, ExpressionText& formula) {
  Initial& initial = initials_[static_cast<size_t>(unknown)];
  const bool constant = node.has("constant"), fourier = node.has("fourier"),
             field = node.has("gaussian_random_field");
  initial.formula = node.has("expression");
  reject_other_keys(node);
  if (constant + fourier + field > 1)
    node.error("the initial state has more than one of constant, fourier, gaussian_random_field; choose one");
  if (constant + fourier + field == 0 && !initial.formula)
    node.error("the initial state is empty; allowed: constant, fourier, gaussian_random_field, expression");
  if (initial.formula) formula = text_of(node.child("expression"));
  const auto read = [&](const char* key, auto& options) {
    const DeckNode own = node.child(key);
    if (!own.is_mapping() && !own.is_null())
      own.error("'" + own.path() + "' is no mapping; 'describe equation' lists its keys");
    if (own.is_mapping()) own.read(options);
  };
  if (constant) {
    ConstantOptions options;
    read("constant", options);
    initial.kind = Initial::Kind::constant;
    initial.minimum = options.minimum;
    initial.maximum = options.maximum;
    initial.numbers = 1;
  }
  if (fourier) {
    FourierOptions options;
    read("fourier", options);
    initial.kind = Initial::Kind::fourier;
    initial.amplitude = options.amplitude;
    initial.mean = options.mean;
    if (both_walls_have_values(unknown) && options.mean != 0)
      node.child("fourier").error_at("mean",
                                     "between two walls with values the waves are added to the straight "
                                     "line that joins the values; leave mean out");
    initial.weights.push_back(0);
    for (int k = 1; k <= options.modes; ++k) initial.weights.push_back(std::pow(k, -options.decay));
    // A wave between walls has one number, on a periodic domain two.
    initial.numbers = static_cast<size_t>(options.modes) * (periodic(0) ? 2 : 1);
  }
  if (field) {
    FieldOptions options;
    read("gaussian_random_field", options);
    initial.kind = Initial::Kind::gaussian_random_field;
    initial.amplitude = options.amplitude;
    initial.mean = options.mean;
    // Waves with the spectral density of exp(-r^2 / (2 l^2)), down to 1e-8 of its root's largest value: the
    // sum of that function's images at distances of the waves' period. On a periodic domain this is the
    // length. Between walls it is twice the length where the next image is below 1e-5 (l up to a fifth of the
    // length), or else so long that it is below 1e-8. Beyond 1e8 lengths it is constant to rounding.
    const double pi = std::numbers::pi, l = std::min(options.length_scale, 1e8 * length(0));
    initial.wave = periodic(0) ? 2 * pi : pi;
    if (!periodic(0) && l > 0.2 * length(0))
      initial.wave = 2 * pi / (1 + std::sqrt(2 * std::log(1e8)) * l / length(0));
    const double wave = initial.wave / length(0);
    const double last = std::sqrt(4 * std::log(1e8)) / (wave * l);
    if (last > 4096)
      node.child("gaussian_random_field")
          .error_at("length_scale", "length_scale " + shortest(options.length_scale) +
                                        " is too short for the length " + shortest(length(0)) +
                                        "; allowed: from about length/600 on");
    for (int k = 0; k == 0 || k <= last; ++k) {
      const double w = wave * k * l;
      initial.weights.push_back(std::exp(-w * w / 4) * (k == 0 ? std::numbers::sqrt2 / 2 : 1));
    }
    initial.numbers = 2 * initial.weights.size() - 1;
  }
  double sum = 0;
  for (const double w : initial.weights) sum += w * w;
  for (double& w : initial.weights) w *= initial.amplitude / std::sqrt(sum);
}

bool EquationPde::both_walls_have_values(int unknown) const {
  if (periodic(0)) return false;
  std::vector<double> parameters;
  for (const PdeParameter& p : parameters_) parameters.push_back(middle(p));
  return wall({0, Side::left}, unknown, {}, 0, parameters, {}).slope_factor == 0 &&
         wall({0, Side::right}, unknown, {}, 0, parameters, {}).slope_factor == 0;
}

void EquationPde::storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  storage_.evaluate(at, order, out);
}
void EquationPde::flux(int, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  flux_.evaluate(at, order, out);
}
void EquationPde::source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  source_.evaluate(at, order, out);
}

std::string EquationPde::explain(const std::string& term, const kernels::TermPoints& at, long point) const {
  const kernels::Program& program = term == "storage" ? storage_ : term == "flux" ? flux_ : source_;
  const std::string why = program.explain(at, point);
  return why.empty() || options_.title.empty() ? why : why + " (" + options_.title + ")";
}

WallCondition EquationPde::wall(const Face& face, int unknown, const Place&, double t,
                                std::span<const double> parameters, std::span<const int> learned) const {
  const kernels::Program& program =
      walls_[static_cast<size_t>((face.side == Side::left ? 0 : unknowns()) + unknown)];
  kernels::TermValues out;
  program.evaluate({1, {}, {}, std::span(&t, 1), parameters, learned}, learned.empty() ? 0 : 1, out);
  WallCondition result{out.value[0], out.value[1], out.value[2], out.value[3]};
  for (int l = 0; l < static_cast<int>(learned.size()); ++l) {
    result.value_factor_by.push_back(out.by(0, l)[0]);
    result.slope_factor_by.push_back(out.by(1, l)[0]);
    result.target_by.push_back(out.by(2, l)[0]);
  }
  return result;
}

std::vector<double> EquationPde::draw_initial(const RandomStream& stream, long id, long& redrawn) const {
  std::vector<double> numbers;
  for (size_t k = 0; k < initials_.size(); ++k) {
    const Initial& initial = initials_[k];
    const auto step = static_cast<std::int64_t>(k);
    if (initial.kind == Initial::Kind::constant) {
      // In (0, maximum) and again below the minimum, like the built-in equation; where few draws would pass,
      // straight between the bounds.
      const bool straight = initial.minimum < 0 || initial.minimum > 0.9 * initial.maximum;
      double value = straight ? stream.uniform(initial.minimum, initial.maximum, step, id, 0)
                              : initial.maximum * stream.uniform(step, id, 0);
      for (long attempt = 1; !straight && value < initial.minimum; ++attempt) {
        ++redrawn;
        value = initial.maximum * stream.uniform(step, id, attempt);
      }
      numbers.push_back(value);
    } else if (initial.numbers > 0) {
      std::vector<double> normal(initial.numbers);
      stream.fill_normal(std::span(normal), step, id);
      numbers.insert(numbers.end(), normal.begin(), normal.end());
    }
  }
  return numbers;
}

double EquationPde::wave_field(const Initial& initial, int unknown, const double* numbers, double x,
                               std::span<const double> parameters) const {
  const double pi = std::numbers::pi, s = x / length(0);
  const int waves = static_cast<int>(initial.weights.size()) - 1;
  const bool field = initial.kind == Initial::Kind::gaussian_random_field;
  if (periodic(0) || field) {
    const double wave = field ? initial.wave : 2 * pi;
    double sum = initial.mean;
    if (field) sum += initial.weights[0] * *numbers++;
    for (int k = 1; k <= waves; ++k) {
      sum += initial.weights[k] *
             (numbers[2 * k - 2] * std::cos(wave * k * s) + numbers[2 * k - 1] * std::sin(wave * k * s));
    }
    return sum;
  }
  const WallCondition left = wall({0, Side::left}, unknown, {}, 0, parameters, {}),
                      right = wall({0, Side::right}, unknown, {}, 0, parameters, {});
  const bool tied = left.slope_factor == 0 && right.slope_factor == 0;
  double sum = initial.mean;
  if (tied) {
    const double a = left.target / left.value_factor, b = right.target / right.value_factor;
    sum = a + (b - a) * s;
  }
  for (int k = 1; k <= waves; ++k) {
    const double phase = pi * k * s;
    sum += initial.weights[k] * std::numbers::sqrt2 * numbers[k - 1] *
           (tied ? std::sin(phase) : std::cos(phase));
  }
  return sum;
}

std::vector<double> EquationPde::random_state(std::span<const double> numbers,
                                              std::span<const double> parameters,
                                              std::span<const double> x) const {
  const size_t m = options_.unknowns.size(), count = x.size();
  std::vector<double> drawn(m * count, 0.0);  // [unknown][point]
  size_t first = 0;
  for (size_t k = 0; k < m; ++k) {
    const Initial& initial = initials_[k];
    for (size_t i = 0; i < count && initial.kind != Initial::Kind::none; ++i) {
      drawn[k * count + i] =
          initial.kind == Initial::Kind::constant
              ? numbers[first]
              : wave_field(initial, static_cast<int>(k), &numbers[first], x[i], parameters);
    }
    first += initial.numbers;
  }
  return drawn;
}

void EquationPde::initial_state(std::span<const double> numbers, std::span<const double> parameters,
                                std::span<const double> x, std::span<double> out) const {
  const size_t m = options_.unknowns.size(), count = x.size();
  const std::vector<double> drawn = random_state(numbers, parameters, x);
  kernels::TermValues values;
  initial_.evaluate({static_cast<long>(count), drawn, x, {}, parameters, {}}, 0, values);
  for (size_t k = 0; k < m; ++k)
    for (size_t i = 0; i < count; ++i) out[i * m + k] = values.value[k * count + i];
}

void EquationPde::exact(double t, std::span<const double> parameters, std::span<const double> x,
                        std::span<double> out) const {
  const size_t m = options_.unknowns.size(), count = x.size();
  const std::vector<double> times(count, t);
  kernels::TermValues values;
  exact_->evaluate({static_cast<long>(count), {}, x, times, parameters, {}}, 0, values);
  for (size_t k = 0; k < m; ++k)
    for (size_t i = 0; i < count; ++i) out[i * m + k] = values.value[k * count + i];
}

std::vector<EquationPde::Trial> EquationPde::trial_states(const DeckNode& node) const {
  const RandomStream stream(0, "trial states");
  const int m = unknowns();
  std::vector<Trial> trials(trial_states_count);
  std::vector<double> x(trial_points), u(static_cast<size_t>(m * trial_points));
  const double dx = length(0) / trial_points;
  for (int i = 0; i < trial_points; ++i) x[static_cast<size_t>(i)] = (i + 0.5) * dx;
  for (int s = 0; s < trial_states_count; ++s) {
    Trial& trial = trials[static_cast<size_t>(s)];
    for (size_t p = 0; p < parameters_.size(); ++p) {
      const PdeParameter& parameter = parameters_[p];
      const double r = stream.uniform(max_unknowns, s, static_cast<std::int64_t>(p));
      trial.parameters.push_back(parameter.at(r));
    }
    long redrawn = 0;
    const std::vector<double> numbers = draw_initial(stream, s, redrawn);
    initial_state(numbers, trial.parameters, x, u);
    trial.arguments.assign(static_cast<size_t>(3 * m * trial_points), 0.0);
    for (int k = 0; k < m; ++k) {
      const auto at = [&](int i) {
        const int n = trial_points;
        return u[static_cast<size_t>((periodic(0) ? (i + n) % n : std::clamp(i, 0, n - 1)) * m + k)];
      };
      for (int i = 0; i < trial_points; ++i) {
        const double value = at(i), before = at(i - 1), after = at(i + 1);
        if (!std::isfinite(value)) {
          DeckNode place = node.child("initial");
          if (place.has(symbol(k))) place = place.child(symbol(k));
          if (place.has("expression")) place = place.child("expression");
          const std::vector<double> drawn = random_state(numbers, trial.parameters, x);
          place.error("the initial state of '" + symbol(k) + "' is " + shortest(value) +
                      " at x = " + shortest(x[static_cast<size_t>(i)]) + ": " +
                      initial_.explain({trial_points, drawn, x, {}, trial.parameters, {}}, i) +
                      "; choose an expression that is finite from 0 to the length");
        }
        double* to = &trial.arguments[static_cast<size_t>(k * trial_points + i)];
        to[0] = value;
        to[m * trial_points] = (after - before) / (2 * dx);
        to[2 * m * trial_points] = (after - 2 * value + before) / (dx * dx);
      }
    }
  }
  return trials;
}

void EquationPde::read_typical(const DeckNode& node) {
  if (node.has("typical_state")) {
    const DeckNode state = node.child("typical_state");
    if (state.is_mapping()) {
      for (const std::string& key : state.keys()) {
        if (!is_unknown(key))
          state.error_at(key, "typical state of '" + printable(key) + "', which is no unknown" +
                                  did_you_mean(key, options_.unknowns) +
                                  " (unknowns: " + join(options_.unknowns) + ")");
        typical_state_[static_cast<size_t>(
            std::find(options_.unknowns.begin(), options_.unknowns.end(), key) - options_.unknowns.begin())] =
            state.child(key).as_number();
      }
    } else if (state.is_sequence()) {
      const std::vector<double> values = state.as_numbers();
      if (values.size() != typical_state_.size())
        state.error("typical_state: " + std::to_string(values.size()) + " numbers for " +
                    std::to_string(typical_state_.size()) + " unknowns (" + join(options_.unknowns) + ")");
      typical_state_ = values;
    } else {
      if (unknowns() > 1)
        state.error("typical_state: one number for " + std::to_string(unknowns()) + " unknowns; write {" +
                    options_.unknowns.front() + ": ...}");
      typical_state_[0] = state.as_number();
    }
  }
  std::vector<double> parameters;
  for (const PdeParameter& p : parameters_) parameters.push_back(middle(p));
  check_storage(node, typical_state_, 1, parameters, "the typical state");
  if (node.has("typical_slope")) {
    typical_slope_ = node.child("typical_slope").as_number({.min = 0, .exclusive_min = true});
    return;
  }
  kernels::TermValues values;
  storage_.evaluate({1, typical_state_, {}, {}, parameters, {}}, 1, values);
  typical_slope_ = 0;
  for (int k = 0; k < unknowns(); ++k) typical_slope_ += values.by(k, k)[0] / unknowns();
  if (!(typical_slope_ > 0))
    node.error("the mean slope of the storage at the typical state is " + shortest(typical_slope_) +
               "; give typical_slope, or another typical_state");
}

void EquationPde::check_storage(const DeckNode& node, std::span<const double> u, long points,
                                const std::vector<double>& parameters, const std::string& where) const {
  const int m = unknowns();
  kernels::TermValues values;
  const kernels::TermPoints at{points, u, {}, {}, parameters, {}};
  storage_.evaluate(at, 2, values);
  for (long i = 0; i < points; ++i) {
    std::string state;
    for (int k = 0; k < m; ++k)
      state += (k > 0 ? ", " : "") + symbol(k) + " = " + shortest(u[k * points + i]);
    const std::string fault = storage_.explain(at, i);
    if (!fault.empty())
      error_of(node, "storage",
               "the storage is not finite with its derivatives at " + where + " (" + state + "): " + fault +
                   "; choose other initial or typical states, or another storage there");
    std::vector<double> slopes(static_cast<size_t>(m * m));
    for (int a = 0; a < m; ++a)
      for (int b = 0; b < m; ++b) slopes[static_cast<size_t>(a * m + b)] = values.by(a, b)[i];
    const double slope = determinant(slopes, m);
    if (slope > 0) continue;
    error_of(node, "storage",
             std::string("the storage is not increasing: its ") +
                 (m == 1 ? "slope" : "Jacobian's determinant") + " is " + shortest(slope) + " at " + where +
                 " (" + state +
                 "), and a march in time is singular there; the rule is slope > 0 wherever the "
                 "solution goes, see typical_state and initial");
  }
}

void EquationPde::check_diffusion(const DeckNode& node, const kernels::TermValues& flux,
                                  std::span<const double> u, const std::vector<double>& parameters,
                                  std::span<const double> x) const {
  if (flux_derivatives_ != 1) return;  // none, or a second derivative that may outweigh it
  const int m = unknowns();
  const auto points = static_cast<long>(x.size());
  kernels::TermValues slopes;
  storage_.evaluate({points, u, {}, {}, parameters, {}}, 1, slopes);
  for (int k = 0; k < m; ++k) {
    double largest = 0;
    for (long i = 0; i < points; ++i) largest = std::max(largest, std::abs(flux.by(k, m + k)[i]));
    for (long i = 0; i < points; ++i) {
      // Where other unknowns join in, their diffusion may outweigh this one's.
      bool alone = true;
      for (int other = 0; other < m; ++other)
        alone = alone && (other == k || (flux.by(k, m + other)[i] == 0 && slopes.by(k, other)[i] == 0));
      const double slope = flux.by(k, m + k)[i];
      if (!alone || !(slope * slopes.by(k, k)[i] > 0) || std::abs(slope) < 1e-12 * largest) continue;
      const std::string derivative = "d(" + symbol(k) + ",x)";
      std::string state;
      for (int j = 0; j < m; ++j) state += symbol(j) + " = " + shortest(u[j * points + i]) + ", ";
      error_of(node, "flux",
               "the flux of '" + symbol(k) + "' is anti-diffusion: its derivative by " + derivative + " is " +
                   shortest(slope) + " at an initial state (" + state +
                   "x = " + shortest(x[static_cast<size_t>(i)]) +
                   ", t = 0), and the shortest waves grow without bound; diffusion is -D*" + derivative +
                   " with D >= 0");
    }
  }
}

void EquationPde::check_terms(const DeckNode& node, const std::vector<Trial>& trials) const {
  const int m = unknowns();
  const double dx = length(0) / trial_points;
  std::vector<double> x(trial_points), t(trial_points, 0.0);
  for (int i = 0; i < trial_points; ++i) x[static_cast<size_t>(i)] = (i + 0.5) * dx;
  for (const Trial& trial : trials) {
    const std::span<const double> u(trial.arguments.data(), static_cast<size_t>(m * trial_points));
    check_storage(node, u, trial_points, trial.parameters, "an initial state");
    for (const bool is_flux : {true, false}) {
      const char* term = is_flux ? "flux" : "source";
      const kernels::Program& program = is_flux ? flux_ : source_;
      const kernels::TermPoints at{trial_points, trial.arguments, x, t, trial.parameters, {}};
      kernels::TermValues values;
      program.evaluate(at, 2, values);
      const auto finite = [](const std::vector<double>& list) {
        return std::all_of(list.begin(), list.end(), [](double v) { return std::isfinite(v); });
      };
      if (finite(values.value) && finite(values.gradient) && finite(values.hessian)) {
        if (is_flux) check_diffusion(node, values, u, trial.parameters, x);
        continue;
      }
      for (int i = 0; i < trial_points; ++i) {
        const std::string fault = program.explain(at, i);
        if (fault.empty()) continue;
        std::string state;
        for (int k = 0; k < m; ++k)
          state += (k > 0 ? ", " : "") + symbol(k) + " = " + shortest(u[k * trial_points + i]);
        error_of(node, term,
                 std::string("the ") + term + " is not finite with its derivatives at an initial state (" +
                     state + ", x = " + shortest(x[static_cast<size_t>(i)]) + ", t = 0): " + fault +
                     "; choose other initial states, or another formula there, see if(condition, a, b)");
      }
    }
  }
  // The values that Dirichlet walls hold.
  for (const Side side : {Side::left, Side::right}) {
    if (periodic(0) || m > 1) continue;
    const WallCondition condition = wall({0, side}, 0, {}, 0, trials.front().parameters, {});
    if (condition.slope_factor != 0) continue;
    const double u = condition.target / condition.value_factor;
    check_storage(node, std::span(&u, 1), 1, trials.front().parameters,
                  std::string("the ") + side_name(side) + " wall");
  }
}

}  // namespace rankine
