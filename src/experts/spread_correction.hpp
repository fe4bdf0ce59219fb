// One Newton step v - P(v)^-1 r(v) of a whole solution that lies spread over the ranks: each rank has the rows
// and fields of its tiles, and the march P is solved by all of them together (solvers/distributed_march.hpp), by a Krylov method or by
// factors of tiles.
#pragma once

#include <vector>

#include "src/experts/grid_parts.hpp"
#include "src/experts/tile_correction.hpp"

namespace rankine {

class SpreadCorrection final : public TileCorrection {
 public:
  /// Parts are the network's tiles, each through all frames. `model` must outlive this.
  SpreadCorrection(const MarchOptions& march, const StorageModel& model, const Communicator& communicator,
                   const TilePartition& tiles, std::vector<int> learned);

  Tensor corrected(const Tensor& v, const PdeBatch& batch) const override;

  long failed() const override { return failed_ >= 0 ? failed_ : parts_.failed(); }
  std::vector<MarchReport> reports() const override { return reports_; }

 private:
  struct Course;
  /// [frame][own cell of the parts][unknown], as the march has it, and back.
  std::vector<double> gathered(const std::vector<std::vector<double>>& of_parts) const;
  std::vector<std::vector<double>> dealt(const std::vector<double>& own) const;
  std::vector<double> transposed(const Course& course, const std::vector<double>& u_bar,
                                 const PdeBatch& batch, std::vector<double>& by_parameter) const;

  bool krylov_;
  BlockPartition tiles_;
  GridParts parts_;
  mutable long failed_ = -1;
  mutable std::vector<MarchReport> reports_;
};

}  // namespace rankine
