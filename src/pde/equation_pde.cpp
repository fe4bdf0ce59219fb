#include "src/pde/equation_pde.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/core/strings.hpp"
#include "src/pde/fourier_scheme.hpp"
#include "src/pde/time_events.hpp"

namespace rankine {
namespace {

constexpr int trial_states_count = 16;
constexpr double pi = std::numbers::pi;

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
  double amplitude = 1, decay = 1, knee = 0, mean = 0;
  void options(OptionVisitor& o) {
    o("modes", modes, {.help = "number of waves", .min = 1, .max = 256});
    o("amplitude", amplitude, {.help = "root mean square of the random part", .min = 0});
    o("decay", decay, {.help = "wave k has weight (k^2 + knee^2)^(-decay/2)", .min = 0, .max = 20});
    o("knee", knee, {.help = "waves below this one have nearly the same weight", .min = 0, .max = 256});
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
  o("length", length,
    {.help = "extent of the domain, 0 <= x <= length; a list of two or three numbers gives it as many axes: "
             "x, y, z",
     .min = 0,
     .exclusive_min = true,
     .min_size = 1,
     .max_size = max_space_axes,
     .or_one = true});
  o("length_unit", length_unit, {.help = "unit of x"});
  o("duration", duration, {.help = "final time, 0 <= t <= duration", .min = 0, .exclusive_min = true});
  o("time_unit", time_unit, {.help = "unit of t"});
  o("unknowns", unknowns,
    {.help = "names of the unknowns", .min_size = 1, .max_size = EquationPde::max_unknowns});
  o("data_cells", data_cells,
    {.help = "cells of the reference solution along each axis; one number stands for all",
     .min = 4,
     .min_size = 1,
     .max_size = max_space_axes,
     .or_one = true});
  convection_option(o, convection);
  o("discretisation", discretisation,
    {.help =
         "of space in reference solutions: finite_volume; or, in a periodic box, fourier: waves up to two "
         "thirds of those of data_cells, explicit steps, for smooth solutions",
     .choices = {discretisation_names.begin(), discretisation_names.end()}});
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
  o("fields", none,
    {.help = "coefficient fields, such as a permeability, by name, each like an initial state: {K: "
             "{gaussian_random_field: {length_scale: 0.1}, expression: exp(K)}}; flux and source read them"});
  o("auxiliary", none,
    {.help =
         "fields that follow from the unknowns, by name: {psi: laplacian(psi) = -w}; the right side is linear "
         "in the unknowns, its mean is left out and that of psi is 0; flux and source read psi and "
         "d(psi,x); discretisation: fourier"});
  o("functions", none, {.help = "by signature: {\"R(u)\": 1 + u^2}"});
  std::string storage = "the unknown", zero = "0";
  o("storage", storage, {.help = "M in d/dt M + d/dx F = S; a formula, or one by unknown"});
  o("flux", zero,
    {.help =
         "F, may hold d(u,x) and, on a periodic domain of one axis, d(u,x,x); with several axes a vector such "
         "as -D*grad(u), or {x: F along x, y: F along y}"});
  o("source", zero, {.help = "S"});
  bool steady = false;
  o("steady", steady,
    {.help =
         "no storage: the equation is div F = S, without time and initial state; Newton's method begins at "
         "typical_state"});
  o("walls", none,
    {.help =
         "periodic, or {left, right} with {value: e}, {slope: e} or {u: a, u_x: b, value: e} (a u + b u_x "
         "= e) and outside: distance beyond the edge where it holds; bottom and top along y, back and front "
         "along z, {x: periodic} for one axis",
     .required = true});
  o("initial", none,
    {.help =
         "random states: constant: {minimum, maximum}, fourier: {modes, amplitude, decay, knee, mean} or "
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
  read_options(node);
  steady_ = node.has("steady") && node.child("steady").as_bool();
  for (const char* key : {"storage", "initial", "duration", "time_unit"})
    if (steady_ && node.has(key))
      node.error_at(key,
                    std::string("a steady problem has no ") + key +
                        ": it has neither storage nor time, and begins nowhere; leave it out, or steady");
  for (const char* key : {"name", "labels", "parameters", "fields", "auxiliary", "functions", "storage",
                          "flux", "source", "walls", "initial", "typical_state", "typical_slope", "exact"}) {
    static_cast<void>(node.has(key));
  }
  node.reject_unread_keys();
  const Expressions expressions(read_names(node));
  expressions.check();
  check_definitions(expressions);
  read_auxiliaries(node, expressions);
  read_terms(node, expressions);
  read_walls(node, expressions);
  check_fourier(node);
  typical_state_.assign(options_.unknowns.size(), 0.0);
  if (steady_) read_typical_state(node);
  read_initial(node, expressions);
  read_fields(node, expressions);
  if (node.has("exact")) {
    exact_ = expressions.compile(read_formulas(node, "exact", "0"),
                                 {.what = "exact solution", .unknowns = false, .time = !steady_});
  }
  const std::vector<Trial> trials = trial_states(node);
  const auto points = static_cast<size_t>(trial_grid().cells());
  typical_state_.assign(options_.unknowns.size(), 0.0);
  for (size_t k = 0; k < typical_state_.size(); ++k) {
    double sum = 0, largest = 0;
    for (const Trial& trial : trials) {
      for (size_t i = 0; i < points; ++i) {
        const double u = trial.arguments[k * points + i];
        sum += u;
        largest = std::max(largest, std::abs(u));
      }
    }
    // Rounded, so that the rounding errors of states around 0 do not count.
    const double unit = largest / 1000;
    if (unit > 0)
      typical_state_[k] = std::round(sum / static_cast<double>(trial_states_count * points) / unit) * unit;
  }
  read_typical(node);
  check_terms(node, trials);
  if (steady_) check_singular(node);
  measure_sizes(trials);
  check_edges(node, trials);
  if (options_.convection != "central" && !has_convection(*this))
    node.error_at("convection", "convection: " + options_.convection +
                                    " is for a flux that depends on an unknown itself, and this one does on "
                                    "derivatives alone; leave convection out");
  std::vector<kernels::Program> terms = flux_;
  terms.push_back(source_);
  terms.insert(terms.end(), walls_.begin(), walls_.end());
  for (const kernels::Program& term : terms)
    if (term.reads_time()) time_events_.push_back(term.time_events());
}

void EquationPde::read_options(const DeckNode& node) {
  if (node.has("length") && node.child("length").is_sequence()) {
    constexpr int usual_cells[] = {1024, 128, 64};
    const size_t count = node.child("length").items().size();
    options_.data_cells = {usual_cells[std::clamp<size_t>(count, 1, max_space_axes) - 1]};
  }
  options_.options(*node.reader());
  if (options_.data_cells.size() == 1)
    options_.data_cells.resize(options_.length.size(), options_.data_cells.front());
  if (options_.data_cells.size() != options_.length.size())
    node.error_at("data_cells", "data_cells has " + std::to_string(options_.data_cells.size()) +
                                    " numbers and length " + std::to_string(options_.length.size()) +
                                    "; give one for each axis, or a single number for all");
}

void EquationPde::measure_sizes(const std::vector<Trial>& trials) {
  sizes_.assign(options_.unknowns.size(), 0.0);
  const int points = trial_grid().cells();
  for (int k = 0; k < unknowns(); ++k) {
    double sum = 0;
    for (const Trial& trial : trials)
      for (int i = 0; i < points; ++i) {
        const double u = trial.arguments[static_cast<size_t>(k * points + i)];
        sum += u * u;
      }
    double& size = sizes_[static_cast<size_t>(k)];
    size = std::sqrt(sum / (trial_states_count * points));
    constexpr int wall_times = 65;
    for (const Face& face : faces())
      for (const Place& at : wall_places(*this, face))
        for (int j = 0; j < (walls_read_time_ ? wall_times : 1); ++j) {
          const WallCondition c =
              wall(face, k, at, duration() * j / (wall_times - 1), trials.front().parameters, {});
          const double value = std::abs(c.target / c.value_factor);
          if (c.value_factor != 0 && std::isfinite(value)) size = std::max(size, value);
        }
  }
}

void EquationPde::check_edges(const DeckNode& node, const std::vector<Trial>& trials) const {
  constexpr int times = 17;
  constexpr size_t states = 4;
  const auto check = [&](const Trial& trial, int k, const Face& one, const Face& other, const Place& at,
                         double t) {
    const WallCondition a = wall(one, k, at, t, trial.parameters, {}),
                        b = wall(other, k, at, t, trial.parameters, {});
    // Walls that stand beyond the edge do not meet there.
    if (a.slope_factor != 0 || b.slope_factor != 0 || a.outside > 0 || b.outside > 0) return;
    const double first = a.target / a.value_factor, second = b.target / b.value_factor;
    if (!(std::abs(first - second) > 1e-6 * sizes_[static_cast<size_t>(k)])) return;
    const std::string edge = axes() == 2 ? "corner" : "edge";
    node.child("walls").error_at(
        face_name(other), "the " + face_name(other) + " wall holds " + symbol(k) + " = " + shortest(second) +
                              " at the " + edge + " " + place_text(at) + " (t = " + shortest(t) +
                              "), where the " + face_name(one) + " wall holds " + symbol(k) + " = " +
                              shortest(first) + "; both are one " +
                              "place, so write values that agree there, or give one of the walls a slope");
  };
  const std::vector<Face> all = faces();
  for (const Face& one : all)
    for (const Face& other : all) {
      if (one.axis >= other.axis) continue;
      for (Place at : wall_places(*this, other)) {
        if (at[one.axis] != 0) continue;  // once, whatever varies
        at[one.axis] = one.side == Side::left ? 0 : length(one.axis);
        for (size_t s = 0; s < std::min(states, trials.size()); ++s)
          for (int k = 0; k < unknowns(); ++k)
            for (int j = 0; j < (walls_read_time_ ? times : 1); ++j)
              check(trials[s], k, one, other, at, duration() * j / (times - 1));
      }
    }
}

std::vector<double> EquationPde::time_events(std::span<const double> parameters) const {
  return event_times(time_events_, parameters, duration());
}

ExpressionNames EquationPde::read_names(const DeckNode& node) {
  ExpressionNames names;
  names.axes = axes();
  names.constants = {{"duration", options_.duration}};
  std::vector<std::pair<std::string, std::string>> taken{{"duration", "duration"}};
  for (int axis = 0; axis < axes(); ++axis) {
    const std::string name = axes() == 1 ? "length" : std::string("length_") + space_name(axis);
    names.constants.insert(names.constants.begin() + axis, {name, length(axis)});
    taken.emplace_back(name, "length of the domain");
  }
  const auto claim = [&](const DeckNode& at, const std::string& key, const std::string& name,
                         const char* what) {
    const std::string fault = Expressions::name_fault(name, axes());
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
  const DeckNode fields = node.section("fields");
  need_mapping(fields, "{K: {gaussian_random_field: {length_scale: 0.1}, expression: exp(K)}}");
  for (const std::string& key : fields.keys()) {
    claim(fields, key, key, "field");
    names.fields.push_back(key);
  }
  field_names_ = names.fields;
  const DeckNode auxiliary = node.section("auxiliary");
  need_mapping(auxiliary, "{psi: laplacian(psi) = -" + names.unknowns.front() + "}");
  for (const std::string& key : auxiliary.keys()) {
    claim(auxiliary, key, key, "auxiliary field");
    auxiliary_names_.push_back(key);
  }
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

void EquationPde::for_unknowns(const DeckNode& value, const std::string& key,
                               const std::function<void(size_t, const DeckNode&)>& set) const {
  const std::vector<std::string>& names = options_.unknowns;
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
}

std::vector<ExpressionText> EquationPde::read_formulas(const DeckNode& node, const std::string& key,
                                                       const std::string& fallback,
                                                       std::vector<char>* given) const {
  std::vector<ExpressionText> result;
  for (const std::string& name : options_.unknowns)
    result.push_back({fallback.empty() ? name : fallback, node.where()});
  if (!node.has(key)) return result;
  if (given != nullptr) given->assign(result.size(), 0);
  for_unknowns(node.child(key), key, [&](size_t unknown, const DeckNode& text) {
    result[unknown] = text_of(text);
    if (given != nullptr) (*given)[unknown] = 1;
  });
  return result;
}

std::vector<std::vector<ExpressionText>> EquationPde::read_flux(const DeckNode& node,
                                                                std::vector<char>& given) const {
  const size_t m = options_.unknowns.size(), d = options_.length.size();
  std::vector<std::vector<ExpressionText>> flux(d, std::vector<ExpressionText>(m, {"0", node.where()}));
  if (!node.has("flux")) return flux;
  std::vector<std::string> letters;
  for (int axis = 0; axis < axes(); ++axis) letters.emplace_back(1, space_name(axis));
  const auto along = [&](const DeckNode& mapping) {  // whether the mapping is one of axes
    return d > 1 && mapping.is_mapping() &&
           std::any_of(letters.begin(), letters.end(), [&](const std::string& x) { return mapping.has(x); });
  };
  const auto set = [&](size_t unknown, const DeckNode& value) {
    given[unknown] = 1;
    if (d > 1 && value.is_mapping()) {
      for (const std::string& key : value.keys()) {
        const auto at = std::find(letters.begin(), letters.end(), key);
        if (at == letters.end())
          value.error_at(key, "flux of '" + options_.unknowns[unknown] + "' along '" + printable(key) +
                                  "', which is no axis (axes: " + join(letters) +
                                  "); inside { } a formula that holds a comma needs quotes");
        flux[static_cast<size_t>(at - letters.begin())][unknown] = text_of(value.child(key));
      }
    } else if (d > 1 && value.is_sequence()) {
      const std::vector<DeckNode> items = value.items();
      if (items.size() != d)
        value.error("flux of '" + options_.unknowns[unknown] + "': " + std::to_string(items.size()) +
                    (items.size() == 1 ? " formula" : " formulas") + " for " + std::to_string(d) + " axes (" +
                    join(letters) + ")");
      for (size_t axis = 0; axis < d; ++axis) flux[axis][unknown] = text_of(items[axis]);
    } else {
      const ExpressionText text = text_of(value);
      for (size_t axis = 0; axis < d; ++axis)
        flux[axis][unknown] = {text.text, text.where, static_cast<int>(axis)};
    }
  };
  const DeckNode value = node.child("flux");
  if (m > 1 && along(value))
    value.error("flux by axis for " + std::to_string(m) + " unknowns; each has its own: {" +
                options_.unknowns.front() + ": {x: ..., y: ...}, ...}");
  if (along(value) || (m == 1 && d > 1 && value.is_sequence())) {
    set(0, value);
  } else {
    for_unknowns(value, "flux", set);
  }
  return flux;
}

void EquationPde::read_auxiliaries(const DeckNode& node, const Expressions& expressions) {
  if (auxiliary_names_.empty()) return;
  const DeckNode auxiliary = node.child("auxiliary");
  std::vector<ExpressionText> formulas;
  for (const std::string& name : auxiliary_names_) {
    const DeckNode own = auxiliary.child(name);
    const ExpressionText whole = text_of(own);
    const size_t equals = whole.text.find('=');
    std::string left = whole.text.substr(0, equals);
    std::erase(left, ' ');
    if (equals == std::string::npos || left != "laplacian(" + name + ")")
      own.error("the auxiliary field '" + name + "' has no equation of the form laplacian(" + name +
                ") = ..., with a formula that is linear in the unknowns; write " + name + ": laplacian(" +
                name + ") = -" + options_.unknowns.front());
    formulas.push_back({whole.text.substr(equals + 1), whole.where});
  }
  auxiliary_ =
      expressions.compile(formulas, {.what = "auxiliary equation", .position = false, .time = false});
  if (!auxiliary_.is_linear())
    auxiliary.error(
        "an auxiliary field's Laplacian is not linear in the unknowns with factors that are numbers "
        "or parameters, such as -" +
        options_.unknowns.front() + "; make what is not linear a part of flux or source");
}

void EquationPde::check_fourier(const DeckNode& node) const {
  if (options_.discretisation != "fourier") {
    if (auxiliary_names_.empty()) return;
    node.error_at("auxiliary",
                  "auxiliary fields are computed from waves, which discretisation: finite_volume "
                  "has none of; write discretisation: fourier and walls: periodic");
  }
  const std::string reason = "discretisation: fourier ";
  if (!faces().empty())
    error_of(
        node, "discretisation",
        reason + "is for boxes that are periodic along all axes; write walls: periodic, or leave it out");
  if (steady_)
    node.error_at("steady", reason + "marches in time and solves no steady problem; leave one of both out");
  if (node.has("storage"))
    node.error_at("storage", reason +
                                 "has the unknowns themselves for storage; divide flux and source by the "
                                 "storage's slope and leave storage out");
  if (options_.convection != "central")
    node.error_at("convection", reason + "has no faces at which convection: " + options_.convection +
                                    " would choose a flux; leave one of both out");
  for (const int n : options_.data_cells)
    if (n % 2 != 0)
      error_of(node, "data_cells",
               reason + "needs even numbers of cells, and data_cells has " + std::to_string(n) +
                   "; take one more");
}

std::vector<double> EquationPde::auxiliary_factors(std::span<const double> parameters) const {
  const std::vector<double> zero(options_.unknowns.size(), 0.0);
  kernels::TermValues values;
  if (!auxiliary_names_.empty()) auxiliary_.evaluate({1, zero, {}, {}, parameters, {}}, 1, values);
  return values.gradient;
}

bool EquationPde::flux_is_affine_in(int argument) const {
  return std::all_of(flux_.begin(), flux_.end(), [&](const auto& f) { return f.is_affine_in(argument); });
}

void EquationPde::read_terms(const DeckNode& node, const Expressions& expressions) {
  const size_t m = options_.unknowns.size();
  std::vector<char> has_storage(m, 0), has_flux(m, 0), has_source(m, 0);
  const auto storage = read_formulas(node, "storage", steady_ ? "0" : "", &has_storage);
  const auto flux = read_flux(node, has_flux);
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
  ExpressionNames names = expressions.names();
  names.unknowns.insert(names.unknowns.end(), auxiliary_names_.begin(), auxiliary_names_.end());
  const Expressions with_auxiliaries(names);
  source_ = with_auxiliaries.compile(source, {.what = "source", .time = !steady_, .fields = true});
  const ExpressionUse of_flux{.what = "flux", .derivatives = true, .time = !steady_, .fields = true};
  const int count = term_fields(), arguments = kernels::flux_arguments(axes(), count);
  convective_.assign(m, 1);
  for (int axis = 0; axis < axes(); ++axis) {
    const std::vector<ExpressionText>& texts = flux[static_cast<size_t>(axis)];
    flux_.push_back(with_auxiliaries.compile(texts, of_flux));
    for (int a = count; a < arguments; ++a) {
      if (a % count >= unknowns() || !flux_.back().reads_argument(a)) continue;
      flux_derivatives_ = std::max(flux_derivatives_, axes() == 1 && a >= 2 * count ? 2 : 1);
      mixed_derivatives_ = mixed_derivatives_ || (axes() > 1 && a / count != 1 + axis);
    }
    for (size_t k = 0; k < m; ++k) {
      const kernels::Program alone = with_auxiliaries.compile({texts[k]}, of_flux);
      for (int a = count; a < arguments; ++a)
        if (a % count < unknowns() && alone.reads_argument(a)) convective_[k] = 0;
    }
  }
  has_source_ = source_.size(0).instructions > 0;
  autonomous_ = !source_.reads_time() &&
                std::none_of(flux_.begin(), flux_.end(), [](const auto& f) { return f.reads_time(); });
}

void EquationPde::read_walls(const DeckNode& node, const Expressions& expressions) {
  const std::string allowed =
      axes() == 1
          ? "allowed: walls: periodic, or walls: {left: {value: 1}, right: {slope: 0}}"
          : "allowed: walls: periodic, or a condition for each face and {x: periodic} for an axis: walls: "
            "{x: periodic, bottom: {value: 1}, top: {slope: 0}}; faces: left, right, bottom, top" +
                std::string(axes() == 3 ? ", back, front" : "");
  if (!node.has("walls")) node.error("key 'walls' is missing in '" + node.path() + "'; " + allowed);
  walls_.resize(static_cast<size_t>(2 * axes() * unknowns()));
  const DeckNode walls = node.child("walls");
  if (walls.is_scalar()) {
    if (walls.as_text() != "periodic")
      walls.error("walls: '" + printable(walls.as_text()) + "' is unknown; " + allowed);
    periodic_.fill(true);
    return;
  }
  if (!walls.is_mapping()) walls.error("walls is neither a word nor a mapping; " + allowed);
  if (walls.has("periodic"))
    walls.error_at("periodic",
                   "a periodic domain has no walls; write walls: periodic, and nothing of left and right");
  for (int axis = 0; axis < axes(); ++axis) {
    const std::string letter(1, space_name(axis));
    if (!walls.has(letter)) continue;
    const DeckNode word = walls.child(letter);
    if (!word.is_scalar() || word.as_text() != "periodic")
      word.error("the walls of the axis " + letter + " are neither periodic nor conditions; write " + letter +
                 ": periodic, or conditions for " + face_name({axis, Side::left}) + " and " +
                 face_name({axis, Side::right}));
    periodic_[static_cast<size_t>(axis)] = true;
    for (const Side side : {Side::left, Side::right})
      if (walls.has(face_name({axis, side})))
        walls.error_at(face_name({axis, side}), "the axis " + letter + " is periodic, so that it has no " +
                                                    face_name({axis, side}) + " wall; leave one of both out");
  }
  for (const Face& face : faces()) {
    const std::string name = face_name(face);
    if (!walls.has(name))
      walls.error(std::string("the ") + name + " wall is missing: each side needs a condition; " + allowed);
    const DeckNode wall = walls.child(name);
    if (wall.is_scalar() && wall.as_text() == "periodic")
      wall.error("the " + name + " wall is periodic: a domain is periodic on both sides or on none; write " +
                 (axes() == 1 ? std::string("walls: ") : std::string(1, space_name(face.axis)) + ": ") +
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
      read_wall(by_unknown ? wall.child(unknown) : wall, expressions, face, k);
    }
    if (by_unknown) wall.reject_unread_keys();
  }
  walls.reject_unread_keys();
  if (flux_derivatives_ == 2 && !periodic(0))
    error_of(node, "flux",
             "the flux holds a second derivative, which needs walls: periodic; between walls the "
             "stencils have d(u,x) only");
  for (const kernels::Program& wall : walls_) walls_read_time_ = walls_read_time_ || wall.reads_time();
  autonomous_ = autonomous_ && !walls_read_time_;
}

std::vector<Face> EquationPde::faces() const {
  std::vector<Face> result;
  for (int axis = 0; axis < axes(); ++axis)
    for (const Side side : {Side::left, Side::right})
      if (!periodic(axis)) result.push_back({axis, side});
  return result;
}

size_t EquationPde::wall_index(const Face& face, int unknown) const {
  return static_cast<size_t>((2 * face.axis + (face.side == Side::left ? 0 : 1)) * unknowns() + unknown);
}

std::vector<double> EquationPde::middle_parameters() const {
  std::vector<double> parameters;
  for (const PdeParameter& p : parameters_) parameters.push_back(middle(p));
  return parameters;
}

std::string EquationPde::place_text(std::span<const double> x, size_t points, size_t point) const {
  std::string text;
  const int rows = static_cast<int>(x.size() / points);
  for (int row = 0; row < rows; ++row)
    text +=
        (row > 0 ? ", " : "") +
        (row < axes() ? std::string(1, space_name(row)) : field_names_[static_cast<size_t>(row - axes())]) +
        " = " + shortest(x[static_cast<size_t>(row) * points + point]);
  return text;
}

void EquationPde::read_wall(const DeckNode& node, const Expressions& expressions, const Face& face,
                            int unknown) {
  const std::string& name = options_.unknowns[static_cast<size_t>(unknown)];
  const std::string what = face_name(face) + " wall", u_x = name + "_" + space_name(face.axis);
  const std::string kinds = "allowed: {value: e}, {slope: e}, or {" + name + ": a, " + u_x + ": b, value: e}";
  if (!node.is_mapping()) node.error("the " + what + " is no mapping; " + kinds);
  const bool value = node.has("value"), slope = node.has("slope"), has_u = node.has(name),
             has_u_x = node.has(u_x);
  const bool robin = has_u || has_u_x;
  if (slope && (value || robin))
    node.error_at("slope", "the " + what + " has 'slope' beside another condition; one is enough: " + kinds);
  if (!slope && !value && !robin) {
    for (const std::string& key : node.keys()) {
      if (key != "outside" && key.find_first_of("()") == std::string::npos) {
        const std::string hint = did_you_mean(key, {"value", "slope", name, u_x, "outside"});
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
      robin ? formula(u_x, "0") : ExpressionText{slope ? "1" : "0", node.where()};
  const ExpressionText target = formula(slope ? "slope" : "value", "0"), outside = formula("outside", "0");
  reject_other_keys(node);
  static_cast<void>(expressions.compile(
      {outside}, {.what = what + "'s place outside", .unknowns = false, .position = false, .time = false}));
  kernels::Program& program = walls_[wall_index(face, unknown)];
  program = expressions.compile(
      {factor, slope_factor, target, outside},
      {.what = what, .unknowns = false, .position = axes() > 1, .time = !steady_, .fixed_axis = face.axis});
  walls_vary_ = walls_vary_ || program.reads_position();
  const std::vector<double> parameters = middle_parameters(), t{0};
  for (const Place& at : wall_places(*this, face)) {
    const std::string place = program.reads_position() ? " at " + place_text(at) : "";
    const WallCondition at_start = wall(face, unknown, at, 0, parameters, {});
    if (at_start.value_factor == 0 && at_start.slope_factor == 0)
      node.error("the " + what + " is 0 = value" + place + ": the factors of " + name + " and " + u_x +
                 " are both 0; " + kinds);
    for (const double number :
         {at_start.value_factor, at_start.slope_factor, at_start.target, at_start.outside}) {
      if (!std::isfinite(number))
        node.error("the " + what + " is not finite at t = 0" + (place.empty() ? "" : "," + place) + ": " +
                   program.explain({1, {}, at, t, parameters, {}}, 0));
    }
    if (at_start.outside < 0 || at_start.outside > length(face.axis))
      node.error_at("outside", "outside is " + shortest(at_start.outside) +
                                   "; allowed: from 0 to the length " + shortest(length(face.axis)));
  }
}

void EquationPde::read_initial(const DeckNode& node, const Expressions& expressions) {
  const std::string kinds = "allowed: constant, fourier, gaussian_random_field, expression";
  if (steady_) {
    initials_.resize(options_.unknowns.size());
    std::vector<ExpressionText> states;
    for (const double state : typical_state_) states.push_back({shortest(state), node.where()});
    initial_ = expressions.compile(states, {.what = "typical state", .time = false});
    return;
  }
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
    read_initial_of(own, "initial state", k, initials_[static_cast<size_t>(k)],
                    formulas[static_cast<size_t>(k)]);
  }
  if (by_unknown) initial.reject_unread_keys();
  initial_ = compile_states(expressions, "initial state", formulas, initials_);
}

void EquationPde::read_fields(const DeckNode& node, const Expressions& expressions) {
  if (field_names_.empty()) return;
  const DeckNode fields = node.child("fields");
  ExpressionNames names = expressions.names();
  names.unknowns = field_names_;  // in its own expression a field's name means its random state
  names.fields.clear();
  fields_.resize(field_names_.size());
  std::vector<ExpressionText> formulas;
  for (size_t k = 0; k < fields_.size(); ++k) {
    const DeckNode own = fields.child(field_names_[k]);
    const std::string what = "field '" + field_names_[k] + "'";
    if (!own.is_mapping())
      own.error("the " + what +
                " is no mapping; allowed: constant, fourier, gaussian_random_field, expression");
    formulas.push_back({field_names_[k], own.where()});
    read_initial_of(own, what, -1, fields_[k], formulas.back());
  }
  field_formulas_ = compile_states(Expressions(names), "field", formulas, fields_);
}

kernels::Program EquationPde::compile_states(const Expressions& expressions, const std::string& what,
                                             const std::vector<ExpressionText>& formulas,
                                             const std::vector<Initial>& states) {
  const ExpressionUse use{.what = what, .time = false};
  for (size_t k = 0; k < formulas.size(); ++k) {
    const auto alone = expressions.compile({formulas[k]}, use);
    for (size_t other = 0; other < states.size(); ++other) {
      if (states[k].formula && states[other].kind == Initial::Kind::none &&
          alone.reads_argument(static_cast<int>(other)))
        throw InputError(formulas[k].where + ": " + what + " '" + printable(formulas[k].text) + "' reads '" +
                         expressions.names().unknowns[other] +
                         "', which stands for a random state; give it one (constant, fourier or "
                         "gaussian_random_field) beside the expression");
    }
  }
  return expressions.compile(formulas, use);
}

void EquationPde::read_initial_of(const DeckNode& node, const std::string& what, int unknown,
                                  Initial& initial, ExpressionText& formula) {
  const bool constant = node.has("constant"), fourier = node.has("fourier"),
             field = node.has("gaussian_random_field");
  initial.formula = node.has("expression");
  reject_other_keys(node);
  if (constant + fourier + field > 1)
    node.error("the " + what + " has more than one of constant, fourier, gaussian_random_field; choose one");
  if (constant + fourier + field == 0 && !initial.formula)
    node.error("the " + what + " is empty; allowed: constant, fourier, gaussian_random_field, expression");
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
    initial.modes = options.modes;
    initial.decay = options.decay;
    initial.knee = options.knee;
    read_fourier(node.child("fourier"), initial, unknown);
  }
  if (field) {
    FieldOptions options;
    read("gaussian_random_field", options);
    initial.kind = Initial::Kind::gaussian_random_field;
    initial.amplitude = options.amplitude;
    initial.mean = options.mean;
    initial.length_scale = options.length_scale;
    read_field(node.child("gaussian_random_field"), initial);
  }
  double sum = 0;
  for (const double w : initial.weights) sum += w * w;
  for (double& w : initial.weights) w *= initial.amplitude / std::sqrt(sum);
}

void EquationPde::read_fourier(const DeckNode& node, Initial& initial, int unknown) {
  bool tied = false;
  std::vector<RandomWaves::Axis> waves;
  for (int axis = 0; axis < axes(); ++axis) {
    const bool values = unknown >= 0 && both_walls_have_values(unknown, axis);
    initial.tied[static_cast<size_t>(axis)] = values;
    tied = tied || values;
    waves.push_back({.kind = periodic(axis) ? RandomWaves::Kind::pairs
                             : values       ? RandomWaves::Kind::sines
                                            : RandomWaves::Kind::cosines,
                     .wave = (periodic(axis) ? 2 * pi : pi) / length(axis),
                     .waves = initial.modes});
  }
  if (tied && initial.mean != 0)
    node.error_at("mean", axes() == 1
                              ? "between two walls with values the waves are added to the straight "
                                "line that joins the values; leave mean out"
                              : "between two walls with values the waves are added to what joins the values; "
                                "leave mean out");
  if (axes() > 1) {
    set_waves(node, "modes", initial, waves, [&](const RandomWaves::Waves& k) {
      const int square = k[0] * k[0] + k[1] * k[1] + k[2] * k[2];
      return square == 0 ? 0 : std::pow(std::sqrt(square + initial.knee * initial.knee), -initial.decay);
    });
    return;
  }
  initial.weights.push_back(0);
  for (int k = 1; k <= initial.modes; ++k)
    initial.weights.push_back(std::pow(std::sqrt(k * k + initial.knee * initial.knee), -initial.decay));
  // A wave between walls has one number, on a periodic domain two.
  initial.numbers = static_cast<size_t>(initial.modes) * (periodic(0) ? 2 : 1);
}

void EquationPde::read_field(const DeckNode& node, Initial& initial) {
  std::vector<RandomWaves::Axis> waves;
  std::vector<std::vector<double>> weights;
  for (int axis = 0; axis < axes(); ++axis) {
    // Waves with the spectral density of exp(-r^2 / (2 l^2)), down to 1e-8 of its root's largest value: the
    // sum of that function's images at distances of the waves' period. On a periodic domain this is the
    // length. Between walls it is twice the length where the next image is below 1e-5 (l up to a fifth of the
    // length), or else so long that it is below 1e-8. Beyond 1e8 lengths it is constant to rounding.
    const double l = std::min(initial.length_scale, 1e8 * length(axis));
    initial.wave = periodic(axis) ? 2 * pi : pi;
    if (!periodic(axis) && l > 0.2 * length(axis))
      initial.wave = 2 * pi / (1 + std::sqrt(2 * std::log(1e8)) * l / length(axis));
    const double wave = initial.wave / length(axis);
    const double last = std::sqrt(4 * std::log(1e8)) / (wave * l);
    if (last > 4096)
      node.error_at("length_scale", "length_scale " + shortest(initial.length_scale) +
                                        " is too short for the length " + shortest(length(axis)) +
                                        "; allowed: from about length/600 on");
    weights.emplace_back();
    for (int k = 0; k == 0 || k <= last; ++k) {
      const double w = wave * k * l;
      weights.back().push_back(std::exp(-w * w / 4) * (k == 0 ? std::numbers::sqrt2 / 2 : 1));
    }
    waves.push_back({.wave = wave, .waves = static_cast<int>(weights.back().size()) - 1});
  }
  // The covariance is a product over the axes, and so are its weights.
  if (axes() > 1) {
    set_waves(node, "length_scale", initial, waves, [&](const RandomWaves::Waves& k) {
      double product = 1;
      for (size_t axis = 0; axis < weights.size(); ++axis)
        product *= weights[axis][static_cast<size_t>(k[axis])];
      return product;
    });
    return;
  }
  initial.weights = weights.front();
  initial.numbers = 2 * initial.weights.size() - 1;
}

void EquationPde::set_waves(const DeckNode& node, const char* key, Initial& initial,
                            const std::vector<RandomWaves::Axis>& waves,
                            const std::function<double(const RandomWaves::Waves&)>& weight) const {
  const double numbers = RandomWaves::numbers(waves);
  if (numbers > RandomWaves::max_numbers)
    node.error_at(key, std::string(key) + " gives a state of " + std::to_string(axes()) + " axes " +
                           shortest(numbers) +
                           " random numbers; allowed: " + shortest(RandomWaves::max_numbers) + ", so give " +
                           (std::string(key) == "modes" ? "fewer modes" : "a longer length_scale"));
  initial.waves.emplace(waves, weight, initial.amplitude);
  initial.numbers = initial.waves->numbers();
}

bool EquationPde::both_walls_have_values(int unknown, int axis) const {
  if (periodic(axis)) return false;
  const std::vector<double> parameters = middle_parameters();
  for (const Side side : {Side::left, Side::right})
    for (const Place& at : wall_places(*this, {axis, side}))
      if (wall({axis, side}, unknown, at, 0, parameters, {}).slope_factor != 0) return false;
  return true;
}

void EquationPde::storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  storage_.evaluate(at, order, out);
}
void EquationPde::flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  flux_[static_cast<size_t>(axis)].evaluate(at, order, out);
}
void EquationPde::source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  source_.evaluate(at, order, out);
}

std::string EquationPde::explain(const std::string& term, const kernels::TermPoints& at, long point) const {
  std::string why;
  if (term == "flux") {
    for (const kernels::Program& along : flux_)
      if (why.empty()) why = along.explain(at, point);
  } else {
    why = (term == "storage" ? storage_ : source_).explain(at, point);
  }
  return why.empty() || options_.title.empty() ? why : why + " (" + options_.title + ")";
}

bool EquationPde::linear_flux() const {
  return !walls_read_time_ &&
         std::all_of(flux_.begin(), flux_.end(), [](const auto& f) { return f.is_linear(); });
}

WallCondition EquationPde::wall(const Face& face, int unknown, const Place& at, double t,
                                std::span<const double> parameters, std::span<const int> learned) const {
  kernels::TermValues out;
  walls_[wall_index(face, unknown)].evaluate({1, {}, at, std::span(&t, 1), parameters, learned},
                                             learned.empty() ? 0 : 1, out);
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
  const auto draw = [&](const Initial& initial, std::int64_t step) {
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
  };
  for (size_t k = 0; k < initials_.size(); ++k) draw(initials_[k], static_cast<std::int64_t>(k));
  // A step beyond those of the unknowns and of the trial states' parameters.
  for (size_t k = 0; k < fields_.size(); ++k)
    draw(fields_[k], static_cast<std::int64_t>(max_unknowns + 1 + k));
  return numbers;
}

double EquationPde::wave_field(const Initial& initial, int unknown, const double* numbers, double x,
                               std::span<const double> parameters) const {
  const double s = x / length(0);
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
  WallCondition left, right;
  if (unknown >= 0) {
    left = wall({0, Side::left}, unknown, {}, 0, parameters, {});
    right = wall({0, Side::right}, unknown, {}, 0, parameters, {});
  }
  const bool tied = unknown >= 0 && left.slope_factor == 0 && right.slope_factor == 0;
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

void EquationPde::add_wall_values(const Initial& initial, int unknown, std::span<const double> parameters,
                                  std::span<const double> x, std::span<double> out) const {
  // Transfinite interpolation (Gordon and Hall 1973), 1 - product of (1 - P_i): P_i is linear along the axis i
  // between the values of its walls.
  const size_t count = out.size(), d = options_.length.size();
  std::vector<size_t> tied;
  for (size_t axis = 0; axis < d; ++axis)
    if (initial.tied[axis]) tied.push_back(axis);
  const std::vector<double> t(count, 0.0);
  std::vector<double> place, weight;
  // Each choice of none, left or right for all tied axes.
  size_t choices = 1;
  for (size_t i = 0; i < tied.size(); ++i) choices *= 3;
  for (size_t choice = 1; choice < choices; ++choice) {
    place.assign(x.begin(), x.end());
    weight.assign(count, -1.0);
    std::optional<Face> face;
    for (size_t i = 0, rest = choice; i < tied.size(); ++i, rest /= 3) {
      if (rest % 3 == 0) continue;
      const bool left = rest % 3 == 1;
      const size_t axis = tied[i];
      const double end = options_.length[axis];
      if (!face) face = Face{static_cast<int>(axis), left ? Side::left : Side::right};
      for (size_t p = 0; p < count; ++p) {
        const double share = x[axis * count + p] / end;
        weight[p] *= left ? share - 1 : -share;
        place[axis * count + p] = left ? 0 : end;
      }
    }
    kernels::TermValues values;
    walls_[wall_index(*face, unknown)].evaluate({static_cast<long>(count), {}, place, t, parameters, {}}, 0,
                                                values);
    for (size_t p = 0; p < count; ++p) out[p] += weight[p] * (values.at(2)[p] / values.at(0)[p]);
  }
}

std::vector<double> EquationPde::random_state(const std::vector<Initial>& states, bool between_walls,
                                              std::span<const double> numbers,
                                              std::span<const double> parameters,
                                              std::span<const double> x) const {
  const size_t count = x.size() / options_.length.size();
  std::vector<double> drawn(states.size() * count, 0.0);  // [state][point]
  size_t first = 0;
  for (size_t k = 0; k < states.size(); ++k) {
    const Initial& initial = states[k];
    const std::span<double> own = std::span(drawn).subspan(k * count, count);
    const int unknown = between_walls ? static_cast<int>(k) : -1;
    if (initial.waves) {
      std::fill(own.begin(), own.end(), initial.mean);
      add_wall_values(initial, unknown, parameters, x, own);
      initial.waves->add(numbers.subspan(first, initial.numbers), x, own);
    } else if (initial.kind != Initial::Kind::none) {
      for (size_t i = 0; i < count; ++i)
        own[i] = initial.kind == Initial::Kind::constant
                     ? numbers[first]
                     : wave_field(initial, unknown, &numbers[first], x[i], parameters);
    }
    first += initial.numbers;
  }
  return drawn;
}

size_t EquationPde::initial_numbers() const {
  size_t sum = 0;
  for (const Initial& initial : initials_) sum += initial.numbers;
  return sum;
}

void EquationPde::field_values(std::span<const double> numbers, std::span<const double> parameters,
                               std::span<const double> x, std::span<double> out) const {
  const size_t fields = fields_.size(), count = x.size() / options_.length.size();
  const std::vector<double> drawn =
      random_state(fields_, false, numbers.subspan(initial_numbers()), parameters, x);
  kernels::TermValues values;
  field_formulas_.evaluate({static_cast<long>(count), drawn, x, {}, parameters, {}}, 0, values);
  for (size_t k = 0; k < fields; ++k)
    for (size_t i = 0; i < count; ++i) out[i * fields + k] = values.value[k * count + i];
}

void EquationPde::initial_state(std::span<const double> numbers, std::span<const double> parameters,
                                std::span<const double> x, std::span<double> out) const {
  const size_t m = options_.unknowns.size(), count = x.size() / options_.length.size();
  const std::vector<double> drawn = random_state(numbers, parameters, x);
  kernels::TermValues values;
  initial_.evaluate({static_cast<long>(count), drawn, x, {}, parameters, {}}, 0, values);
  for (size_t k = 0; k < m; ++k)
    for (size_t i = 0; i < count; ++i) out[i * m + k] = values.value[k * count + i];
}

void EquationPde::exact(double t, std::span<const double> parameters, std::span<const double> x,
                        std::span<double> out) const {
  const size_t m = options_.unknowns.size(), count = x.size() / options_.length.size();
  const std::vector<double> times(count, t);
  kernels::TermValues values;
  exact_->evaluate({static_cast<long>(count), {}, x, times, parameters, {}}, 0, values);
  for (size_t k = 0; k < m; ++k)
    for (size_t i = 0; i < count; ++i) out[i * m + k] = values.value[k * count + i];
}

Grid EquationPde::trial_grid() const {
  constexpr int cells[] = {64, 16, 8};
  return grid(std::vector<int>(options_.length.size(), cells[axes() - 1]));
}

std::vector<EquationPde::Trial> EquationPde::trial_states(const DeckNode& node) const {
  const RandomStream stream(0, "trial states");
  const int m = unknowns();
  const Grid cells = trial_grid();
  const int points = cells.cells();
  std::vector<Trial> trials(trial_states_count);
  const std::vector<double> x = cells.centres();
  std::vector<double> u(static_cast<size_t>(m * points));
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
    trial.x = with_fields(*this, numbers, trial.parameters, x);
    for (size_t i = x.size(); i < trial.x.size(); ++i) {
      if (std::isfinite(trial.x[i])) continue;
      const size_t point = i % static_cast<size_t>(points),
                   field = i / static_cast<size_t>(points) - options_.length.size();
      const std::vector<double> drawn =
          random_state(fields_, false, std::span(numbers).subspan(initial_numbers()), trial.parameters, x);
      node.child("fields").error_at(
          field_names_[field], "the field '" + field_names_[field] + "' is " + shortest(trial.x[i]) + " at " +
                                   place_text(x, static_cast<size_t>(points), point) + ": " +
                                   field_formulas_.explain({points, drawn, x, {}, trial.parameters, {}},
                                                           static_cast<long>(point)) +
                                   "; choose an expression that is finite from 0 to the length");
    }
    trial.arguments.assign(static_cast<size_t>(kernels::flux_arguments(axes(), m) * points), 0.0);
    for (int k = 0; k < m; ++k) {
      for (int i = 0; i < points; ++i) {
        const double value = u[static_cast<size_t>(i * m + k)];
        if (!std::isfinite(value)) {
          DeckNode place = node.child("initial");
          if (place.has(symbol(k))) place = place.child(symbol(k));
          if (place.has("expression")) place = place.child("expression");
          const std::vector<double> drawn = random_state(numbers, trial.parameters, x);
          place.error("the initial state of '" + symbol(k) + "' is " + shortest(value) + " at " +
                      place_text(x, static_cast<size_t>(points), static_cast<size_t>(i)) + ": " +
                      initial_.explain({points, drawn, x, {}, trial.parameters, {}}, i) +
                      "; choose an expression that is finite from 0 to the length");
        }
        double* to = &trial.arguments[static_cast<size_t>(k * points + i)];
        to[0] = value;
        for (int axis = 0; axis < axes(); ++axis) {
          const int n = cells.cells(axis), stride = cells.stride(axis), index = cells.index(i, axis);
          const auto at = [&](int shift) {  // a neighbour, at walls the cell itself
            const int other = periodic(axis) ? (index + shift + n) % n : std::clamp(index + shift, 0, n - 1);
            return u[static_cast<size_t>((i + (other - index) * stride) * m + k)];
          };
          const double before = at(-1), after = at(1), dx = cells.spacing(axis);
          to[(1 + axis) * m * points] = (after - before) / (2 * dx);
          if (axes() == 1) to[2 * m * points] = (after - 2 * value + before) / (dx * dx);
        }
      }
    }
    if (discretisation() == Discretisation::fourier)
      trial.arguments = FourierScheme(*this, cells, trial.parameters).all_arguments(u);
  }
  return trials;
}

void EquationPde::read_typical_state(const DeckNode& node) {
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
}

void EquationPde::read_typical(const DeckNode& node) {
  read_typical_state(node);
  const std::vector<double> parameters = middle_parameters();
  check_storage(node, typical_state_, 1, parameters, "the typical state");
  if (node.has("typical_slope")) {
    typical_slope_ = node.child("typical_slope").as_number({.min = 0, .exclusive_min = true});
    return;
  }
  const kernels::TermValues values = storage_slopes(typical_state_, 1, parameters);
  typical_slope_ = 0;
  for (int k = 0; k < unknowns(); ++k) typical_slope_ += values.by(k, k)[0] / unknowns();
  if (!(typical_slope_ > 0))
    node.error("the mean slope of the storage at the typical state is " + shortest(typical_slope_) +
               "; give typical_slope, or another typical_state");
}

void EquationPde::check_storage(const DeckNode& node, std::span<const double> u, long points,
                                const std::vector<double>& parameters, const std::string& where) const {
  if (steady_) return;
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

kernels::TermValues EquationPde::storage_slopes(std::span<const double> u, long points,
                                                const std::vector<double>& parameters) const {
  kernels::TermValues slopes;
  storage_.evaluate({points, u, {}, {}, parameters, {}}, 1, slopes);
  for (int k = 0; k < unknowns() && steady_; ++k) std::fill_n(slopes.by(k, k), points, 1.0);
  return slopes;
}

void EquationPde::check_singular(const DeckNode& node) const {
  const std::vector<double> parameters = middle_parameters();
  for (int k = 0; k < unknowns(); ++k) {
    bool held = source_.reads_argument(k);
    for (const kernels::Program& flux : flux_) held = held || flux.reads_argument(k);
    for (const Face& face : faces())
      for (const Place& at : wall_places(*this, face))
        held = held || wall(face, k, at, 0, parameters, {}).value_factor != 0;
    if (!held)
      error_of(
          node, "walls",
          "the steady problem is singular: no wall holds '" + symbol(k) +
              "' and neither flux nor source reads it, so that any constant can be added to a solution; give one "
              "wall a value or a Robin condition, or add a term in " +
              symbol(k) + " to the source");
  }
}

void EquationPde::check_diffusion(const DeckNode& node, int axis, const kernels::TermValues& flux,
                                  std::span<const double> u, const std::vector<double>& parameters,
                                  std::span<const double> x) const {
  if (flux_derivatives_ != 1) return;  // none, or a second derivative that may outweigh it
  const int m = unknowns(), first = (1 + axis) * term_fields();
  const long points = flux.size;
  const kernels::TermValues slopes = storage_slopes(u, points, parameters);
  for (int k = 0; k < m; ++k) {
    double largest = 0;
    for (long i = 0; i < points; ++i) largest = std::max(largest, std::abs(flux.by(k, first + k)[i]));
    for (long i = 0; i < points; ++i) {
      // Where other unknowns join in, their diffusion may outweigh this one's.
      bool alone = true;
      for (int other = 0; other < m; ++other)
        alone = alone && (other == k || (flux.by(k, first + other)[i] == 0 && slopes.by(k, other)[i] == 0));
      const double slope = flux.by(k, first + k)[i];
      if (!alone || !(slope * slopes.by(k, k)[i] > 0) || std::abs(slope) < 1e-12 * largest) continue;
      const std::string derivative = "d(" + symbol(k) + "," + space_name(axis) + ")";
      std::string state;
      for (int j = 0; j < m; ++j) state += symbol(j) + " = " + shortest(u[j * points + i]) + ", ";
      error_of(node, "flux",
               "the flux of '" + symbol(k) + "' is anti-diffusion: its derivative by " + derivative + " is " +
                   shortest(slope) + " at an initial state (" + state +
                   place_text(x, static_cast<size_t>(points), static_cast<size_t>(i)) +
                   ", t = 0), and the shortest waves grow without bound; diffusion is -D*" + derivative +
                   " with D >= 0");
    }
  }
}

void EquationPde::check_mixed_diffusion(const DeckNode& node, std::span<const kernels::TermValues> flux,
                                        std::span<const double> u, const std::vector<double>& parameters,
                                        std::span<const double> x) const {
  const int m = unknowns(), d = axes(), fields = term_fields();
  const long points = flux.front().size;
  const kernels::TermValues slopes = storage_slopes(u, points, parameters);
  for (int k = 0; k < m; ++k)
    for (long i = 0; i < points; ++i) {
      bool alone = true;
      std::vector<double> tensor(static_cast<size_t>(d * d));  // -dF/d(grad u), its symmetric part
      double largest = 0;
      for (int a = 0; a < d; ++a)
        for (int b = 0; b < d; ++b) {
          for (int other = 0; other < m; ++other)
            alone = alone && (other == k || (flux[a].by(k, (1 + b) * fields + other)[i] == 0 &&
                                             slopes.by(k, other)[i] == 0));
          const double entry =
              -0.5 * (flux[a].by(k, (1 + b) * fields + k)[i] + flux[b].by(k, (1 + a) * fields + k)[i]);
          tensor[static_cast<size_t>(a * d + b)] = slopes.by(k, k)[i] > 0 ? entry : -entry;
          largest = std::max(largest, std::abs(entry));
        }
      // It has no negative eigenvalue if no principal minor is negative; single entries have been looked at.
      double worst = 0;
      for (int a = 0; a < d; ++a)
        for (int b = 0; b < a; ++b) {
          const double cross = tensor[a * d + b];
          worst = std::min(worst, (tensor[a * d + a] * tensor[b * d + b] - cross * cross) / largest);
        }
      if (d == 3) worst = std::min(worst, determinant(tensor, d) / (largest * largest));
      if (!alone || !(worst < -1e-12 * largest)) continue;
      std::string rows, state;
      for (int a = 0; a < d; ++a) {
        rows += a > 0 ? "], [" : "";
        for (int b = 0; b < d; ++b) rows += (b > 0 ? ", " : "") + shortest(tensor[a * d + b]);
      }
      for (int j = 0; j < m; ++j) state += symbol(j) + " = " + shortest(u[j * points + i]) + ", ";
      error_of(
          node, "flux",
          "the flux of '" + symbol(k) +
              "' is anti-diffusion in a direction between the axes: its matrix D in -D*grad(" + symbol(k) +
              ") has the symmetric part [[" + rows + "]] with a negative eigenvalue at an initial state (" +
              state + place_text(x, static_cast<size_t>(points), static_cast<size_t>(i)) +
              ", t = 0), and the shortest waves grow without bound; make what stands beside the diagonal smaller "
              "(D_xy^2 <= D_xx D_yy)");
    }
}

void EquationPde::check_terms(const DeckNode& node, const std::vector<Trial>& trials) const {
  const int m = unknowns();
  const Grid cells = trial_grid();
  const int points = cells.cells();
  const std::vector<double> t(static_cast<size_t>(points), 0.0);
  for (const Trial& trial : trials) {
    const std::vector<double>& x = trial.x;
    const std::span<const double> u(trial.arguments.data(), static_cast<size_t>(m * points));
    check_storage(node, u, points, trial.parameters, "an initial state");
    std::vector<kernels::TermValues> fluxes;
    for (int axis = 0; axis <= axes(); ++axis) {  // the flux along each, then the source
      const bool is_flux = axis < axes();
      const char* term = is_flux ? "flux" : "source";
      const kernels::Program& program = is_flux ? flux_[static_cast<size_t>(axis)] : source_;
      const kernels::TermPoints at{points, trial.arguments, x, t, trial.parameters, {}};
      kernels::TermValues values;
      program.evaluate(at, 2, values);
      const auto finite = [](const std::vector<double>& list) {
        return std::all_of(list.begin(), list.end(), [](double v) { return std::isfinite(v); });
      };
      if (finite(values.value) && finite(values.gradient) && finite(values.hessian)) {
        if (!is_flux) continue;
        check_diffusion(node, axis, values, u, trial.parameters, x);
        fluxes.push_back(std::move(values));
        continue;
      }
      for (int i = 0; i < points; ++i) {
        const std::string fault = program.explain(at, i);
        if (fault.empty()) continue;
        std::string state;
        for (int k = 0; k < m; ++k)
          state += (k > 0 ? ", " : "") + symbol(k) + " = " + shortest(u[k * points + i]);
        const std::string along =
            is_flux && axes() > 1 ? std::string(" along ") + space_name(axis) : std::string();
        error_of(node, term,
                 std::string("the ") + term + along +
                     " is not finite with its derivatives at an initial state (" + state + ", " +
                     place_text(x, static_cast<size_t>(points), static_cast<size_t>(i)) +
                     ", t = 0): " + fault +
                     "; choose other initial states, or another formula there, see if(condition, a, b)");
      }
    }
    if (mixed_derivatives_) check_mixed_diffusion(node, fluxes, u, trial.parameters, x);
  }
  if (m > 1) return;
  // The values that Dirichlet walls hold.
  for (const Face& face : faces())
    for (const Place& at : wall_places(*this, face)) {
      const WallCondition condition = wall(face, 0, at, 0, trials.front().parameters, {});
      if (condition.slope_factor != 0) continue;
      const double u = condition.target / condition.value_factor;
      check_storage(node, std::span(&u, 1), 1, trials.front().parameters, "the " + face_name(face) + " wall");
    }
}

}  // namespace rankine
