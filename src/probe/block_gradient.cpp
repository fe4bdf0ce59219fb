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

}  // namespace

std::vector<double> mean_gradient(const ProbeRun& run, Split split, std::int64_t count,
                                  const std::vector<double>& along) {
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
        Tensor found = grad({loss}, {Tensor()}, {bound.flat()}, {.create_graph = !along.empty()}).front();
        if (!along.empty()) {
          const Tensor v = cast(Tensor::from(along, found.shape()), found.dtype());
          // Of a loss that is linear in the parameters the gradient is off the tape, and its derivative zero.
          found = found.on_tape() ? grad({found}, {v}, {bound.flat()}).front()
                                  : Tensor::zeros(found.shape(), found.dtype());
        }
        const std::vector<double> values = found.to_vector();
        chunks.insert(chunks.end(), values.begin(), values.end());
      });
  std::vector<double> out(static_cast<std::size_t>(run.parameters.count()));
  const BlockPartition dealt((taken + setup.batch - 1) / setup.batch, run.communicator.size());
  TileTree(run.communicator, dealt).sum(std::span<const double>(chunks), std::span<double>(out));
  for (double& value : out) value /= static_cast<double>(taken);
  return out;
}

std::vector<int> BlockGradient::blocks(const Network& network) const {
  const ParameterSet parameters = network.initial_parameters(0);
  std::vector<int> out;
  for (const int b : block_range(options_.blocks, network))
    if (std::any_of(parameters.parts().begin(), parameters.parts().end(),
                    [&](const ParameterInfo& part) { return belongs(part, network.block(b)); }))
      out.push_back(b);
  if (out.empty()) throw InputError("none of the blocks has anything to learn; name others in `blocks`");
  return out;
}

std::vector<MetricInfo> BlockGradient::metrics() const {
  return {{"gradient_norm_values_first", "1",
           "standard deviation over mean of the blocks' gradient norms, first measurement", false, true},
          {"gradient_norm_values_last", "1", "the same, last measurement", false, true}};
}

std::vector<double> BlockGradient::measured() const {
  if (values_.empty()) return {nan, nan};
  return {values_.front(), values_.back()};
}

void BlockGradient::measure(const ProbeRun& run, std::int64_t done) {
  const Network& network = run.setup.network;
  const std::vector<int> measured = blocks(network);
  const std::vector<double> gradient = mean_gradient(run, split_of(options_.on), options_.examples);
  const ParameterSet parts = network.initial_parameters(0);  // phases freeze others
  std::vector<double> norms;
  for (const int b : measured) {
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
  values_.push_back(standard_deviation(norms) / mean(norms));
  run.results.table("gradient_norm", {"block", names_of(measured, network)}).row(done, "norm", norms);
}

}  // namespace rankine
