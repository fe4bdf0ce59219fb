// What the operations of the storage form work on: this rank's samples of a batch, each a whole solution of
// the discretised equation. The tape shares a batch, so that its closures need no layer.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "src/experts/constraint_layer.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {

/// What all batches of a run have in common.
struct StorageSetup {
  StorageSetup(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
               const TilePartition& tiles, std::vector<int> learned, std::uint64_t seed);

  FormulationOptions options;
  const StorageModel& model;
  const Communicator& communicator;
  SampleTranspose transpose;
  std::unique_ptr<const StorageMixture> mixture;  ///< null for a soft constraint
  std::vector<int> learned;                       ///< indices of the learned parameters
  std::uint64_t seed;
};

class StorageBatch {
 public:
  StorageBatch(std::shared_ptr<const StorageSetup> setup, PdeBatch batch)
      : setup_(std::move(setup)), batch_(std::move(batch)) {}
  /// Schemes and marches of the samples. Collective, and before all that follows.
  void make_problems();

  const StorageSetup& setup() const { return *setup_; }
  const FormulationOptions& options() const { return setup_->options; }
  const PdeBatch& batch() const { return batch_; }
  const std::vector<StorageProblem>& problems() const { return problems_; }
  /// Samples of this rank, of which the first is that of the batch's sample first().
  std::int64_t local() const;
  std::int64_t first() const;
  /// The problem of the local sample `s`, or of another one of the batch for an `s` out of range. `learned`:
  /// values of the learned parameters.
  StorageProblem make_problem(std::span<const double> learned, std::int64_t s) const;

  /// work(s) for each local sample, on all ranks together; a failure names its sample.
  void each_sample(const std::function<void(std::int64_t)>& work);
  /// Id of the sample that the latest each_sample() failed at; -1: none.
  long failed() const { return failed_; }

  /// The sample's part of `u` [local sample][frame][cell][unknown].
  std::span<const double> field(const double* u, std::int64_t s) const;
  /// That of `whole` [local sample][frame][cell][unknown][basis].
  std::span<const double> basis_of(const double* whole, std::int64_t s) const;
  /// The first basis field: in a target formulation the network's own prediction.
  std::vector<double> own_prediction(const double* whole, std::int64_t s) const;
  /// v - P(v)^-1 r(v) for the state `later` [frame][cell][unknown].
  std::vector<double> corrected_target(std::int64_t s, std::span<const double> later) const;
  ObservedRows observed_rows(std::int64_t s) const;
  /// The residual rows of each solve, of which the deck may sample some.
  std::vector<std::vector<long>> sampled_rows(std::int64_t s) const;

  /// Stores a solution's reports and coefficients, and its state without the initial frame in `u`.
  void keep(const MixtureSolution& solved, HostArray<double>& u, std::int64_t s);
  /// stop_if_told() for the samples' reports.
  void check_solves() const;
  bool skipped(std::int64_t s) const;

  /// `first`, and the learned parameters where there are any: the inputs of an operation.
  std::vector<Tensor> with_learned(Tensor first) const;
  /// Appends the gradient by the learned parameters, `by_sample` [local sample][parameter] summed over all
  /// samples in tree order, where there are any. Collective.
  void add_learned_gradient(const std::vector<double>& by_sample, std::vector<Tensor>& gradients) const;

  // What solutions leave, and backward passes still add to.
  std::vector<std::vector<SolveReport>> reports;  ///< [local sample][solve]
  std::vector<std::vector<double>> coefficients;  ///< [local sample]
  /// [local sample]: the corrected state that a target formulation fits; no gradient flows into it.
  std::vector<std::vector<double>> targets;

 private:
  std::shared_ptr<const StorageSetup> setup_;
  PdeBatch batch_;
  std::vector<StorageProblem> problems_;
  long failed_ = -1;
};

}  // namespace rankine
