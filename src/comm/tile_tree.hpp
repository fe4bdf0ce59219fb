// Sums of floating-point numbers over tiles (or samples) that have the same bits on any number of ranks.
//
// The sum over the numbers [lo, hi) is sum [lo, mid) + sum [mid, hi), where mid - lo is the largest power of
// two below hi - lo. This tree depends on the number of tiles alone. A rank sums the sub-trees that lie
// inside its own range; for each sub-tree that several ranks share, one from each side exchange their halves
// and both add them, left half first. Ranks without a partner get the sum from one that has it. That takes
// log2(ranks) rounds where ranks and tiles are powers of two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/reductions.hpp"
#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

/// Sums `count` buffers of sum.size() values, end to end in `values`, in the order of the tree. For one rank
/// that has all of them; the same bits as TileTree::sum. No buffer gives zeros. T: float, double.
template <class T>
void tree_sum_local(std::span<const T> values, std::int64_t count, std::span<T> sum);

/// The same for the buffers [begin, end) of `count` in several parts: part i holds `count` buffers of m_i
/// values, and `sum` the m_i side by side.
template <class T>
void tree_sum_parts(std::span<const std::span<const T>> parts, std::int64_t count, std::int64_t begin,
                    std::int64_t end, std::span<T> sum);

/// The tree and its messages, worked out once, for any contiguous distribution of numbers over ranks.
class TileTree {
 public:
  /// Rank r has the numbers [blocks.begin(r), blocks.end(r)); blocks.parts() must be the communicator's size.
  /// The communicator must outlive the tree. Not collective.
  TileTree(const Communicator& communicator, const BlockPartition& blocks);
  TileTree(const Communicator& communicator, const TilePartition& partition)
      : TileTree(communicator, partition.blocks()) {}

  std::int64_t count() const { return count_; }
  std::int64_t local_count() const { return end_ - begin_; }
  std::int64_t begin() const { return begin_; }  ///< this rank's first number

  /// `values` [local_count][m] holds one buffer for each of this rank's numbers, `sum` [m] takes the sum over
  /// all numbers on every rank. m must be the same everywhere. Collective. T: float, double.
  template <class T>
  void sum(std::span<const T> values, std::span<T> sum) const {
    sum_parts<T>(std::span(&values, 1), sum);
  }

  /// The same for buffers in several parts: part i is [local_count][m_i], and `sum` holds the m_i side by
  /// side.
  template <class T>
  void sum_parts(std::span<const std::span<const T>> parts, std::span<T> sum) const;

  /// The same in device memory, where the sums are made too. `partial` has room for partial_sums() times the
  /// values in `sum`.
  template <class T>
  void sum_parts(const std::vector<kernels::Part<T>>& parts, DevicePtr<T> sum, DevicePtr<T> partial) const;
  std::int64_t partial_sums() const { return count_ == 0 ? 0 : slots_ - 1; }

  /// The sum of one value for each number.
  template <class T>
  T sum_values(std::span<const T> values) const {
    T total{};
    sum(values, std::span<T>(&total, 1));
    return total;
  }

  /// Rounds of messages that this rank takes part in.
  int rounds() const { return static_cast<int>(rounds_.size()); }

 private:
  struct Message {
    int partner;
    int slot;  // of the partial sum that is sent, or received into
    int tag;
  };
  struct Addition {
    int left, right, into;
  };
  /// What happens between two waits: the messages, then the additions.
  struct Round {
    std::vector<Message> sends, receives;
    std::vector<Addition> adds;
  };
  struct Leaf {
    std::int64_t begin, end;
    int slot;
  };

  void plan(const BlockPartition& blocks);
  /// The sum of m values from those of the leaves, which `leaf_sum(leaf, into)` makes; `add(left, right,
  /// into)`. Pointer: to memory of the host or of the device.
  template <class Pointer, class LeafSum, class Add>
  void combine(std::int64_t m, Pointer sum, Pointer partial, const LeafSum& leaf_sum, const Add& add) const;

  const Communicator& communicator_;
  std::int64_t count_ = 0, begin_ = 0, end_ = 0;
  std::vector<Leaf> leaves_;  // the largest sub-trees inside this rank's range
  std::vector<Round> rounds_;
  int slots_ = 0;
  int result_slot_ = -1;
};

}  // namespace rankine
