// Sums of floating-point numbers over tiles (or samples) that have the same bits on any number of ranks.
//
// The sum over the tile numbers [lo, hi) is sum [lo, mid) + sum [mid, hi), where mid - lo is the largest
// power of two below hi - lo. This tree depends on the number of tiles alone. A rank sums the sub-trees that
// lie within its own range. For a sub-tree that several ranks share, one rank from each half exchange the
// sums of their halves, and both add them, left half first. Ranks without a partner receive the sum from a
// rank that has it. If the numbers of ranks and tiles are powers of two, this takes log2(ranks) rounds of
// messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/reductions.hpp"
#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

/// Sums `count` buffers of sum.size() values each, which lie end to end in `values`, in the order of the
/// tree. For one rank that has all of them; the bits are those of TileTree::sum. Without buffers the sum is
/// 0. T: float, double.
template <class T>
void tree_sum_local(std::span<const T> values, std::int64_t count, std::span<T> sum);

/// The same for the buffers [begin, end) of `count`, whose values lie in several parts: part i holds `count`
/// buffers of m_i values, and `sum` holds the m_i sums of all parts end to end.
template <class T>
void tree_sum_parts(std::span<const std::span<const T>> parts, std::int64_t count, std::int64_t begin,
                    std::int64_t end, std::span<T> sum);

/// The tree and its messages for a contiguous distribution of tile numbers over ranks, computed once.
class TileTree {
 public:
  /// Rank r has the numbers [blocks.begin(r), blocks.end(r)); blocks.parts() must be the size of the
  /// communicator, which must outlive the tree. Not collective.
  TileTree(const Communicator& communicator, const BlockPartition& blocks);
  TileTree(const Communicator& communicator, const TilePartition& partition)
      : TileTree(communicator, partition.blocks()) {}

  std::int64_t count() const { return count_; }
  std::int64_t local_count() const { return end_ - begin_; }
  std::int64_t begin() const { return begin_; }  ///< this rank's first number

  /// `values` [local_count][m] holds one buffer for each number of this rank; `sum` [m] receives, on every
  /// rank, the sum over all numbers. All ranks must give the same m. Collective. T: float, double.
  template <class T>
  void sum(std::span<const T> values, std::span<T> sum) const {
    sum_parts<T>(std::span(&values, 1), sum);
  }

  /// The same for values in several parts: part i is [local_count][m_i], and `sum` holds the m_i sums of all
  /// parts end to end.
  template <class T>
  void sum_parts(std::span<const std::span<const T>> parts, std::span<T> sum) const;

  /// The same for device memory; the sums are computed on the device. `partial` has room for partial_sums()
  /// times as many values as `sum`.
  template <class T>
  void sum_parts(const std::vector<kernels::Part<T>>& parts, DevicePtr<T> sum, DevicePtr<T> partial) const;
  std::int64_t partial_sums() const { return count_ == 0 ? 0 : slots_ - 1; }

  /// The sum of one value for each number of the tree.
  template <class T>
  T sum_values(std::span<const T> values) const {
    T total{};
    sum(values, std::span<T>(&total, 1));
    return total;
  }

  /// The number of rounds of messages that this rank takes part in.
  int rounds() const { return static_cast<int>(rounds_.size()); }

 private:
  struct Message {
    int partner;
    int slot;  // the partial sum that is sent or overwritten
    int tag;
  };
  struct Addition {
    int left, right, into;
  };
  /// Messages, and the additions that follow once they have arrived.
  struct Round {
    std::vector<Message> sends, receives;
    std::vector<Addition> adds;
  };
  struct Leaf {
    std::int64_t begin, end;
    int slot;
  };

  void plan(const BlockPartition& blocks);
  /// Computes the sum of m values: `leaf_sum(leaf, into)` sums the values of a leaf, `add(left, right, into)`
  /// adds two partial sums. Pointer points to host memory or to device memory.
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
