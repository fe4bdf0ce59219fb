#include "src/probe/block_removal.hpp"

#include "src/core/statistics.hpp"
#include "src/probe/block_range.hpp"
#include "src/probe/probe_list.hpp"

namespace rankine {
std::vector<MetricInfo> BlockRemoval::metrics() const {
  return {{"removal_increase", "1", "what the loss gains where a block is left out, mean over the blocks",
           false, true}};
}

void BlockRemoval::measure(const ProbeRun& run, std::int64_t done) {
  const Network& network = run.setup.network;
  const std::vector<int> measured = blocks(network);
  std::vector<std::string> left_out = names_of(measured, network);
  left_out.insert(left_out.begin(), "");  // the whole network
  const SharedTileSum one = local_tile_sum(1);
  const std::vector<double> found = mean_over_examples(
      run, split_of(options_.on), options_.examples, left_out.size(),
      [&](const Examples& examples, std::vector<double>& numbers) {
        std::vector<std::vector<double>> losses;
        const BoundParameters bound = run.parameters.bind(one);
        for (const std::string& out : left_out) {
          Pass pass{.shards = one};
          pass.samples = examples.ids;
          pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor&) {
            return name == out ? input : Tensor();
          });
          const Tensor outputs = run.predict(bound, examples.inputs, pass);
          losses.push_back(run.setup.loss.per_sample(outputs, examples.targets, 2).to_vector());
        }
        for (std::size_t i = 0; i < examples.ids.size(); ++i)
          for (const std::vector<double>& of_examples : losses) numbers.push_back(of_examples[i]);
      });
  const std::vector<double> loss(found.begin() + 1, found.end());
  std::vector<double> increase;
  for (const double value : loss) increase.push_back(value - found.front());
  values_.push_back(mean(increase));
  TableWriter table = run.results.table("removal", {"block", names_of(measured, network)});
  table.row(done, "loss", loss);
  table.row(done, "increase", increase);
}

}  // namespace rankine
