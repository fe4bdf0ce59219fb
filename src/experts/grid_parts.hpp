// What a rank needs to work on its parts of space: the discretised PDE on each part and the cells around it,
// and the moves of fields between the network's tiles and the parts.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "src/comm/boxes.hpp"
#include "src/experts/constraint_layer.hpp"

namespace rankine {

/// One part of space, through all frames, with a margin in which the part's own rows read.
struct GridPart {
  std::vector<int> cells;  ///< their numbers in the whole grid, in the order of the part's model
  std::vector<int> inner;  ///< those that are the part's own, in their order there
  std::unique_ptr<StorageModel> model;
};

class GridParts {
 public:
  /// `own`: disjoint boxes of frames and cells, all frames each. `margin`: cells around them. `model` must
  /// outlive this.
  GridParts(const StorageModel& model, const Communicator& communicator, const TilePartition& network,
            OwnedBoxes own, int margin, std::vector<int> learned);

  const StorageModel& model() const { return model_; }
  const Communicator& communicator() const { return communicator_; }
  const std::vector<int>& learned() const { return learned_; }
  /// Those of this rank, in the order of their numbers.
  const std::vector<GridPart>& mine() const { return mine_; }
  /// The id of the sample that the latest each() failed at on this rank; -1: none.
  long failed() const { return failed_; }

  /// The problem of a sample on one of this rank's parts.
  StorageProblem problem(size_t part, const PdeBatch& batch, int sample) const;
  /// work(part, sample) for all of this rank, on all ranks together; a failure names both.
  void each(const PdeBatch& batch, const std::function<void(size_t part, int sample)>& work) const;
  /// The same for one sample.
  void each(const PdeBatch& batch, int sample, const std::function<void(size_t part)>& work) const;
  /// The numbers of this rank's own cells in all frames.
  long own_points() const { return own_cells_ * model_.unknowns() * model_.frames(); }

  /// From the network's tiles to parts with their margins, from the parts' own boxes to the same, and from
  /// these boxes to the network's tiles.
  const BoxExchange& fetch() const { return *fetch_; }
  const BoxExchange& between() const { return *between_; }
  const BoxExchange& home() const { return *home_; }

  // Fields [box][sample][unknown][frame][cell], as exchanges have them, of parts with margins or of own boxes.
  /// The state [frame][cell][unknown] of a part with its margin, without the initial frame.
  std::vector<double> state(const std::vector<double>& fields, size_t part, int samples, int sample) const;
  void put_state(std::span<const double> state, size_t part, int samples, int sample,
                 std::vector<double>& fields) const;
  /// The same for the own cells, of which the others of `state` are 0 and not read.
  std::vector<double> own_state(const std::vector<double>& fields, size_t part, int samples,
                                int sample) const;
  void put_own_state(std::span<const double> state, size_t part, int samples, int sample,
                     std::vector<double>& fields) const;

 private:
  void try_part(const PdeBatch& batch, size_t part, int sample,
                const std::function<void(size_t, int)>& work) const;

  const StorageModel& model_;
  const Communicator& communicator_;
  std::vector<int> learned_;
  std::vector<int> numbers_;  // of this rank's parts among all
  std::vector<GridPart> mine_;
  std::vector<std::int64_t> begin_, own_begin_;  // cells before each of this rank's parts
  std::int64_t own_cells_ = 0;
  std::unique_ptr<BoxExchange> fetch_, between_, home_;
  mutable long failed_ = -1;
};

}  // namespace rankine
