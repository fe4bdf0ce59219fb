// The ranks in groups that work on different things at the same time, know nothing of each other's work, and
// can ask each other to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "src/comm/communicator.hpp"

namespace rankine {

class RankGroups {
 public:
  /// Collective. `wanted` groups of consecutive ranks, at most one for each rank, whose sizes differ by at
  /// most one.
  RankGroups(const Communicator& world, int wanted);
  ~RankGroups();
  RankGroups(const RankGroups&) = delete;
  RankGroups& operator=(const RankGroups&) = delete;

  int count() const { return count_; }
  /// The group of this rank.
  int index() const { return index_; }
  const Communicator& group() const { return group_; }
  /// Rank, in the world, of the first rank of a group.
  int root_of(int group) const;

  /// Tells the roots of all groups `value` (> 0); only the first call of a rank does something. Not
  /// collective.
  void tell(std::int64_t value);
  /// On a group's root: the largest value that any rank has told so far, 0 if none. Not collective.
  std::int64_t told();
  /// Waits for all ranks of the world without occupying a core; calls `meanwhile` every few milliseconds.
  /// Returns the largest value told by anyone. Collective over the world; after it nothing can be told.
  std::int64_t meet(const std::function<void()>& meanwhile);

 private:
  struct Messages;
  void receive_one();
  int count_, index_;
  Communicator channel_;  // the world's ranks, for what is told
  Communicator group_;
  std::int64_t largest_ = 0, own_ = 0, received_ = 0;
  std::unique_ptr<Messages> sent_;
};

}  // namespace rankine
