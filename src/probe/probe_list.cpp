#include "src/probe/probe_list.hpp"

#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "src/deck/lists.hpp"

namespace rankine {
namespace {

/// [n, ...] as [1, n, ...].
Tensor one_shard(const Tensor& x) {
  Shape shape = x.shape();
  shape.insert(0, 1);
  return reshape(x, shape);
}

}  // namespace

ProbeList::ProbeList(const DeckNode& variant, const ProbeSetup& setup) {
  std::set<std::string> metrics;
  for (const DeckNode& item : list_in(variant, "probes", "[distance, {name: calibration, bins: 15}]")) {
    std::unique_ptr<Probe> probe = probes().make(item);
    const std::string name = item.child("name").as_text();
    auto* steps = dynamic_cast<StepProbe*>(probe.get());
    auto* examples = dynamic_cast<ExampleProbe*>(probe.get());
    try {
      if (examples != nullptr && setup.data.size(examples->split()) == 0)
        throw InputError(fmt::format("there are no {} examples; give `data` some, or look at another split",
                                     name_of(examples->split())));
      probe->check(setup);
    } catch (const InputError& error) {
      item.error(name + ": " + error.what());
    }
    bool twice = false;
    for (const MetricInfo& metric : probe->metrics()) twice = !metrics.insert(metric.name).second || twice;
    if (twice) item.error(name + ": measures what another probe of the list does; leave one of them out");
    entries_.push_back({name, std::move(probe), steps, examples});
  }
}

std::vector<MetricInfo> ProbeList::metrics() const {
  std::vector<MetricInfo> out;
  for (const Entry& entry : entries_)
    for (const MetricInfo& metric : entry.probe->metrics()) out.push_back(metric);
  return out;
}

std::vector<double> ProbeList::measured() const {
  std::vector<double> out;
  for (const Entry& entry : entries_)
    for (const double value : entry.probe->measured()) out.push_back(value);
  return out;
}

void ProbeList::begin(const ProbeRun& run, StateRegistry& state) {
  run_ = &run;
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].of_steps != nullptr)
      entries_[i].of_steps->begin(run, state, fmt::format("probe/{}_{}", i, entries_[i].name));
}

std::vector<std::int64_t> ProbeList::steps(std::int64_t total) const {
  std::set<std::int64_t> all;
  for (const Entry& entry : entries_)
    if (entry.of_steps != nullptr)
      for (const std::int64_t step : entry.of_steps->steps(total)) all.insert(step);
  return {all.begin(), all.end()};
}

void ProbeList::measure(std::int64_t done, std::int64_t total) {
  for (const Entry& entry : entries_) {
    if (entry.of_steps == nullptr) continue;
    const std::vector<std::int64_t> when = entry.of_steps->steps(total);
    if (std::binary_search(when.begin(), when.end(), done)) entry.of_steps->measure(*run_, done);
  }
}

void ProbeList::see(Split split, const EvaluatedBatch& batch) {
  const NoGrad off;
  for (Entry& entry : entries_)
    if (entry.of_examples != nullptr && entry.of_examples->split() == split)
      entry.of_examples->see(*run_, batch, entry.seen);
}

void ProbeList::conclude(Split split) {
  for (Entry& entry : entries_) {
    if (entry.of_examples == nullptr || entry.of_examples->split() != split) continue;
    const std::vector<double> mine = std::exchange(entry.seen, {});
    entry.of_examples->conclude(run_->communicator.all_gather_varying(std::span<const double>(mine)));
  }
}

void deal_examples(const Communicator& communicator, const Dataset& data, Split split, std::int64_t count,
                   std::int64_t batch, DType type, const std::function<void()>& between,
                   const std::function<void(const Examples&)>& work, std::uint64_t seed) {
  const BlockPartition chunks((count + batch - 1) / batch, communicator.size());
  // The first rank has most.
  for (std::int64_t turn = 0; turn < chunks.size(0); ++turn) {
    between();
    communicator.together([&] {
      if (turn >= chunks.size(communicator.rank())) return;
      const std::int64_t first = (chunks.begin(communicator.rank()) + turn) * batch;
      std::vector<std::int64_t> which(static_cast<std::size_t>(std::min(batch, count - first)));
      std::iota(which.begin(), which.end(), first);
      Examples examples = data.examples(split, which, type, seed);
      examples.inputs = one_shard(examples.inputs);
      examples.targets = one_shard(examples.targets);
      work(examples);
    });
  }
}

std::vector<double> mean_over_examples(
    const ProbeRun& run, Split split, std::int64_t count, std::size_t width,
    const std::function<void(const Examples&, std::vector<double>& numbers)>& see) {
  const NoGrad off;
  const std::int64_t all = run.setup.data.size(split), taken = count == 0 ? all : std::min(count, all);
  std::vector<double> mine, sums(width, 0.0);
  deal_examples(
      run.communicator, run.setup.data, split, taken, run.setup.batch, run.setup.network.dtype(), [] {},
      [&](const Examples& examples) { see(examples, mine); });
  const std::vector<double> numbers = run.communicator.all_gather_varying(std::span<const double>(mine));
  RANKINE_ASSERT(numbers.size() == static_cast<std::size_t>(taken) * width, "numbers are missing");
  for (std::size_t i = 0; i < numbers.size(); ++i) sums[i % width] += numbers[i];
  for (double& sum : sums) sum /= static_cast<double>(taken);
  return sums;
}

}  // namespace rankine
