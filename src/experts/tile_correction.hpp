// What a network's field on its tiles is drawn to: the field after a Newton correction.
#pragma once

#include <memory>

#include "solvers/distributed_march.hpp"
#include "src/experts/constraint_layer.hpp"

namespace rankine {

class TileCorrection {
 public:
  virtual ~TileCorrection() = default;
  /// `v` and the result: [local tile][sample][unknown][point of the tile] in double, without the initial frame.
  /// Collective; it must not outlive this. Throws NumericalError, on all ranks, where a solve fails.
  virtual Tensor corrected(const Tensor& v, const PdeBatch& batch) const = 0;
  /// Whether corrected() is recorded on the tape: once, by v and the learned parameters.
  virtual bool differentiable() const { return true; }
  /// The id of the sample that the latest correction failed at on this rank; -1: none.
  virtual long failed() const = 0;
  /// What iterative solves of the latest correction reached, [sample]; empty where they are direct.
  virtual std::vector<MarchReport> reports() const { return {}; }
};

std::unique_ptr<const TileCorrection> make_tile_correction(const FormulationOptions& options,
                                                           const StorageModel& model,
                                                           const Communicator& communicator,
                                                           const TilePartition& tiles,
                                                           std::vector<int> learned);

}  // namespace rankine
