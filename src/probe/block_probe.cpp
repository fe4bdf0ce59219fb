#include "src/probe/block_probe.hpp"

#include <limits>

#include "src/probe/block_range.hpp"
#include "src/probe/moments.hpp"
#include "src/probe/probe_list.hpp"

namespace rankine {

void BlockProbeOptions::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "split whose first examples are taken", .choices = {"training", "validation"}});
  o("examples", examples,
    {.help = zero_is_all_ ? "number of examples (0: all)" : "number of examples",
     .min = zero_is_all_ ? 0.0 : 1.0});
  o("blocks", blocks, {.help = blocks_help, .min = 0, .max_size = 2});
}

void BlockProbeOptions::validate(const DeckNode& node) const { check_moments(every, node); }

void BlockProbe::check(const ProbeSetup& setup) const {
  blocks(setup.network);
  if (setup.data.size(split_of(common_.on)) == 0)
    throw InputError("there are no " + common_.on + " examples; take on: training");
}

std::vector<int> BlockProbe::blocks(const Network& network) const {
  return square_blocks(common_.blocks, network);
}

std::vector<double> BlockProbe::measured() const {
  return {values_.empty() ? std::numeric_limits<double>::quiet_NaN() : values_.back()};
}

std::vector<std::int64_t> BlockProbe::steps(std::int64_t total) const {
  return moments(common_.every, total);
}

void BlockProbe::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/values", StateKind::replicated, values_);
}

}  // namespace rankine
