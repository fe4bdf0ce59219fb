// Which examples a step sees.
#pragma once

#include <cstdint>
#include <vector>

namespace rankine {

/// The order of the training examples: in each epoch another permutation, keyed by the seed and the epoch.
/// It has no state: a step's batch follows from the step's number, on any rank and after any restart. A batch
/// is the same on any number of ranks; each asks for the part that its shards hold.
class BatchOrder {
 public:
  /// drop_last: what does not fill a batch is left out at the end of each epoch, other examples each time;
  /// otherwise the next epoch's fill it up. Throws InputError where the examples fill no batch.
  BatchOrder(std::int64_t examples, std::int64_t batch, std::uint64_t seed, bool drop_last = true);

  /// Without drop_last, the last of them may end in the next epoch.
  std::int64_t steps_per_epoch() const { return steps_per_epoch(examples_, batch_, drop_last_); }
  static std::int64_t steps_per_epoch(std::int64_t examples, std::int64_t batch, bool drop_last) {
    return (examples + (drop_last ? 0 : batch - 1)) / batch;
  }
  /// The numbers of the examples at the places `first` to `first` + `count` - 1 of the step's batch.
  std::vector<std::int64_t> part(std::int64_t step, std::int64_t first, std::int64_t count) const;
  std::vector<std::int64_t> batch(std::int64_t step) const { return part(step, 0, batch_); }

 private:
  const std::vector<std::int64_t>& permutation(std::int64_t epoch) const;

  std::int64_t examples_, batch_;
  std::uint64_t seed_;
  bool drop_last_;
  // The permutation that was asked for last.
  mutable std::int64_t kept_epoch_ = -1;
  mutable std::vector<std::int64_t> kept_;
};

}  // namespace rankine
