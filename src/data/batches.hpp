// The examples of each training step.
#pragma once

#include <cstdint>
#include <vector>

namespace rankine {

/// The order of the training examples: a permutation for each epoch, keyed by the seed and the epoch. There
/// is no state: the batch of a step follows from the step's number, on any number of ranks and after any
/// restart. A rank asks for the part of a batch that its shards hold.
class BatchOrder {
 public:
  /// With drop_last, the examples at the end of an epoch that do not fill a batch are left out; these are
  /// others in each epoch. Without it, examples of the next epoch fill the batch. Throws InputError if there
  /// are fewer examples than a batch has.
  BatchOrder(std::int64_t examples, std::int64_t batch, std::uint64_t seed, bool drop_last = true);

  /// The number of steps in an epoch. Without drop_last, the last of them may end in the next epoch.
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
  // A cache of the permutation of the latest epoch.
  mutable std::int64_t kept_epoch_ = -1;
  mutable std::vector<std::int64_t> kept_;
};

}  // namespace rankine
