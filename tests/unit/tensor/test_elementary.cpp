// Further elementary ops, ragged batches and linear recurrences.
#include "src/tensor/elementary.hpp"
#include "src/tensor/ragged.hpp"
#include "src/tensor/scan.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;
using Values = std::vector<double>;

Tensor values(const Values& list) { return Tensor::from(list, {static_cast<std::int64_t>(list.size())}); }

class Elementary : public ::testing::Test {
 protected:
  std::mt19937 rng{3};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

TEST_F(Elementary, Values) {
  const Tensor x = values({-2, -0.5, 0, 0.5, 3});
  EXPECT_EQ(abs(x).to_vector(), (Values{2, 0.5, 0, 0.5, 3}));
  EXPECT_EQ(sign(x).to_vector(), (Values{-1, -1, 0, 1, 1}));
  EXPECT_EQ(clamp(x, -1, 1).to_vector(), (Values{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(maximum(x, 0.25).to_vector(), (Values{0.25, 0.25, 0.25, 0.5, 3}));
  EXPECT_EQ(minimum(x, 0.25).to_vector(), (Values{-2, -0.5, 0, 0.25, 0.25}));
  EXPECT_EQ(maximum(x, neg(x)).to_vector(), (Values{2, 0.5, 0, 0.5, 3}));
  EXPECT_EQ(minimum(x, neg(x)).to_vector(), (Values{-2, -0.5, 0, -0.5, -3}));
  EXPECT_EQ(pow(x, 3).to_vector(), (Values{-8, -0.125, 0, 0.125, 27}));
  EXPECT_EQ(cumulative_sum(x, 0).to_vector(), (Values{-2, -2.5, -2.5, -2, 1}));
  EXPECT_EQ(cumulative_sum(x, 0, true).to_vector(), (Values{1, 3, 3.5, 3.5, 3}));
  EXPECT_EQ(fake_quantise(values({-9, -0.26, 0.24, 0.25, 0.75, 9}), 0.5, -3, 2).to_vector(),
            (Values{-1.5, -0.5, 0, 0, 1, 1}));
}

TEST_F(Elementary, Gradients) {
  const Tensor a = random({3, 4}), b = random({4}, 0.5, 2);
  expect_gradient([](const List& x) { return List{abs(x[0]), pow(x[0], 3)}; }, {a});
  expect_gradient(
      [](const List& x) {
        return List{pow(x[0], -1.5), pow(x[0], 0), clamp(x[0], 0.8, 1.4)};
      },
      {b});
  expect_gradient(
      [](const List& x) {
        return List{maximum(x[0], 0.1), minimum(x[0], 0.1), maximum(x[0], x[1]), minimum(x[0], x[1])};
      },
      {a, b});
  expect_gradient(
      [](const List& x) {
        return List{cumulative_sum(x[0], 0), cumulative_sum(x[0], 1, true)};
      },
      {a});
  expect_second_gradient(
      [](const List& x) {
        return List{pow(x[0], 2.5), mul(abs(x[0]), x[0]), cumulative_sum(square(x[0]), 0)};
      },
      {b}, 1e-7);
}

TEST_F(Elementary, ExtremesGiveTheirGradientToTheFirst) {
  const Tensor x = variable(Tensor::from(Values{1, 5, 5, 2, -3, 0, -3, -3}, {2, 4}));
  EXPECT_EQ(max(x, 1).to_vector(), (Values{5, 0}));
  EXPECT_EQ(min(x, 1, true).shape(), (Shape{2, 1}));
  const Tensor top = argmax(x, 1), low = argmin(x, 1);
  EXPECT_EQ(host_values<std::int64_t>(top), (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(host_values<std::int64_t>(low), (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(grad({max(x, 1)}, {values({1, 10})}, {x})[0].to_vector(), (Values{0, 1, 0, 0, 0, 10, 0, 0}));
  EXPECT_EQ(grad({min(x, 0)}, {values({1, 2, 3, 4})}, {x})[0].to_vector(), (Values{0, 0, 0, 0, 1, 2, 3, 4}));
  const Tensor a = random({3, 4, 2});
  expect_gradient(
      [](const List& in) {
        return List{max(in[0], 1), min(in[0], 2, true), max(in[0], 0)};
      },
      {a});
  expect_second_gradient([](const List& in) { return List{square(max(in[0], 1))}; }, {a});
}

TEST_F(Elementary, StraightThrough) {
  const Tensor x = variable(values({0.3, -0.7}));
  const Tensor y = straight_through(x, sign(x));
  EXPECT_EQ(y.to_vector(), (Values{1, -1}));
  EXPECT_EQ(grad({y}, {values({5, 6})}, {x})[0].to_vector(), (Values{5, 6}));
  const Tensor w = variable(values({-9, -1.74, 0.1, 1.24, 1.26}));
  EXPECT_EQ(grad({sum(fake_quantise(w, 0.5, -3, 2))}, {}, {w})[0].to_vector(), (Values{0, 1, 1, 1, 0}));
}

TEST_F(Elementary, RaggedBatches) {
  const Offsets offsets{0, 2, 2, 5, 6};  // lengths 2, 0, 3, 1
  const Tensor x = random({2, 6, 3});
  const Tensor sums = segment_sum(x, 1, offsets), tops = segment_max(x, 1, offsets),
               p = segment_softmax(x, 1, offsets);
  ASSERT_EQ(sums.shape(), (Shape{2, 4, 3}));
  for (std::int64_t o = 0; o < 2; ++o)
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::size_t s = 0; s < 4; ++s) {
        const auto at = [&](const Tensor& t, std::int64_t rows, std::int64_t k) {
          return host_read<double>(t)[(o * rows + k) * 3 + i];
        };
        double total = 0, top = -HUGE_VAL, norm = 0;
        for (std::int64_t k = offsets[s]; k < offsets[s + 1]; ++k) {
          total += at(x, 6, k);
          top = std::max(top, at(x, 6, k));
          norm += std::exp(at(x, 6, k));
        }
        EXPECT_NEAR(at(sums, 4, static_cast<std::int64_t>(s)), total, 1e-15);
        EXPECT_EQ(at(tops, 4, static_cast<std::int64_t>(s)), top);
        for (std::int64_t k = offsets[s]; k < offsets[s + 1]; ++k)
          EXPECT_NEAR(at(p, 6, k), std::exp(at(x, 6, k)) / norm, 1e-15);
      }
  const Offsets full{0, 2, 5, 6};
  expect_gradient(
      [&](const List& in) {
        return List{segment_sum(in[0], 1, offsets), segment_max(in[0], 1, full),
                    segment_softmax(in[0], 1, offsets)};
      },
      {x});
  expect_gradient([&](const List& in) { return List{repeat_segments(in[0], 0, offsets)}; }, {random({4, 2})});
  expect_second_gradient([&](const List& in) { return List{segment_softmax(in[0], -1, offsets)}; },
                         {random({1, 6})});
}

TEST_F(Elementary, DiagonalScan) {
  const Tensor a = random({2, 5, 3}), b = random({2, 5, 3});
  for (const bool reverse : {false, true}) {
    const Tensor h = diagonal_scan(a, b, 1, reverse);
    for (std::int64_t o = 0; o < 2; ++o)
      for (std::int64_t i = 0; i < 3; ++i) {
        double state = 0;
        for (std::int64_t k = 0; k < 5; ++k) {
          const std::int64_t at = (o * 5 + (reverse ? 4 - k : k)) * 3 + i;
          state = host_read<double>(a)[at] * state + host_read<double>(b)[at];
          EXPECT_NEAR(host_read<double>(h)[at], state, 1e-15);
        }
      }
    expect_gradient([reverse](const List& x) { return List{diagonal_scan(x[0], x[1], 1, reverse)}; }, {a, b});
    expect_gradient([reverse](const List& x) { return List{diagonal_scan(x[0], x[1], 0, reverse)}; },
                    {random({1, 3}), random({4, 3})});
  }
  expect_second_gradient([](const List& x) { return List{diagonal_scan(x[0], x[1], 0)}; },
                         {random({3, 2}), random({3, 2})}, 1e-7);
}

}  // namespace
}  // namespace rankine
