#include "src/probe/gate_load.hpp"

#include <fmt/format.h>

#include "src/probe/scores.hpp"

namespace rankine {

void GateLoad::Options::options(OptionVisitor& o) {
  o("block", block, {.help = "name of the mixture, such as block2; empty: the first"});
  o("threshold", threshold,
    {.help = "an example uses the experts with a weight above this", .min = 0, .max = 1});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

Split GateLoad::split() const { return split_of(options_.on); }

void GateLoad::check(const ProbeSetup& setup) const {
  std::string known;
  experts_ = 0;
  for (const auto& [name, experts] : setup.network.sides().gates) {
    known += (known.empty() ? "" : ", ") + name;
    if (experts_ > 0 || (!options_.block.empty() && options_.block != name)) continue;
    block_ = name;
    experts_ = static_cast<std::size_t>(experts);
  }
  if (experts_ == 0)
    throw InputError(known.empty()
                         ? "the network has no mixture; leave it out, or give model.blocks a block `moe`"
                         : "block: '" + options_.block + "' is no mixture; allowed: " + known);
}

std::vector<MetricInfo> GateLoad::metrics() const {
  const std::string of = ", " + options_.on + " examples";
  std::vector<MetricInfo> out{
      {options_.on + "_active_experts", "1", "experts that an example uses, mean" + of}};
  for (std::size_t e = 0; e < experts_; ++e) {
    out.push_back({fmt::format("{}_load_{}", options_.on, e), "1",
                   fmt::format("share of the examples that use expert {}{}", e, of)});
    out.push_back(
        {fmt::format("{}_weight_{}", options_.on, e), "1", fmt::format("mean weight of expert {}{}", e, of)});
  }
  return out;
}

void GateLoad::see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const {
  SideOutputs side;
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = batch.ids;
  pass.side = &side;
  run.predict(run.parameters.bind(pass.shards), batch.inputs, pass);
  const std::vector<double> weights = side.gates.at(block_).to_vector();
  numbers.insert(numbers.end(), weights.begin(), weights.end());
}

void GateLoad::conclude(const std::vector<double>& numbers) {
  values_.assign(1 + 2 * experts_, 0.0);
  const double share = static_cast<double>(experts_) / static_cast<double>(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t expert = i % experts_;
    values_[2 + 2 * expert] += share * numbers[i];
    if (numbers[i] <= options_.threshold) continue;
    values_[0] += share;
    values_[1 + 2 * expert] += share;
  }
}

}  // namespace rankine
