// Trains a network that solves a parametric PDE, under a soft or a hard constraint, and evaluates it on
// unseen initial states against an independent reference.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/data/pde_data.hpp"
#include "src/experiments/carried_network.hpp"
#include "src/experiments/inverse.hpp"
#include "src/experts/constraint_layer.hpp"
#include "src/experts/formulation.hpp"
#include "src/nn/model.hpp"
#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "src/optim/update_guard.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/run/experiment.hpp"
#include "src/run/missing_metrics.hpp"
#include "src/train/faults.hpp"
#include "src/train/initial_weights.hpp"
#include "src/train/step_mechanisms.hpp"

namespace rankine {

struct GridOptions {
  std::vector<int> cells{64};
  int frames = 40;
  int windows = 1;
  std::vector<int> tiles{1, 1};
  void options(OptionVisitor& o);
};

struct TrainOptions {
  int steps = 1000;
  int batch = 4;
  double learning_rate = 4e-3;
  double clip = 1;
  int evaluate_every = 100;
  std::string on_fault = "stop";
  FaultOptions faults;
  InitialWeights initial;
  int save_fields = 2;
  int polish = 0;
  void options(OptionVisitor& o);
};

class PdeTraining final : public Experiment {
 public:
  PdeTraining(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  std::vector<std::string> snapshots() const override { return {final_snapshot}; }
  std::vector<SnapshotEntry> snapshot_layout() const override;
  Metrics run(RunContext& context) override;

 private:
  struct Evaluation;
  struct Known;
  class Evaluator;
  class Steps;
  int input_channels() const;
  /// Of the band factors of the marches of a rank's samples, with several axes.
  double march_bytes() const;
  /// The parameters that training starts from. Collective.
  ParameterSet first_parameters(const RunContext& context) const;
  /// What the network sees of a batch, and what an ansatz needs beside it.
  struct NetworkInput {
    Tensor x;
    std::shared_ptr<const CarriedAnsatz::Start> start = {};
  };
  NetworkInput network_input(const PdeBatch& batch) const;
  /// [local tile][sample][channel][frame][cell], as the constraint takes them. Collective.
  Tensor network_fields(const BoundParameters& parameters, const NetworkInput& input) const;
  bool waves() const { return pde_->discretisation() == Discretisation::fourier; }
  /// InputError where a substep is too long for an initial state. Collective.
  void check_substeps(const PdeData& data, const StorageModel& model, const Communicator& communicator) const;
  /// Sends samples of a batch through so many windows each, [sample], by the classical solver. Collective.
  void advance(PdeBatch& batch, const std::vector<int>& windows, const StorageModel& model,
               const Communicator& communicator) const;
  PdeBatch make_batch(const PdeSplit& split, const std::vector<long>& which, long step, bool training,
                      const std::shared_ptr<const ObservationRows>& observations = nullptr) const;
  /// Rules between data.observations, learn and the rest of the deck.
  void check_observations(const DeckNode& variant, const ExperimentSetup& setup) const;
  /// Reads or draws (and writes) the observations of a run; given back divided by the unknowns' scales.
  /// Collective.
  Observations observe(const RunContext& context, const std::vector<double>& scales) const;
  std::shared_ptr<const ObservationRows> observation_rows(const Observations& observations) const;
  /// The Cramer-Rao bounds of the learned parameters, NaN where they cannot be computed.
  std::vector<double> parameter_bounds(const StorageModel& model, const PdeData& data,
                                       const ObservationRows& observations, MissingMetrics& missing) const;
  /// Polishes the learned parameters and measures them; the misfit of the observed sample. Calls `between`
  /// before each step of the polishing. What cannot be computed is NaN, and `parameters` stay as they are.
  Metrics finish_inverse(ParameterSet& parameters, ConstraintLayer& layer, const StorageModel& model,
                         const PdeData& data, const std::shared_ptr<const ObservationRows>& observations,
                         const Communicator& communicator, const std::function<void()>& between,
                         std::span<const double> bounds, MissingMetrics& missing) const;
  /// NumericalError, on all ranks, where an expectation of the deck reads one of these.
  void refuse_missing(const RunContext& context, const MissingMetrics& missing) const;
  /// Stores the first `save` test samples, u [sample][reference frame][cell], beside their references.
  void write_fields(RunContext& context, const PdeData& data, int save, const std::vector<double>& u) const;

  /// What was not finite in a step. Collective.
  FoundFault find_fault(const Communicator& communicator, const PdeBatch& batch, const ConstraintLayer& layer,
                        FailedStep failed, const FaultReport& report) const;
  /// Tile, sample, expert, ... of a finding.
  void place_finding(const FaultProbe::Finding& found, const PdeBatch& batch, const ParameterSet& parameters,
                     const Communicator& communicator, FaultReport& report) const;
  /// Names the frame and the cell of the network's grid, and the expert that owns them.
  void place_point(long frame, long cell, FaultReport& report) const;

  std::string variant_;
  std::string data_key_;
  std::unique_ptr<Pde> pde_;
  /// The methods' grid.
  Grid space() const { return pde_->grid(grid_.cells); }
  /// What pde.convection comes to on the grids of constraint and references; empty for `central`.
  std::string chosen_flux() const;
  bool flux_checked_ = false;  // see flux_is_checked()
  GridOptions grid_;
  TrainOptions train_;
  PdeDataOptions data_;
  FormulationOptions formulation_;
  AnsatzOptions ansatz_;
  std::string start_;                              // snapshot that the run begins from; empty: fresh weights
  std::unique_ptr<const CarriedNetwork> carried_;  // null: the network gives the field
  LearnedParameters learned_;
  std::vector<double> times_, window_times_;  // of all frames, and of the network's
  std::optional<TilePartition> tiles_;
  std::optional<ModelContext> model_context_;
  std::unique_ptr<Model> model_;
  std::function<std::unique_ptr<LearningRule>()> make_rule_;
  std::unique_ptr<Schedule> schedule_;
  std::function<std::unique_ptr<Optimizer>()> make_optimizer_;
  StepMechanisms mechanisms_;
};

}  // namespace rankine
