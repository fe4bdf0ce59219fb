// Trains a network on a data set by a learning rule, and evaluates it on examples that it has not seen.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/data/batches.hpp"
#include "src/data/dataset.hpp"
#include "src/data/transforms/transform.hpp"
#include "src/nn/counts.hpp"
#include "src/nn/distilled_loss.hpp"
#include "src/nn/loss.hpp"
#include "src/nn/network.hpp"
#include "src/nn/transforms.hpp"
#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "src/probe/probe_list.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/rules/penalties.hpp"
#include "src/run/experiment.hpp"
#include "src/sparse/sparsifier.hpp"
#include "src/train/critic.hpp"
#include "src/train/faults.hpp"
#include "src/train/gradient_health.hpp"
#include "src/train/initial_weights.hpp"
#include "src/train/phases.hpp"
#include "src/train/step_mechanisms.hpp"

namespace rankine {

struct TrainingOptions {
  int epochs = 1, steps = 0, repeat = 1, longest_phase = 0;
  int batch = 100, shards = 1;
  bool drop_last = true;
  double learning_rate = 1e-3;
  double clip = 0;
  int evaluate_every = 0, evaluation_batch = 100;
  bool evaluate_training = false;
  std::string on_fault = "stop";
  FaultOptions faults;
  HealthOptions health;
  InitialWeights initial;
  void options(OptionVisitor& o);
};

class Training final : public Experiment {
 public:
  Training(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  std::map<std::string, double> counts() const override;
  std::vector<std::string> snapshots() const override;
  std::vector<SnapshotEntry> snapshot_layout() const override;
  std::vector<SnapshotEntry> wanted_layout(const std::string& key) const override;
  CompactNetwork compacted(const std::string& file, const std::string& group,
                           std::int64_t done) const override;
  Metrics run(RunContext& context) override;

 private:
  class Run;
  /// Means over the examples of a split, and one value for each example.
  struct Evaluation {
    double loss = 0;
    std::vector<double> scores, losses;
    std::vector<std::vector<double>> score_values;
  };
  std::int64_t steps() const { return phases_->steps(); }
  std::int64_t steps_per_epoch() const {
    return BatchOrder::steps_per_epoch(data_->size(Split::training), train_.batch, train_.drop_last);
  }
  void read_phases(const DeckNode& train, std::shared_ptr<const Schedule> schedule, bool given,
                   const LearningRule& rule);
  void read_sparsity(const DeckNode& variant, const LearningRule& rule);
  void read_teacher(const DeckNode& train, const LearningRule& rule);
  void read_critic(const DeckNode& given, const LearningRule& rule);
  /// Counts of each block and of the whole network, with the masks that training ends with.
  std::vector<Counts> planned_counts(const ParameterSet& parameters) const;
  const Network& teacher_network() const { return teacher_ ? *teacher_ : *network_; }
  /// The network's own, or i32 for tokens.
  DType input_type(std::uint64_t seed) const;
  RuleSetup rule_setup(const Communicator& communicator, std::uint64_t seed) const;
  /// The local shards of a step's batch.
  NetworkBatch batch(std::uint64_t seed, std::int64_t step, const BatchOrder& order,
                     const PastOutputs* past) const;
  /// `between` is called on all ranks between the batches. `probes`, if any, see the batches.
  Evaluation evaluate(LearningRule& rule, std::uint64_t seed, const ParameterSet& parameters, Split split,
                      const Communicator& communicator, const std::function<void()>& between,
                      ProbeList* probes = nullptr) const;
  /// The gradient [count] of the loss of one training example as an evaluation sees it.
  Tensor example_gradient(LearningRule& rule, const ParameterSet& parameters, std::uint64_t seed,
                          std::int64_t example) const;
  /// What the weights multiply in an evaluation of training examples, on this rank alone.
  void collect_inputs(LearningRule& rule, const ParameterSet& parameters, std::uint64_t seed,
                      std::span<const std::int64_t> which, InputStatistics& to) const;
  void read_after(const DeckNode& variant);
  /// The network after the transforms that the deck asks for.
  FinishedNetwork transformed(const ParameterSet& parameters, std::uint64_t seed) const;
  std::string variant_;
  TrainingOptions train_;
  std::shared_ptr<const Dataset> data_;
  Transforms transforms_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Loss> loss_;
  Penalties penalties_;
  StepMechanisms mechanisms_;
  std::unique_ptr<DistilledLoss> taught_;  // null: there is no teacher
  std::unique_ptr<Network> teacher_;       // null: it is a network as this one
  std::string teacher_from_;
  std::unique_ptr<Critic> critic_;  // null: there is none
  std::optional<Phases> phases_;
  std::string start_;                       // snapshot that the run begins from; empty: fresh weights
  std::unique_ptr<Sparsifier> sparsifier_;  // null: all weights stay
  std::vector<std::unique_ptr<NetworkTransform>> after_;
  DeckNode model_;
  std::optional<double> final_density_;  // none: the deck alone does not say it
  std::function<std::unique_ptr<LearningRule>()> make_rule_;
  std::function<std::unique_ptr<Optimizer>()> make_optimizer_;
  std::unique_ptr<ProbeSetup> probed_;
  std::function<ProbeList()> make_probes_;
  SharedTileSum shards_;
  std::int64_t first_shard_ = 0;  // of this rank
};

}  // namespace rankine
