// Newton corrections of a network's field under the Fourier discretisation: on whole samples, which are dealt to
// the ranks, or by experts on their own tiles and a halo.
#pragma once

#include <vector>

#include "src/comm/boxes.hpp"
#include "src/comm/transpose.hpp"
#include "src/experts/tile_correction.hpp"

namespace rankine {

class FourierCorrection final : public TileCorrection {
 public:
  FourierCorrection(const StorageModel& model, const Communicator& communicator, const TilePartition& tiles);

  Tensor corrected(const Tensor& v, const PdeBatch& batch) const override;
  bool differentiable() const override { return false; }
  long failed() const override { return -1; }

 private:
  const StorageModel& model_;
  SampleTranspose transpose_;
};

/// Expert k marches the tangent equation in a box of its tile and `halo` cells around it, which it takes as
/// periodic itself; the error is tapered to 0 at the edge of the box after each substep. The residual and what the
/// equation reads of v come from one transform of the whole box, whose frames are dealt to ranks; beside these two
/// moves of fields nothing is exchanged in a sweep.
class FourierExperts final : public TileCorrection {
 public:
  FourierExperts(const FormulationOptions& options, const StorageModel& model,
                 const Communicator& communicator, const TilePartition& tiles);

  Tensor corrected(const Tensor& v, const PdeBatch& batch) const override;
  bool differentiable() const override { return false; }
  long failed() const override { return -1; }

 private:
  /// r and what terms read of v, of this rank's frames: [sample][unknown or row][frame][cell]; frame 0's reads of
  /// all samples: [sample][row][cell].
  struct Whole {
    std::vector<double> frames, initial;
    int rows;
  };
  Whole whole(const std::vector<double>& v, const PdeBatch& batch) const;
  /// e on the experts' tiles, as home_ has them.
  std::vector<double> errors(const Whole& whole, const PdeBatch& batch) const;

  const StorageModel& model_;
  const Communicator& communicator_;
  int sweeps_;
  std::vector<int> taper_;              // by axis
  BlockPartition dealt_, frames_;       // experts and frames to ranks
  std::vector<int> box_cells_;          // of an expert's box, by axis
  std::vector<int> inner_;              // cells of a box that are its tile's
  std::vector<std::vector<int>> mine_;  // [box of this rank]: its cells in the whole grid
  std::unique_ptr<BoxExchange> to_frames_, to_boxes_, home_;
};

}  // namespace rankine
