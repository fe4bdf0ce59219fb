// What a deck's `run.experiment` names: training is one kind, others may come. An experiment is made once for
// each variant, which checks everything, and then run once for each seed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/error.hpp"
#include "src/comm/communicator.hpp"
#include "src/core/log.hpp"
#include "src/core/metric_info.hpp"
#include "src/deck/node.hpp"
#include "src/deck/registry.hpp"
#include "src/io/results.hpp"
#include "src/run/checkpointing.hpp"
#include "src/run/snapshots.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// What a variant will need, for --dry-run. All of it is computed, nothing is run.
struct RunEstimate {
  std::string partition;  ///< such as "1 x 4 tiles of 41 x 16 points; rank 0: tiles 0-1, rank 1: tiles 2-3"
  double bytes_per_rank = 0;     ///< peak memory of the largest rank
  double seconds_per_seed = 0;   ///< wall time
  std::uint64_t file_bytes = 0;  ///< this variant and seed in results.h5
  std::string counts = {};       ///< lines about what the network costs
};

/// What is known when an experiment is made.
struct ExperimentSetup {
  const Communicator& communicator;
  std::string variant;
  std::vector<std::int64_t> seeds;
  bool smoke = false;
};

/// What is known when it is run.
struct RunContext {
  const Communicator& communicator;
  std::string variant;
  std::int64_t seed = 0;
  RunWriter results;  ///< inert on ranks other than 0
  Log& log;           ///< silent on ranks other than 0
  /// What is registered here survives an interruption; an experiment that registers nothing starts again from
  /// its beginning.
  JobCheckpoint& checkpoint;
  const Deck& deck;
  std::string output = {};  ///< the results file
  /// An expectation of the deck that reads this metric of this variant and will be judged; "" if there is
  /// none.
  std::function<std::string(const std::string& metric)> expectation_on = [](const std::string&) {
    return std::string();
  };
  /// Where the run leaves its snapshots, and finds those of the variants that it names. Null: no other
  /// variant names one.
  SnapshotStore* snapshots = nullptr;
};

/// A network without the units that were held at zero.
struct CompactNetwork {
  std::string deck;  ///< the section `model` that describes it
  ParameterSet parameters;
};

/// The constructor, Class(const DeckNode& variant, const ExperimentSetup& setup), reads its sections of the
/// deck and ends with variant.reject_unread_keys(). It checks all that can be checked before work starts:
/// options against each other, tiles against ranks, data files, modes against points. It throws InputError on
/// all ranks alike: what only one rank looks at (a file) goes through Communicator::on_root. It must not
/// allocate what only run() needs.
class Experiment {
 public:
  virtual ~Experiment() = default;

  /// All metrics that run() returns, in the order of the table.
  virtual std::vector<MetricInfo> metrics() const = 0;
  virtual RunEstimate estimate() const = 0;
  /// What the network costs after training, as far as the deck alone says it, by the name of the metric.
  virtual std::map<std::string, double> counts() const { return {}; }
  /// Names of the snapshots of parameters that a run leaves in RunContext::snapshots.
  virtual std::vector<std::string> snapshots() const { return {}; }
  virtual std::vector<SnapshotEntry> snapshot_layout() const { return {}; }
  /// What the option `key` ("start") wants of the snapshot that it names.
  virtual std::vector<SnapshotEntry> wanted_layout(const std::string& key) const {
    (void)key;
    return snapshot_layout();
  }

  /// Of the weights of a run, which load_weights() finds by `file` and `group`. `done`: steps of training that
  /// were made by then. InputError where the experiment trains no list of blocks, where weights do not fit, or
  /// where masks change in a later step.
  virtual CompactNetwork compacted(const std::string& file, const std::string& group,
                                   std::int64_t done) const {
    (void)group, (void)done;
    throw InputError(file + ": its experiment trains no list of blocks, which `training` does");
  }

  /// Does the work for one seed; collective. Returns a value for each of metrics(), on all ranks the same.
  /// What depends on the deck alone is computed before the work; where that fails and an expectation reads
  /// it, throws NumericalError. Metrics that cannot be computed otherwise are NaN, with a warning
  /// (src/run/missing_metrics.hpp). Throws NumericalError too where the deck says that a failure is
  /// fatal.
  virtual Metrics run(RunContext& context) = 0;
};

using ExperimentRegistry = Registry<Experiment, const ExperimentSetup&>;

/// The table of all experiments.
const ExperimentRegistry& experiments();

}  // namespace rankine
