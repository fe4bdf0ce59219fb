// Transforms of training batches on examples whose values say which example and which pixel they are.
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/data/transforms/transform.hpp"
#include "src/nn/loss.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kHeight = 6, kWidth = 5, kArea = kHeight * kWidth, kClasses = 3;

/// Image n has 100 (n + 1) + k at pixel k and class n % 3.
class Numbered final : public Dataset {
 public:
  explicit Numbered(bool tokens = false) : tokens_(tokens) {}
  Shape input_shape() const override { return tokens_ ? Shape{4} : Shape{1, kHeight, kWidth}; }
  std::int64_t classes() const override { return kClasses; }
  Shape target_shape() const override { return {}; }
  std::int64_t size(Split) const override { return 1000; }
  Examples examples(Split, std::span<const std::int64_t> which, DType type, std::uint64_t,
                    std::int64_t) const override {
    const auto n = static_cast<std::int64_t>(which.size());
    std::vector<double> pixels;
    std::vector<std::int32_t> labels;
    for (const std::int64_t number : which) {
      for (std::int64_t k = 0; k < input_shape().count(); ++k)
        pixels.push_back(static_cast<double>(100 * (number + 1) + k));
      labels.push_back(static_cast<std::int32_t>(number % kClasses));
    }
    Shape shape = input_shape();
    shape.insert(0, n);
    return {cast(Tensor::from(pixels, shape), tokens_ ? DType::i32 : type),
            Tensor::from(labels, {n}),
            {which.begin(), which.end()}};
  }

 private:
  bool tokens_;
};

Transforms made(const std::string& list, const Dataset& data = Numbered()) {
  const DeckNode node = parse_deck_text("data: {transforms: " + list + "}", "test.yaml").child("data");
  return {node, data};
}

std::vector<std::int64_t> count_to(std::int64_t n) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

struct Result {
  Examples examples;
  std::vector<double> inputs, targets;
};

Result run(const std::string& list, const std::vector<std::int64_t>& numbers, std::int64_t step = 3,
           std::uint64_t seed = 1) {
  const Examples before = Numbered().examples(Split::training, numbers, DType::f64, 0, 0);
  const Examples after =
      made(list).apply(before, numbers, kClasses, DType::f64, {.seed = seed, .step = step});
  return {after, after.inputs.to_vector(), after.targets.to_vector()};
}

TEST(Transforms, EmptyListsAndThoseSwitchedOffLeaveTheBatchItself) {
  for (const char* list :
       {"[]",
        "[{name: shift, reach: 0}, {name: cutout, size: 0}, {name: noise, deviation: 0}, {name: cutmix, "
        "probability: 0}, {name: mixup, probability: 0}, {name: past_outputs, share: 0}]"}) {
    EXPECT_TRUE(made(list).none()) << list;
    const Examples before = Numbered().examples(Split::training, count_to(4), DType::f32, 0, 0);
    const Examples after = made(list).apply(before, count_to(4), kClasses, DType::f32, {});
    EXPECT_TRUE(after.inputs.shares_memory_with(before.inputs)) << list;
    EXPECT_EQ(after.targets.dtype(), DType::i32) << list;
  }
}

TEST(Transforms, AnExampleDependsOnSeedStepAndIdAlone) {
  const std::string list =
      "[{name: shift, reach: 2}, {name: cutout, size: 3}, {name: noise, deviation: 0.5}]";
  EXPECT_FALSE(made(list).mix());
  const Result all = run(list, count_to(6)), part = run(list, {4, 2});
  for (std::int64_t k = 0; k < kArea; ++k) {
    EXPECT_EQ(part.inputs[static_cast<std::size_t>(k)], all.inputs[static_cast<std::size_t>(4 * kArea + k)]);
    EXPECT_EQ(part.inputs[static_cast<std::size_t>(kArea + k)],
              all.inputs[static_cast<std::size_t>(2 * kArea + k)]);
  }
  EXPECT_EQ(all.targets, (std::vector<double>{0, 1, 2, 0, 1, 2}));
  EXPECT_NE(run(list, count_to(6), 4).inputs, all.inputs);
  EXPECT_NE(run(list, count_to(6), 3, 2).inputs, all.inputs);
}

TEST(Transforms, ShiftMovesWholeImagesByEachDistance) {
  const std::int64_t n = 600;
  const Result moved = run("[{name: shift, reach: 2}]", count_to(n));
  std::map<std::pair<std::int64_t, std::int64_t>, int> seen;
  for (std::int64_t i = 0; i < n; ++i) {
    const double* image = moved.inputs.data() + i * kArea;
    // Where the pixel in the middle went.
    const double middle = static_cast<double>(100 * (i + 1) + 2 * kWidth + 2);
    const std::int64_t at = std::find(image, image + kArea, middle) - image;
    ASSERT_LT(at, kArea);
    const std::int64_t down = at / kWidth - 2, right = at % kWidth - 2;
    ++seen[{down, right}];
    for (std::int64_t y = 0; y < kHeight; ++y)
      for (std::int64_t x = 0; x < kWidth; ++x) {
        const std::int64_t from_y = y - down, from_x = x - right;
        const bool inside = 0 <= from_y && from_y < kHeight && 0 <= from_x && from_x < kWidth;
        ASSERT_EQ(image[y * kWidth + x],
                  inside ? static_cast<double>(100 * (i + 1) + from_y * kWidth + from_x) : 0);
      }
  }
  EXPECT_EQ(seen.size(), 25u);
  for (const auto& [move, times] : seen) EXPECT_NEAR(times, 24, 24);  // five standard deviations
}

TEST(Transforms, CutoutLeavesASquareOfZeros) {
  const std::int64_t n = 300;
  const Result cut = run("[{name: cutout, size: 3}]", count_to(n));
  std::set<std::int64_t> sizes;
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t top = kHeight, bottom = -1, left = kWidth, right = -1, zeros = 0;
    for (std::int64_t k = 0; k < kArea; ++k) {
      const double value = cut.inputs[static_cast<std::size_t>(i * kArea + k)];
      if (value != 0) {
        ASSERT_EQ(value, static_cast<double>(100 * (i + 1) + k));
        continue;
      }
      ++zeros;
      top = std::min(top, k / kWidth), bottom = std::max(bottom, k / kWidth);
      left = std::min(left, k % kWidth), right = std::max(right, k % kWidth);
    }
    ASSERT_EQ(zeros, (bottom - top + 1) * (right - left + 1));
    sizes.insert(zeros);
  }
  EXPECT_EQ(sizes, (std::set<std::int64_t>{4, 6, 9}));  // in a corner, at a side, inside
}

TEST(Transforms, NoiseHasItsDeviation) {
  const Result noisy = run("[{name: noise, deviation: 0.5}]", count_to(200));
  double sum = 0, squares = 0;
  for (std::size_t k = 0; k < noisy.inputs.size(); ++k) {
    const auto at = static_cast<std::int64_t>(k);
    const double noise = noisy.inputs[k] - static_cast<double>(100 * (at / kArea + 1) + at % kArea);
    sum += noise, squares += noise * noise;
  }
  EXPECT_NEAR(sum / 6000, 0, 0.03);
  EXPECT_NEAR(squares / 6000, 0.25, 0.02);  // four standard deviations
}

TEST(Transforms, CutMixTakesOneBoxFromThePartnerAndItsShareOfTheTarget) {
  int mixed = 0, steps = 0;
  double kept_mean = 0;
  for (std::int64_t step = 0; step < 200; ++step, ++steps) {
    const Result cut = run("[{name: cutmix, probability: 0.5, alpha: 1}]", count_to(7), step);
    EXPECT_EQ(cut.examples.targets.shape().text(), (Shape{7, kClasses}).text());
    std::set<std::int64_t> box;  // the same for all
    std::set<std::int64_t> partners;
    for (std::int64_t i = 0; i < 7; ++i) {
      std::int64_t partner = i, taken = 0;
      for (std::int64_t k = 0; k < kArea; ++k) {
        const double value = cut.inputs[static_cast<std::size_t>(i * kArea + k)];
        ASSERT_EQ(std::fmod(value, 100), static_cast<double>(k));
        const auto from = static_cast<std::int64_t>(value / 100) - 1;
        if (from == i) continue;
        partner = from;
        ++taken;
        box.insert(k);
      }
      partners.insert(partner);
      if (taken > 0) {
        ASSERT_EQ(taken, static_cast<std::int64_t>(box.size()));
      }
      std::vector<double> expected(kClasses, 0);
      const double part = static_cast<double>(taken) / kArea;
      expected[static_cast<std::size_t>(i % kClasses)] += 1 - part;
      expected[static_cast<std::size_t>(partner % kClasses)] += part;
      for (std::int64_t c = 0; c < kClasses; ++c)
        ASSERT_NEAR(cut.targets[static_cast<std::size_t>(i * kClasses + c)],
                    expected[static_cast<std::size_t>(c)], 1e-15);
    }
    mixed += box.empty() ? 0 : 1;
    if (box.empty()) continue;
    EXPECT_EQ(partners.size(), 7u);
    kept_mean += 1 - static_cast<double>(box.size()) / kArea;
  }
  // A tenth of the boxes are smaller than a pixel.
  EXPECT_GT(mixed, 60);
  EXPECT_LT(mixed, 120);
  EXPECT_GT(kept_mean / mixed, 0.5);  // boxes are cut at the sides
}

TEST(Transforms, MixupMixesInputsAndTargetsByOneShareOfAStep) {
  double mean = 0;
  for (std::int64_t step = 0; step < 100; ++step) {
    const Result mixed = run("[{name: mixup, alpha: 2}]", count_to(5), step);
    std::optional<double> share;
    for (std::int64_t i = 0; i < 5; ++i) {
      // 100 (lam (i + 1) + (1 - lam) (partner + 1)) + k
      const double number = mixed.inputs[static_cast<std::size_t>(i * kArea)] / 100 - 1;
      for (std::int64_t k = 0; k < kArea; ++k)
        ASSERT_NEAR(mixed.inputs[static_cast<std::size_t>(i * kArea + k)],
                    100 * (number + 1) + static_cast<double>(k), 1e-9);
      double total = 0;
      for (std::int64_t c = 0; c < kClasses; ++c) total += mixed.targets[static_cast<std::size_t>(i * 3 + c)];
      EXPECT_NEAR(total, 1, 1e-14);
      const double own = mixed.targets[static_cast<std::size_t>(i * 3 + i % 3)];
      if (own > 1 - 1e-12) continue;  // a partner of its class
      if (!share) share = own;
      EXPECT_NEAR(own, *share, 1e-14);
      bool found = false;
      for (std::int64_t p = 0; p < 5; ++p)
        found = found ||
                std::abs(own * static_cast<double>(i) + (1 - own) * static_cast<double>(p) - number) < 1e-9;
      EXPECT_TRUE(found) << i;
    }
    mean += share.value_or(0.5) / 100;
  }
  EXPECT_NEAR(mean, 0.5, 0.1);  // Beta(2, 2): 4.5 standard deviations
}

TEST(Transforms, PastOutputsAreMixedInWithTheEpochs) {
  PastOutputs past(10, kClasses);
  past.set(4, std::vector<double>{0.2, 0.3, 0.5});
  const Transforms list = made("[{name: past_outputs, share: 0.8}]");
  EXPECT_TRUE(list.need_past());
  EXPECT_FALSE(list.mix());
  const std::vector<std::int64_t> numbers{4, 5};
  const Examples before = Numbered().examples(Split::training, numbers, DType::f64, 0, 0);
  const Examples after =
      list.apply(before, numbers, kClasses, DType::f64, {.epoch = 3, .epochs = 4, .past = &past});
  EXPECT_TRUE(after.inputs.shares_memory_with(before.inputs));
  const std::vector<double> targets = after.targets.to_vector();
  const double a = 0.6;
  const std::vector<double> expected{a * 0.2, 1 - a + a * 0.3, a * 0.5, 0, 0, 1};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(targets[i], expected[i], 1e-15);
}

TEST(Transforms, WhatDoesNotFitIsRefusedWithItsPlace) {
  const auto refusal = [](const std::string& list, bool tokens) {
    try {
      made(list, Numbered(tokens));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal("[{name: cutmix, probability: 2}]", false), HasSubstr("test.yaml:1:"));
  EXPECT_THAT(refusal("[{name: blur}]", false), HasSubstr("unknown transform 'blur'"));
  EXPECT_THAT(refusal("{name: shift}", false), HasSubstr("must be a list"));
  EXPECT_THAT(refusal("[{name: noise}, {name: mixup}]", true), HasSubstr("are tokens"));
}

TEST(CrossEntropyOfProbabilities, IsTheMeanOverTheClasses) {
  std::mt19937 rng(3);
  const Tensor scores = testing::random_tensor({2, 3, 4}, rng, -2, 2);
  const Tensor one = testing::random_tensor({2, 3, 4}, rng, 0, 1);
  const Tensor shares = div(one, sum(one, {2}, true));
  const Tensor labels = Tensor::from(std::vector<std::int32_t>{0, 3, 2, 1, 1, 0}, {2, 3});
  Tensor certain = Tensor::zeros({2, 3, 4}, DType::f64);
  for (const std::int64_t at : {0, 7, 10, 13, 17, 20}) host_update<double>(certain)[at] = 1;
  for (const double smoothing : {0.0, 0.1}) {
    const CrossEntropy loss({.smoothing = smoothing});
    const auto a = loss.per_sample(scores, certain, 2).to_vector(),
               b = loss.per_sample(scores, labels, 2).to_vector();
    for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(a[i], b[i], 1e-14);
    const auto x = scores.to_vector(), q = shares.to_vector();
    EXPECT_EQ(loss.score(scores, certain, 2)[0].to_vector(), loss.score(scores, labels, 2)[0].to_vector());
    const Tensor nothing = Tensor::zeros(certain.shape(), certain.dtype());
    EXPECT_EQ(sum(loss.per_sample(scores, nothing, 2)).item(), 0);
    const auto mixed = loss.per_sample(scores, shares, 2).to_vector();
    for (std::size_t i = 0; i < 6; ++i) {
      double total = 0, expected = 0;
      for (std::size_t c = 0; c < 4; ++c) total += std::exp(x[4 * i + c]);
      for (std::size_t c = 0; c < 4; ++c)
        expected -= ((1 - smoothing) * q[4 * i + c] + smoothing / 4) * (x[4 * i + c] - std::log(total));
      EXPECT_NEAR(mixed[i], expected, 1e-14);
    }
  }
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) {
        return std::vector<Tensor>{CrossEntropy({}).per_sample(in[0], shares, 2)};
      },
      {scores}, 1e-8);
}

}  // namespace
}  // namespace rankine
