#include "src/probe/out_of_distribution.hpp"

#include <cmath>
#include <set>

#include "src/core/random.hpp"
#include "src/probe/calibration.hpp"
#include "src/probe/scores.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {

// What is strange is the same for all seeds of a deck, as the examples are.
constexpr std::uint64_t seed = 0;

Tensor permuted_pixels(const Tensor& inputs) {
  const bool images = inputs.rank() == 5;
  const std::int64_t n = inputs.extent(1), channels = images ? inputs.extent(2) : 1;
  const Tensor flat = reshape(inputs, {n, channels, -1});
  const std::vector<std::int64_t> order =
      RandomStream(seed, "probe/ood/permutation").permutation(flat.extent(2), 0);
  return reshape(gather(flat, 2, Tensor::from(order, {flat.extent(2)})), inputs.shape());
}

Tensor noise_like(const Tensor& inputs, const std::vector<std::int64_t>& ids) {
  const std::vector<double> values = inputs.to_vector();
  const RandomStream random(seed, "probe/ood/noise");
  const std::size_t each = values.size() / ids.size();
  HostArray<double> noise(inputs.shape());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    double mean = 0, square = 0;
    for (std::size_t k = 0; k < each; ++k) mean += values[i * each + k];
    mean /= static_cast<double>(each);
    for (std::size_t k = 0; k < each; ++k)
      square += (values[i * each + k] - mean) * (values[i * each + k] - mean);
    const double deviation = std::sqrt(square / static_cast<double>(each));
    for (std::size_t k = 0; k < each; ++k)
      noise[static_cast<std::int64_t>(i * each + k)] =
          mean + deviation * random.normal(0, ids[i], static_cast<std::int64_t>(k));
  }
  return cast(noise.to_device(), inputs.dtype());
}

void OutOfDistribution::Options::options(OptionVisitor& o) {
  o("against", against,
    {.help =
         "kinds of strange inputs: noise of each input's mean and deviation, or the input with its pixels "
         "in another order, the same for all",
     .choices = {"noise", "permuted_pixels"},
     .min_size = 1});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

void OutOfDistribution::Options::validate(const DeckNode& node) const {
  if (std::set<std::string>(against.begin(), against.end()).size() < against.size())
    node.error_at("against", "against: names a kind twice; leave one of them out");
}

Split OutOfDistribution::split() const { return split_of(options_.on); }

void OutOfDistribution::check(const ProbeSetup& setup) const {
  check_classes(setup);
  const std::vector<std::int64_t> first{0};
  const DType type = setup.data.examples(split(), first, setup.network.dtype()).inputs.dtype();
  if (type != setup.network.dtype() || setup.network.output().rank() != 1)
    throw InputError(
        "it takes real inputs and one class for each; leave it out for tokens and for sequences of classes");
}

std::vector<MetricInfo> OutOfDistribution::metrics() const {
  std::vector<MetricInfo> out;
  for (const std::string& kind : options_.against)
    out.push_back({"ood_auroc_" + kind, "1",
                   "probability that the network is surer of one of the " + options_.on +
                       " examples than of " + (kind == "noise" ? "noise" : "one with permuted pixels")});
  return out;
}

void OutOfDistribution::see(const ProbeRun& run, const EvaluatedBatch& batch,
                            std::vector<double>& numbers) const {
  std::vector<std::vector<Judgement>> columns{judge(batch.outputs, batch.targets)};
  const SharedTileSum one = local_tile_sum(1);
  const BoundParameters bound = run.parameters.bind(one);
  for (const std::string& kind : options_.against) {
    Pass pass{.shards = one};
    pass.samples = batch.ids;
    const Tensor strange =
        kind == "noise" ? noise_like(batch.inputs, batch.ids) : permuted_pixels(batch.inputs);
    columns.push_back(judge(run.predict(bound, strange, pass), batch.targets));
  }
  for (std::size_t i = 0; i < columns[0].size(); ++i)
    for (const std::vector<Judgement>& column : columns) numbers.push_back(column[i].confidence);
}

void OutOfDistribution::conclude(const std::vector<double>& numbers) {
  std::vector<std::vector<double>> columns(1 + options_.against.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) columns[i % columns.size()].push_back(numbers[i]);
  values_.clear();
  for (std::size_t k = 1; k < columns.size(); ++k)
    values_.push_back(ranking_probability(columns[0], columns[k]));
}

}  // namespace rankine
