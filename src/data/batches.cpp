#include "src/data/batches.hpp"

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/random.hpp"

namespace rankine {

BatchOrder::BatchOrder(std::int64_t examples, std::int64_t batch, std::uint64_t seed, bool drop_last)
    : examples_(examples), batch_(batch), seed_(seed), drop_last_(drop_last) {
  RANKINE_ASSERT(batch > 0, "an empty batch");
  if (examples < 1 || (drop_last && examples < batch))
    throw InputError(
        fmt::format("batch: {} is more than the {} training examples; make it smaller, or the "
                    "training split larger",
                    batch, examples));
}

const std::vector<std::int64_t>& BatchOrder::permutation(std::int64_t epoch) const {
  if (kept_epoch_ != epoch) kept_ = RandomStream(seed_, "batch-order").permutation(examples_, epoch);
  kept_epoch_ = epoch;
  return kept_;
}

std::vector<std::int64_t> BatchOrder::part(std::int64_t step, std::int64_t first, std::int64_t count) const {
  RANKINE_ASSERT(step >= 0 && first >= 0 && count >= 0 && first + count <= batch_,
                 fmt::format("places {} to {} of step {}", first, first + count, step));
  std::vector<std::int64_t> numbers;
  numbers.reserve(static_cast<std::size_t>(count));
  for (std::int64_t place = first; place < first + count; ++place) {
    std::int64_t epoch = 0, at = 0;
    if (drop_last_) {
      epoch = step / steps_per_epoch();
      at = step % steps_per_epoch() * batch_ + place;
    } else {
      epoch = (step * batch_ + place) / examples_;
      at = (step * batch_ + place) % examples_;
    }
    numbers.push_back(permutation(epoch)[static_cast<std::size_t>(at)]);
  }
  return numbers;
}

}  // namespace rankine
