#include "src/probe/block_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/comm/tile_tree.hpp"
#include "src/core/statistics.hpp"
#include "src/probe/block_range.hpp"
#include "src/probe/moments.hpp"
#include "src/probe/probe_list.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool belongs(const ParameterInfo& part, const Layer& block) {
  return !part.frozen && part.name.rfind(block.name() + ".", 0) == 0;
}

/// Of the probe's blocks those with trainable numbers.
std::vector<int> learning_blocks(const std::vector<int>& range, const Network& network) {
  const ParameterSet parameters = network.initial_parameters(0);
  std::vector<int> out;
  for (const int b : block_range(range, network))
    if (std::any_of(parameters.parts().begin(), parameters.parts().end(),
                    [&](const ParameterInfo& part) { return belongs(part, network.block(b)); }))
      out.push_back(b);
  if (out.empty()) throw InputError("none of the blocks has anything to learn; name others in `blocks`");
  return out;
}

}  // namespace

std::vector<double> mean_gradient(const ProbeRun& run, Split split, std::int64_t count) {
  const ProbeSetup& setup = run.setup;
  const std::int64_t taken = std::min(count, setup.data.size(split));
  std::vector<double> chunks;  // a gradient each
  const WithTape on;
  deal_examples(
      run.communicator, setup.data, split, taken, setup.batch, setup.network.dtype(), [] {},
      [&](const Examples& examples) {
        Pass pass{.shards = local_tile_sum(1)};
        pass.samples = examples.ids;
        const BoundParameters bound = run.parameters.bind(pass.shards);
        const Tensor outputs = run.predict(bound, examples.inputs, pass);
        const Tensor loss = sum(setup.loss.per_sample(outputs, examples.targets, 2));
        const std::vector<double> found = grad({loss}, {Tensor()}, {bound.flat()}).front().to_vector();
        chunks.insert(chunks.end(), found.begin(), found.end());
      });
  std::vector<double> out(static_cast<std::size_t>(run.parameters.count()));
  const BlockPartition dealt((taken + setup.batch - 1) / setup.batch, run.communicator.size());
  TileTree(run.communicator, dealt).sum(std::span<const double>(chunks), std::span<double>(out));
  for (double& value : out) value /= static_cast<double>(taken);
  return out;
}

void BlockGradient::Options::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "split whose first examples are taken", .choices = {"training", "validation"}});
  o("examples", examples, {.help = "number of examples", .min = 1});
  o("blocks", blocks, {.help = blocks_help, .min = 0, .max_size = 2});
}

void BlockGradient::Options::validate(const DeckNode& node) const { check_moments(every, node); }

void BlockGradient::check(const ProbeSetup& setup) const {
  learning_blocks(options_.blocks, setup.network);
  if (setup.data.size(split_of(options_.on)) == 0)
    throw InputError("there are no " + options_.on + " examples; take on: training");
}

std::vector<MetricInfo> BlockGradient::metrics() const {
  return {{"gradient_norm_variation_first", "1",
           "standard deviation over mean of the blocks' gradient norms, first measurement", false, true},
          {"gradient_norm_variation_last", "1", "the same, last measurement", false, true}};
}

std::vector<double> BlockGradient::measured() const {
  if (variation_.empty()) return {nan, nan};
  return {variation_.front(), variation_.back()};
}

std::vector<std::int64_t> BlockGradient::steps(std::int64_t total) const {
  return moments(options_.every, total);
}

void BlockGradient::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/variation", StateKind::replicated, variation_);
}

void BlockGradient::measure(const ProbeRun& run, std::int64_t done) {
  const Network& network = run.setup.network;
  const std::vector<int> blocks = learning_blocks(options_.blocks, network);
  const std::vector<double> gradient = mean_gradient(run, split_of(options_.on), options_.examples);
  const ParameterSet parts = network.initial_parameters(0);  // phases freeze others
  std::vector<double> norms;
  for (const int b : blocks) {
    double square = 0;
    for (const ParameterInfo& part : parts.parts()) {
      if (!belongs(part, network.block(b))) continue;
      const Tensor mask = run.parameters.part(part.name).mask;
      const std::vector<double> kept = mask.defined() ? mask.to_vector() : std::vector<double>();
      for (std::size_t i = 0; i < static_cast<std::size_t>(part.shape.count()); ++i) {
        const double g = gradient[static_cast<std::size_t>(part.offset) + i];
        if (kept.empty() || kept[i] != 0) square += g * g;
      }
    }
    norms.push_back(std::sqrt(square));
  }
  variation_.push_back(standard_deviation(norms) / mean(norms));
  run.results.table("gradient_norm", {"block", names_of(blocks, network)}).row(done, "norm", norms);
}

}  // namespace rankine
