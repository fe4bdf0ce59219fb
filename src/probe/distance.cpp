#include "src/probe/distance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.hpp"
#include "src/core/pattern.hpp"
#include "src/core/statistics.hpp"
#include "src/core/strings.hpp"
#include "src/probe/moments.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double line_r2(std::span<const double> x, std::span<const double> y) {
  if (x.size() < 3) return nan;
  const double x0 = mean(x), y0 = mean(y);
  double xx = 0, xy = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - x0) * (x[i] - x0);
    xy += (x[i] - x0) * (y[i] - y0);
    yy += (y[i] - y0) * (y[i] - y0);
  }
  return xy * xy / (xx * yy);
}

void Distance::Options::options(OptionVisitor& o) {
  o("from", from,
    {.help = "what the weights are compared with: `initial`, those that training starts from, SNAPSHOT of an "
             "earlier step, or VARIANT@SNAPSHOT",
     .snapshot = true});
  o("on", on, {.help = "patterns of names of parameters; empty: all that the network trains"});
  o("every", every, {.help = moments_help});
  o("fit_from", fit_from,
    {.help = "first step of the fits of the distance to log(step) and sqrt(step)",
     .unit = "steps",
     .min = 1});
  o("fit_to", fit_to, {.help = "last step of them (0: the last of all)", .unit = "steps", .min = 0});
}

void Distance::Options::validate(const DeckNode& node) const { check_moments(every, node); }

Distance::Distance(const Options& options) : options_(options) {
  if (options.from != "initial") suffix_ = suffix_of(options.from);
}

void Distance::check(const ProbeSetup& setup) const {
  if (parts(setup.network).empty())
    throw InputError("on: no parameter has such a name, " + join(options_.on));
  const std::string& from = options_.from;
  if (from == "initial" || from.find('@') != std::string::npos || setup.snapshots.contains(from)) return;
  std::vector<std::string> names{"initial"};
  for (const auto& [name, step] : setup.snapshots) names.push_back(name);
  throw InputError("from: the run leaves no snapshot '" + printable(from) + "'; allowed: " + join(names) +
                   ", and VARIANT@SNAPSHOT of a variant above");
}

std::vector<ParameterInfo> Distance::parts(const Network& network) const {
  std::vector<ParameterInfo> out;
  const ParameterSet parameters = network.initial_parameters(0);  // phases freeze others
  for (const ParameterInfo& part : parameters.parts())
    if (options_.on.empty() ? !part.frozen : matches_any(options_.on, part.name)) out.push_back(part);
  return out;
}

std::vector<MetricInfo> Distance::metrics() const {
  const std::string name = "distance" + suffix_,
                    start = options_.from == "initial" ? "where training starts" : options_.from;
  return {{name, "1", "Euclidean distance of the weights from " + start, false, true},
          {name + "_angle", "rad", "angle between the weights and " + start, false, true},
          {name + "_log_r2", "1", "r^2 of a line through the distance over log(step)", false, true},
          {name + "_sqrt_r2", "1", "r^2 of a line through the distance over sqrt(step)", false, true}};
}

std::vector<double> Distance::measured() const {
  std::vector<double> log_step, sqrt_step, y;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i] < options_.fit_from || (options_.fit_to > 0 && steps_[i] > options_.fit_to)) continue;
    const auto step = static_cast<double>(steps_[i]);
    log_step.push_back(std::log(step));
    sqrt_step.push_back(std::sqrt(step));
    y.push_back(euclidean_[i]);
  }
  const auto last = [](const std::vector<double>& values) { return values.empty() ? nan : values.back(); };
  return {last(euclidean_), last(angle_), line_r2(log_step, y), line_r2(sqrt_step, y)};
}

std::vector<std::int64_t> Distance::steps(std::int64_t total) const {
  std::vector<std::int64_t> out = moments(options_.every, total);
  // The start of the way is noted.
  if (options_.from == "initial" && out.front() > 0) out.insert(out.begin(), 0);
  return out;
}

void Distance::begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) {
  start_ = run.parameters.flat().clone();
  parts_ = parts(run.setup.network);
  state.add(prefix + "/start", StateKind::replicated, start_);
  state.add(prefix + "/step", StateKind::replicated, steps_);
  state.add(prefix + "/euclidean", StateKind::replicated, euclidean_);
  state.add(prefix + "/angle", StateKind::replicated, angle_);
}

void Distance::measure(const ProbeRun& run, std::int64_t done) {
  if (options_.from == "initial") {
    if (done == 0) start_.assign(run.parameters.flat());
  } else {
    const auto own = run.setup.snapshots.find(options_.from);
    if (own != run.setup.snapshots.end() && done < own->second) return;  // not left yet
    const StateSnapshot snapshot = run.snapshot(options_.from);
    // What `parametrise` adds here has nothing there to be compared with.
    std::erase_if(parts_,
                  [&](const ParameterInfo& part) { return !snapshot.contains("weights/" + part.name); });
    for (const ParameterInfo& part : parts_)
      start_.view(part.shape, row_major_strides(part.shape), part.offset)
          .assign_bytes(snapshot.at("weights/" + part.name).bytes);
  }
  const std::vector<double> now = run.parameters.flat().to_vector(), start = start_.to_vector();
  double apart = 0, own = 0, other = 0, both = 0;
  for (const ParameterInfo& part : parts_) {
    const Tensor& mask = run.parameters.part(part.name).mask;
    const std::vector<double> kept = mask.defined() ? mask.to_vector() : std::vector<double>();
    for (std::size_t k = 0; k < static_cast<std::size_t>(part.shape.count()); ++k) {
      if (!kept.empty() && kept[k] == 0) continue;
      const std::size_t i = static_cast<std::size_t>(part.offset) + k;
      apart += (now[i] - start[i]) * (now[i] - start[i]);
      own += now[i] * now[i];
      other += start[i] * start[i];
      both += now[i] * start[i];
    }
  }
  steps_.push_back(done);
  euclidean_.push_back(std::sqrt(apart));
  angle_.push_back(apart == 0 ? 0 : std::acos(std::clamp(both / std::sqrt(own * other), -1.0, 1.0)));
  TableWriter table = run.results.table("distance" + suffix_);
  table.row(done, "euclidean", euclidean_.back());
  table.row(done, "angle", angle_.back());
}

}  // namespace rankine
