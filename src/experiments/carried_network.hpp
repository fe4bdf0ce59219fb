// A network whose outputs are those of the carried ansatz (src/experts/carried.hpp): on a coarser grid of its own,
// with tiles of the same numbers.
#pragma once

#include <memory>

#include "src/comm/transpose.hpp"
#include "src/deck/options.hpp"
#include "src/experts/carried.hpp"
#include "src/experts/constraint_layer.hpp"

namespace rankine {

struct AnsatzOptions {
  std::string name = "field";
  CarriedOptions carried;
  void options(OptionVisitor& o);
};

class CarriedNetwork {
 public:
  /// `tiles`: of the constraint's grid. `model`, of one window, and the communicator must outlive this. Throws
  /// InputError for what the ansatz does not fit.
  CarriedNetwork(const CarriedOptions& options, const StorageModel& model, const Communicator& communicator,
                 const TilePartition& tiles);

  /// The network's grid: one point in time, the coarse cells.
  static TilePartition network_tiles(const CarriedOptions& options, const TilePartition& tiles);
  int outputs() const { return ansatz_.outputs_of_network(); }

  /// What follows from the initial states of this rank's samples. Collective, as all that follows.
  std::shared_ptr<const CarriedAnsatz::Start> start(const PdeBatch& batch) const;
  /// [local tile][sample][channel][1][point of the tile] of `type`.
  Tensor inputs(const CarriedAnsatz::Start& start, std::int64_t batch, DType type) const;
  /// v [local tile][sample][1][frame][point of the tile] in double of the network's outputs, differentiable once.
  Tensor fields(const Tensor& outputs, const CarriedAnsatz::Start& start) const;

 private:
  const StorageModel& model_;
  CarriedAnsatz ansatz_;
  SampleTranspose fine_, coarse_;
};

}  // namespace rankine
