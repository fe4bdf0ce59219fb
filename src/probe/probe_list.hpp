// The probes of a deck's `probes:`, and what an experiment calls of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/probe/probe.hpp"

namespace rankine {

/// An empty list does nothing anywhere.
class ProbeList {
 public:
  ProbeList() = default;
  /// Of a variant's `probes`, if it has them. Throws InputError where one does not fit, two are the same, or
  /// two give metrics of one name.
  ProbeList(const DeckNode& variant, const ProbeSetup& setup);

  std::vector<MetricInfo> metrics() const;
  std::vector<double> measured() const;

  /// Before state is restored. `run` outlives the list.
  void begin(const ProbeRun& run, StateRegistry& state);
  /// The numbers of steps after which measure() is to be called, in ascending order.
  std::vector<std::int64_t> steps(std::int64_t total) const;
  void measure(std::int64_t done, std::int64_t total);
  /// A batch of the evaluation at the end, on the rank that has it.
  void see(Split split, const EvaluatedBatch& batch);
  /// After the last batch. Collective.
  void conclude(Split split);

 private:
  struct Entry {
    std::string name;
    std::unique_ptr<Probe> probe;
    StepProbe* of_steps;        // the same; null: it is none
    ExampleProbe* of_examples;  // the same; null: it is none
    std::vector<double> seen = {};
  };
  std::vector<Entry> entries_;
  const ProbeRun* run_ = nullptr;
};

/// Calls `work` with the first `count` examples of a split, `batch` at a time, on the rank that each batch is
/// dealt to, with inputs and targets as [1, n, ...]. `between` is called on all ranks between batches.
/// Collective.
void deal_examples(const Communicator& communicator, const Dataset& data, Split split, std::int64_t count,
                   std::int64_t batch, DType type, const std::function<void()>& between,
                   const std::function<void(const Examples&)>& work, std::uint64_t seed = 0);

/// The mean over the first `count` examples of a split (0: all) of `width` numbers that `see` appends for
/// each. Without a tape. Collective.
std::vector<double> mean_over_examples(
    const ProbeRun& run, Split split, std::int64_t count, std::size_t width,
    const std::function<void(const Examples&, std::vector<double>& numbers)>& see);

}  // namespace rankine
