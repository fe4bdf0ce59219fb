#include "src/probe/block_angle.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "src/core/statistics.hpp"
#include "src/probe/block_range.hpp"
#include "src/probe/probe_list.hpp"

namespace rankine {
std::vector<double> angles(const Tensor& a, const Tensor& b, bool last) {
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  const auto n = static_cast<std::size_t>(a.extent(1));
  const std::size_t each = x.size() / n;
  const std::size_t from = last && a.rank() == 4 ? each - static_cast<std::size_t>(a.extent(3)) : 0;
  std::vector<double> out;
  for (std::size_t i = 0; i < n; ++i) {
    double xx = 0, xy = 0, yy = 0;
    for (std::size_t k = i * each + from; k < (i + 1) * each; ++k) {
      xx += x[k] * x[k];
      xy += x[k] * y[k];
      yy += y[k] * y[k];
    }
    out.push_back(std::acos(std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0)) / std::numbers::pi);
  }
  return out;
}

void BlockAngle::Options::options(OptionVisitor& o) {
  BlockProbeOptions::options(o);
  o("position", position,
    {.help = "of a sequence: its last position, or all of them as one vector", .choices = {"last", "all"}});
}

std::vector<MetricInfo> BlockAngle::metrics() const {
  return {{"block_angle", "1", "angle between blocks' inputs and outputs over pi, mean over the blocks",
           false, true}};
}

void BlockAngle::measure(const ProbeRun& run, std::int64_t done) {
  const Network& network = run.setup.network;
  const std::vector<int> measured = blocks(network);
  const std::vector<std::string> names = names_of(measured, network);
  const SharedTileSum one = local_tile_sum(1);
  const std::vector<double> found = mean_over_examples(
      run, split_of(options_.on), options_.examples, measured.size(),
      [&](const Examples& examples, std::vector<double>& numbers) {
        // A rule may pass the network several times for one output.
        std::map<std::string, std::vector<std::vector<double>>> passes;
        Pass pass{.shards = one};
        pass.samples = examples.ids;
        pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor& output) {
          if (std::find(names.begin(), names.end(), name) != names.end())
            passes[name].push_back(angles(input, output, options_.position == "last"));
          return Tensor();
        });
        run.predict(run.parameters.bind(one), examples.inputs, pass);
        for (std::size_t i = 0; i < examples.ids.size(); ++i)
          for (const std::string& name : names) {
            std::vector<double> of_sample;
            for (const std::vector<double>& values : passes[name]) of_sample.push_back(values[i]);
            numbers.push_back(mean(of_sample));
          }
      });
  values_.push_back(mean(found));
  run.results.table("angle", {"block", names}).row(done, "angle", found);
}

}  // namespace rankine
