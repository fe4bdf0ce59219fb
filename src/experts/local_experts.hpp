// Experts that correct a network's field on their own part of the domain. Expert k solves the tangent equation
// of the discretised PDE, P e = r(v), on its tile and `halo` cells around it, where the error ends (e = 0), and
// keeps u = v - e on its tile: restricted additive Schwarz on Newton's equation (Cai and Sarkis, SIAM J. Sci.
// Comput. 21 (1999) 792-797). Its tile and halo are all that an expert reads. A further sweep repeats this at
// the corrected field.
#pragma once

#include <vector>

#include "src/experts/grid_parts.hpp"

namespace rankine {

class LocalExperts {
 public:
  /// `tiles`: the network's grid, dealt to ranks; experts are dealt in the same way. `model` must outlive this.
  LocalExperts(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
               const TilePartition& tiles, std::vector<int> learned);

  /// The id of the sample that the latest correction failed at on this rank; -1: none.
  long failed() const { return parts_.failed(); }

  /// `v` and the result: [local tile][sample][unknown][point of the tile] in double, without the initial frame.
  /// Collective, as its backward pass is, and differentiable once by v and the learned parameters; it must not
  /// outlive this.
  Tensor corrected(const Tensor& v, const PdeBatch& batch) const;

 private:
  struct Sweep;
  std::vector<double> sweep(const BoxExchange& exchange, const std::vector<double>& from,
                            const PdeBatch& batch, Sweep& states) const;
  std::vector<double> sweep_transpose(const BoxExchange& exchange, const std::vector<double>& bar,
                                      const PdeBatch& batch, const Sweep& states,
                                      std::vector<double>& by_parameter) const;

  int sweeps_;
  BlockPartition dealt_;  // experts to ranks
  GridParts parts_;
};

}  // namespace rankine
