// One Newton step v - P(v)^-1 r(v) of a whole solution that lies spread over the ranks: each rank has the rows
// and fields of its tiles, and the march P is solved by all of them together (solvers/distributed_march.hpp).
#pragma once

#include <vector>

#include "solvers/distributed_march.hpp"
#include "src/experts/grid_parts.hpp"

namespace rankine {

class SpreadCorrection {
 public:
  /// Parts are the network's tiles, each through all frames. `model` must outlive this.
  SpreadCorrection(const StorageModel& model, const Communicator& communicator, const TilePartition& tiles,
                   std::vector<int> learned);

  /// `v` and the result: [local tile][sample][unknown][point of the tile] in double, without the initial frame.
  /// Collective, as its backward pass is, and differentiable once by v and the learned parameters; it must not
  /// outlive this. Throws NumericalError, on all ranks, where the march does not converge.
  Tensor corrected(const Tensor& v, const PdeBatch& batch) const;

  /// The id of the sample that the latest correction failed at; -1: none.
  long failed() const { return failed_ >= 0 ? failed_ : parts_.failed(); }
  /// What the marches of the latest correction reached, [sample].
  const std::vector<MarchReport>& reports() const { return reports_; }

 private:
  struct Course;
  /// [frame][own cell of the parts][unknown], as the march has it, and back.
  std::vector<double> gathered(const std::vector<std::vector<double>>& of_parts) const;
  std::vector<std::vector<double>> dealt(const std::vector<double>& own) const;
  std::vector<double> transposed(const Course& course, const std::vector<double>& u_bar,
                                 const PdeBatch& batch, std::vector<double>& by_parameter) const;

  BlockPartition tiles_;
  GridParts parts_;
  mutable long failed_ = -1;
  mutable std::vector<MarchReport> reports_;
};

}  // namespace rankine
