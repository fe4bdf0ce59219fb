#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/data/batches.hpp"

namespace rankine {
namespace {

using Numbers = std::vector<std::int64_t>;

Numbers sorted(Numbers numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Numbers count_to(std::int64_t n) {
  Numbers numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

TEST(BatchOrder, SeesEveryExampleOnceAnEpoch) {
  const BatchOrder order(24, 6, 7);
  EXPECT_EQ(order.steps_per_epoch(), 4);
  std::set<Numbers> epochs;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    Numbers seen;
    for (std::int64_t step = 4 * epoch; step < 4 * epoch + 4; ++step) {
      for (std::int64_t i : order.batch(step)) seen.push_back(i);
    }
    epochs.insert(seen);
    EXPECT_EQ(sorted(seen), count_to(24));
  }
  EXPECT_EQ(epochs.size(), 3u);
}

TEST(BatchOrder, FollowsFromSeedAndStepAlone) {
  const BatchOrder forwards(20, 6, 7), afresh(20, 6, 7), other(20, 6, 8);
  std::vector<Numbers> batches;
  for (std::int64_t step = 0; step < 10; ++step) batches.push_back(forwards.batch(step));
  for (std::int64_t step = 9; step >= 0; --step)
    EXPECT_EQ(afresh.batch(step), batches[static_cast<std::size_t>(step)]);
  EXPECT_NE(other.batch(0), batches[0]);
}

TEST(BatchOrder, LeavesOtherExamplesOutInEachEpoch) {
  const BatchOrder order(10, 4, 7);
  EXPECT_EQ(order.steps_per_epoch(), 2);
  std::set<Numbers> left_out;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    Numbers all = count_to(10);
    for (std::int64_t step : {2 * epoch, 2 * epoch + 1})
      for (std::int64_t i : order.batch(step)) all.erase(std::find(all.begin(), all.end(), i));
    EXPECT_EQ(all.size(), 2u);
    left_out.insert(all);
  }
  EXPECT_GT(left_out.size(), 1u);
}

TEST(BatchOrder, FillsTheLastBatchFromTheNextEpoch) {
  const BatchOrder order(10, 4, 7, false);
  EXPECT_EQ(order.steps_per_epoch(), 3);
  Numbers stream;
  for (std::int64_t step = 0; step < 5; ++step)
    for (std::int64_t i : order.batch(step)) stream.push_back(i);
  for (std::ptrdiff_t epoch : {0, 1})
    EXPECT_EQ(sorted(Numbers(stream.begin() + 10 * epoch, stream.begin() + 10 * epoch + 10)), count_to(10));
  EXPECT_EQ(order.batch(0), BatchOrder(10, 4, 7).batch(0));
  // A split smaller than a batch is seen more than once in it.
  EXPECT_EQ(sorted(BatchOrder(2, 4, 7, false).batch(5)), (Numbers{0, 0, 1, 1}));
}

TEST(BatchOrder, GivesPartsOfABatch) {
  for (bool drop_last : {true, false}) {
    const BatchOrder order(7, 6, 7, drop_last);
    for (std::int64_t step = 0; step < 4; ++step) {
      Numbers joined;
      for (std::int64_t first : {0, 2, 4})
        for (std::int64_t i : order.part(step, first, 2)) joined.push_back(i);
      EXPECT_EQ(joined, order.batch(step));
    }
  }
}

TEST(BatchOrder, RefusesABatchThatIsNeverFull) {
  EXPECT_THAT([] { BatchOrder(15, 16, 0); }, testing::ThrowsMessage<InputError>(testing::HasSubstr(
                                                 "batch: 16 is more than the 15 training examples")));
  EXPECT_THROW(BatchOrder(0, 16, 0, false), InputError);
}

}  // namespace
}  // namespace rankine
