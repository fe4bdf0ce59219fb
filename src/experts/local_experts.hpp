// Experts that correct a network's field on their own part of the domain. Expert k solves the tangent equation
// of the discretised PDE, P e = r(v), on its tile and `halo` cells around it, where the error ends (e = 0), and
// keeps u = v - e on its tile: restricted additive Schwarz on Newton's equation (Cai and Sarkis, SIAM J. Sci.
// Comput. 21 (1999) 792-797). Its tile and halo are all that an expert reads. A further sweep repeats this at
// the corrected field.
#pragma once

#include <memory>
#include <vector>

#include "src/comm/boxes.hpp"
#include "src/experts/constraint_layer.hpp"

namespace rankine {

class LocalExperts {
 public:
  /// `tiles`: the network's grid, dealt to ranks; experts are dealt in the same way. `model` must outlive this.
  LocalExperts(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
               const TilePartition& tiles, std::vector<int> learned);

  int experts() const { return static_cast<int>(domains_.boxes.size()); }
  /// The id of the sample that the latest correction failed at on this rank; -1: none.
  long failed() const { return failed_; }

  /// `v` and the result: [local tile][sample][unknown][point of the tile] in double, without the initial frame.
  /// Collective, as its backward pass is, and differentiable once by v and the learned parameters. A failure
  /// names expert and sample.
  Tensor corrected(const Tensor& v, const PdeBatch& batch) const;

  /// What one rank sends in a sweep of one sample, without what stays with it.
  int messages() const { return fetch_->partners(); }
  std::int64_t numbers_sent() const { return fetch_->points_sent() * model_.unknowns(); }

 private:
  struct Sweep;
  struct Course;
  /// The problem of a sample on this rank's expert.
  StorageProblem problem(int expert, const PdeBatch& batch, int sample) const;
  template <class Work>
  void each(const PdeBatch& batch, const Work& work) const;
  /// One sweep forward: `from` are values of `exchange`'s boxes, the result those of the experts' tiles.
  std::vector<double> sweep(const BoxExchange& exchange, const std::vector<double>& from,
                            const PdeBatch& batch, Sweep& states) const;
  std::vector<double> sweep_transpose(const BoxExchange& exchange, const std::vector<double>& tiles_bar,
                                      const PdeBatch& batch, const Sweep& states,
                                      std::vector<double>& by_parameter) const;

  /// The part of space that one expert solves on.
  struct Domain {
    std::vector<int> cells;  // of the whole grid, in the order of the part's own
    std::vector<int> inner;  // cells of the part that are its tile's, in the order of the tile's own
    std::unique_ptr<StorageModel> model;
  };

  const StorageModel& model_;
  const Communicator& communicator_;
  std::vector<int> learned_;
  int sweeps_;
  BlockPartition dealt_;  // experts to ranks
  OwnedBoxes domains_;    // of all experts
  std::vector<Domain> mine_;
  std::int64_t tile_cells_;
  /// From the network's tiles to domains, from experts' tiles to domains, and from these to the network's.
  std::unique_ptr<BoxExchange> fetch_, between_, home_;
  mutable long failed_ = -1;
};

}  // namespace rankine
