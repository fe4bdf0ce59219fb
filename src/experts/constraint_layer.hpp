// From the network's output fields to a solution and a loss. Three kinds: storage layers deal whole samples over
// the ranks, because their march is direct and global in space; tile layers, and collocated ones, the paper's
// form, leave everything on its tiles.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/error.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/comm/transpose.hpp"
#include "src/experts/formulation.hpp"
#include "src/experts/storage_mixture.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// The samples of one step or evaluation.
struct PdeBatch {
  std::vector<long> ids;           ///< global sample ids: they key the sampled points
  std::vector<double> initial;     ///< [sample][cell][unknown]
  std::vector<double> parameters;  ///< [sample][parameter of the PDE]
  std::vector<double> fields;      ///< [sample][coefficient field][cell]
  Tensor learned = {};             ///< values of the learned parameters, f64; undefined if there are none
  /// [sample]; nullptr, or nothing at all, where a sample was not observed.
  std::vector<std::shared_ptr<const ObservationRows>> observations = {};
  std::vector<double> right_reference;  ///< [sample][frame] at the right wall; only where the loss reads it
  long step = 0;
  bool training = true;
  int size() const { return static_cast<int>(ids.size()); }
};

/// How the solves of a batch ended: [solve]; means and counts over its samples. Empty for a soft constraint.
using BatchStatistics = std::vector<ExpertStatistics>;

/// A solve of a status for which the deck says `stop`, other than not_finite. Thrown on all ranks alike.
struct SolverStop : NumericalError {
  using NumericalError::NumericalError;
};

/// A solve that met a NaN or an infinity, or a sample whose solve could not go on.
struct BadSolve {
  long sample;         ///< id
  int solve;           ///< -1: not known
  std::string reason;  ///< may be empty
};

class ConstraintLayer {
 public:
  virtual ~ConstraintLayer() = default;
  /// Frames and channels that the network must give.
  virtual int network_frames() const = 0;
  virtual int outputs() const = 0;
  /// Solves per sample; 0 for a soft constraint.
  virtual int solves() const = 0;

  /// Loss of `fields` [local tile][sample][output][frame][cell]. Collective. Throws, on all ranks, SolverStop
  /// where a solve ends in a way for which the deck says `stop`, SharedNumericalError where a NaN or an
  /// infinity lets a computation not go on.
  virtual TapeLoss loss(const Tensor& fields, const PdeBatch& batch) = 0;
  /// u of this rank's samples, [local sample][frames + 1][cell][unknown], the initial state included.
  /// Collective.
  virtual std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) = 0;
  /// Of the latest loss() (complete after its backward pass) or predict(). Collective.
  virtual BatchStatistics statistics() const = 0;

  /// The first of this rank in the latest loss(), or in what its backward pass has done so far.
  virtual std::optional<BadSolve> bad_solve(const PdeBatch& batch) const = 0;
  /// The first term of the latest loss() that is not finite; empty if there is none, or only one term.
  virtual std::string bad_term() const { return {}; }
};

/// `model`: the discretised PDE on the layer's times, which must outlive the layer. `tiles` is on the
/// network's grid. `learned`: indices of the PDE's parameters whose values are PdeBatch::learned.
std::unique_ptr<ConstraintLayer> make_constraint_layer(const FormulationOptions& options,
                                                       const StorageModel& model,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::vector<int> learned,
                                                       std::uint64_t seed);

/// Frames that the network gives for `frames` time steps: the storage form knows the initial one.
int network_frames(const FormulationOptions& options, int frames);

}  // namespace rankine
