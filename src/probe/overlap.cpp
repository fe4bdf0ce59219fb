#include "src/probe/overlap.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.hpp"
#include "src/core/pattern.hpp"
#include "src/core/strings.hpp"
#include "src/probe/moments.hpp"

namespace rankine {

void Overlap::Options::options(OptionVisitor& o) {
  o("with", with,
    {.help = "what the weights are compared with: `initial`, those that training starts from, or "
             "VARIANT@SNAPSHOT",
     .snapshot = true});
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "patterns of names of the weights", .min_size = 1});
}

void Overlap::Options::validate(const DeckNode& node) const {
  check_moments(every, node);
  if (with != "initial" && with.find('@') == std::string::npos)
    node.error_at("with", "with: '" + printable(with) +
                              "' names no snapshot; allowed: initial, and VARIANT@SNAPSHOT, "
                              "such as dense@end");
}

Overlap::Overlap(const Options& options)
    : options_(options), name_("overlap" + (options.with == "initial" ? "" : suffix_of(options.with))) {}

void Overlap::check(const ProbeSetup& setup) const {
  std::vector<std::string> names;
  const ParameterSet parameters = setup.network.initial_parameters(0);
  for (const ParameterInfo& part : parameters.parts()) names.push_back(part.name);
  for (const std::string& pattern : options_.on)
    if (std::none_of(names.begin(), names.end(), [&](const auto& name) { return matches(pattern, name); }))
      throw InputError("on: '" + printable(pattern) + "' is the name of no parameter; the parameters are " +
                       join(names));
}

std::vector<MetricInfo> Overlap::metrics() const {
  const std::string both = "the weights that are not zero here and those that are not in " + options_.with;
  return {{name_, "1", "shared part of " + both, false, true},
          {name_ + "_cosine", "1", "cosine between the masks of " + both, false, true},
          {name_ + "_share", "1", "part of the weights of the overlap probe that is not zero", false, true}};
}

std::vector<double> Overlap::measured() const {
  if (values_.empty()) return std::vector<double>(3, std::numeric_limits<double>::quiet_NaN());
  return {values_.end() - 3, values_.end()};
}

std::vector<std::int64_t> Overlap::steps(std::int64_t total) const {
  std::vector<std::int64_t> out = moments(options_.every, total);
  if (options_.with == "initial" && out.front() > 0) out.insert(out.begin(), 0);
  return out;
}

void Overlap::begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) {
  start_ = run.parameters.flat().clone();
  state.add(prefix + "/start", StateKind::replicated, start_);
  state.add(prefix + "/values", StateKind::replicated, values_);
}

void Overlap::measure(const ProbeRun& run, std::int64_t done) {
  const NoGrad off;
  const Pass pass{.shards = local_tile_sum(1)};
  BoundParameters seen = run.parameters.bind(pass.shards);
  run.setup.network.express(seen, pass);
  if (done == 0) start_.assign(run.parameters.flat());
  const bool initial = options_.with == "initial";
  const StateSnapshot snapshot = initial ? StateSnapshot() : run.snapshot(options_.with);
  double all = 0, own = 0, other = 0, both = 0;
  for (const ParameterInfo& part : run.parameters.parts()) {
    const auto found = snapshot.find("weights/" + part.name);
    if (!matches_any(options_.on, part.name) || (!initial && found == snapshot.end())) continue;
    const Tensor compared = initial ? start_.view(part.shape, row_major_strides(part.shape), part.offset)
                                    : Tensor::from_bytes(found->second.bytes, part.shape, found->second.type);
    const std::vector<double> a = seen[part.name].to_vector(), b = compared.to_vector();
    all += static_cast<double>(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      own += a[i] != 0 ? 1 : 0;
      other += b[i] != 0 ? 1 : 0;
      both += a[i] != 0 && b[i] != 0 ? 1 : 0;
    }
  }
  const bool none = own + other == 0;
  values_.push_back(none ? 1 : both / (own + other - both));
  values_.push_back(none ? 1 : own * other == 0 ? 0 : both / std::sqrt(own * other));
  values_.push_back(own / all);
  TableWriter table = run.results.table(name_);
  table.row(done, "union", measured()[0]);
  table.row(done, "cosine", measured()[1]);
  table.row(done, "share", measured()[2]);
}

}  // namespace rankine
