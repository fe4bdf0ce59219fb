// Groups of ranks that work on different runs at the same time, independently of each other. A group can ask
// the others to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "src/comm/communicator.hpp"

namespace rankine {

class RankGroups {
 public:
  /// Makes `wanted` groups of consecutive ranks, or one for each rank if there are fewer ranks. Their sizes
  /// differ by at most one. Collective.
  RankGroups(const Communicator& world, int wanted);
  ~RankGroups();
  RankGroups(const RankGroups&) = delete;
  RankGroups& operator=(const RankGroups&) = delete;

  int count() const { return count_; }
  /// The number of this rank's group.
  int index() const { return index_; }
  const Communicator& group() const { return group_; }
  /// The rank, among all ranks, of the first rank of a group.
  int root_of(int group) const;

  /// Sends `value` (> 0) to the roots of all groups. Only the first call of a rank has an effect. Not
  /// collective.
  void tell(std::int64_t value);
  /// On the root of a group: the largest value that has arrived by now, or 0. Not collective.
  std::int64_t told();
  /// Waits for all ranks without occupying a core, and calls `meanwhile` every few milliseconds. Returns the
  /// largest value that any rank has sent. Collective over all ranks; no value can be sent afterwards.
  std::int64_t meet(const std::function<void()>& meanwhile);

 private:
  struct Messages;
  void receive_one();
  int count_, index_;
  Communicator channel_;  // of all ranks, for the values that are sent
  Communicator group_;
  std::int64_t largest_ = 0, own_ = 0, received_ = 0;
  std::unique_ptr<Messages> sent_;
};

}  // namespace rankine
