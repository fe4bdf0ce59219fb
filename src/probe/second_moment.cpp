#include "src/probe/second_moment.hpp"

#include "src/core/pattern.hpp"
#include "src/core/statistics.hpp"
#include "src/optim/optimizer.hpp"
#include "src/probe/moments.hpp"

namespace rankine {

void SecondMoment::Options::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("from", from, {.help = "first step whose measurement counts", .unit = "steps", .min = 0});
  o("on", on, {.help = "patterns of names of the weights", .min_size = 1});
}

void SecondMoment::Options::validate(const DeckNode& node) const { check_moments(every, node); }

std::vector<MetricInfo> SecondMoment::metrics() const {
  return {{"second_moment_zero", "1",
           "optimiser's second moment, mean over the weights that are seen as zero", false, true},
          {"second_moment_kept", "1", "optimiser's second moment, mean over the other weights", false, true}};
}

std::vector<double> SecondMoment::measured() const { return {mean(finite(zero_)), mean(finite(kept_))}; }

std::vector<std::int64_t> SecondMoment::steps(std::int64_t total) const {
  return moments(options_.every, total);
}

void SecondMoment::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/zero", StateKind::replicated, zero_);
  state.add(prefix + "/kept", StateKind::replicated, kept_);
}

void SecondMoment::measure(const ProbeRun& run, std::int64_t done) {
  const Tensor moment = run.optimizer == nullptr ? Tensor() : run.optimizer->second_moment();
  if (!moment.defined() || done < options_.from) return;
  const NoGrad off;
  const Pass pass{.shards = local_tile_sum(1)};
  BoundParameters seen = run.parameters.bind(pass.shards);
  run.setup.network.express(seen, pass);
  const std::vector<double> all = moment.to_vector();
  double sums[2] = {0, 0}, counts[2] = {0, 0};
  for (const ParameterInfo& part : run.parameters.parts()) {
    if (part.frozen || !matches_any(options_.on, part.name)) continue;
    const std::vector<double> weights = seen[part.name].to_vector();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const int kept = weights[i] != 0 ? 1 : 0;
      sums[kept] += all[static_cast<std::size_t>(part.offset) + i];
      counts[kept] += 1;
    }
  }
  zero_.push_back(sums[0] / counts[0]);
  kept_.push_back(sums[1] / counts[1]);
  TableWriter table = run.results.table("second_moment");
  table.row(done, "zero", zero_.back());
  table.row(done, "kept", kept_.back());
}

}  // namespace rankine
