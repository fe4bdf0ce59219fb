#include <cmath>

#include "src/nn/attention.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;

double at(const Tensor& x, std::initializer_list<std::int64_t> index) {
  std::int64_t offset = 0;
  int axis = 0;
  for (const std::int64_t i : index) offset += i * x.strides()[axis++];
  return host_read<double>(x)[offset];
}

// One output at a time, from the definition.
Tensor by_hand(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  const std::int64_t L = q.extent(0), B = q.extent(1), H = q.extent(2), Q = q.extent(3), D = q.extent(4);
  const std::int64_t K = k.extent(3);
  std::vector<double> out;
  for (std::int64_t l = 0; l < L; ++l)
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t i = 0; i < Q; ++i)
        for (std::int64_t h = 0; h < H; ++h) {
          const std::int64_t limit = causal ? K - Q + i + 1 : K;
          std::vector<double> weight;
          double total = 0;
          for (std::int64_t j = 0; j < limit; ++j) {
            double inner = 0;
            for (std::int64_t d = 0; d < D; ++d) inner += at(q, {l, b, h, i, d}) * at(k, {l, b, h, j, d});
            weight.push_back(std::exp(inner / std::sqrt(static_cast<double>(D))));
            total += weight.back();
          }
          for (std::int64_t d = 0; d < D; ++d) {
            double y = 0;
            for (std::int64_t j = 0; j < limit; ++j)
              y += weight[static_cast<std::size_t>(j)] / total * at(v, {l, b, h, j, d});
            out.push_back(y);
          }
        }
  return Tensor::from(out, {L, B, Q, H * D});
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.shape().text(), b.shape().text());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

class AttentionOp : public ::testing::Test {
 protected:
  std::mt19937 rng{7};
  Tensor random(const Shape& shape) { return random_tensor(shape, rng, -2, 2); }
};

TEST_F(AttentionOp, EqualsTheDefinition) {
  // Lengths around the blocks of rows (24, 48), keys (128, 512) and lanes (16).
  for (const std::int64_t tokens : {1, 3, 16, 49, 130, 530}) {
    const std::int64_t dim = tokens > 200 ? 3 : 5;
    const Tensor q = random({1, 2, 2, tokens, dim}), k = random({1, 2, 2, tokens, dim}),
                 v = random({1, 2, 2, tokens, dim});
    for (const bool causal : {false, true})
      expect_close(attention(q, k, v, causal), by_hand(q, k, v, causal), 1e-13);
  }
  const Tensor q = random({2, 1, 3, 7, 4}), k = random({2, 1, 3, 11, 4}), v = random({2, 1, 3, 11, 4});
  expect_close(attention(q, k, v, false), by_hand(q, k, v, false), 1e-13);
  expect_close(attention(q, k, v, true), by_hand(q, k, v, true), 1e-13);
}

TEST_F(AttentionOp, SinglePrecision) {
  const Tensor q = random({1, 2, 2, 100, 16}), k = random({1, 2, 2, 100, 16}), v = random({1, 2, 2, 100, 16});
  const auto single = [](const Tensor& x) { return cast(x, DType::f32); };
  expect_close(cast(attention(single(q), single(k), single(v), true), DType::f64), by_hand(q, k, v, true),
               5e-6);
}

TEST_F(AttentionOp, Gradients) {
  for (const bool causal : {false, true}) {
    const auto fn = [causal](const List& x) { return List{attention(x[0], x[1], x[2], causal)}; };
    expect_gradient(fn, {random({2, 1, 2, 5, 4}), random({2, 1, 2, 5, 4}), random({2, 1, 2, 5, 4})});
    expect_gradient(fn, {random({1, 1, 1, 50, 2}), random({1, 1, 1, 53, 2}), random({1, 1, 1, 53, 2})});
    const auto cached = [causal](const List& x) {
      return List{attention(x[0], x[1], x[2], causal, x[3], x[4])};
    };
    expect_gradient(cached, {random({1, 2, 2, 3, 4}), random({1, 2, 2, 3, 4}), random({1, 2, 2, 3, 4}),
                             random({1, 2, 2, 6, 4}), random({1, 2, 2, 6, 4})});
  }
}

TEST_F(AttentionOp, SecondGradients) {
  const auto fn = [](const List& x) { return List{attention(x[0], x[1], x[2], true, x[3], x[4])}; };
  expect_second_gradient(fn,
                         {random({1, 1, 2, 3, 2}), random({1, 1, 2, 3, 2}), random({1, 1, 2, 3, 2}),
                          random({1, 1, 2, 2, 2}), random({1, 1, 2, 2, 2})},
                         1e-6);
}

TEST_F(AttentionOp, PathInOpsEqualsTheFusedOne) {
  List inputs{random({2, 2, 2, 60, 4}), random({2, 2, 2, 60, 4}), random({2, 2, 2, 60, 4}),
              random({2, 2, 2, 30, 4}), random({2, 2, 2, 30, 4})};
  for (Tensor& x : inputs) x = variable(x);
  const Tensor seed = random({2, 2, 60, 8});
  const Tensor y = attention(inputs[0], inputs[1], inputs[2], true, inputs[3], inputs[4]);
  const auto fused = grad({y}, {seed}, inputs, {.retain = true});
  const auto composed = grad({y}, {seed}, inputs, {.create_graph = true});
  for (std::size_t i = 0; i < inputs.size(); ++i) expect_close(fused[i], composed[i], 1e-12);
}

TEST_F(AttentionOp, DoesNotStoreTheWeights) {
  const std::int64_t tokens = 512;
  const Tensor q = variable(random({1, 1, 4, tokens, 8})), k = variable(random({1, 1, 4, tokens, 8})),
               v = variable(random({1, 1, 4, tokens, 8}));
  const std::size_t weights = 4 * tokens * tokens * sizeof(double);
  reset_memory_peak();
  const std::size_t before = memory_account().live;
  const Tensor y = sum(attention(q, k, v, true));
  EXPECT_LT(memory_account().live - before, weights / 32);
  grad({y}, {}, {q, k, v});
  EXPECT_LT(memory_account().peak - before, weights / 5);
}

TEST_F(AttentionOp, SplitsHeadsAndTurnsThem) {
  const Tensor qkv = random({2, 2, 5, 3 * 2 * 4});
  const auto plain = split_heads(qkv, 2);
  for (std::int64_t i = 0; i < 3; ++i)
    for (std::int64_t t = 0; t < 5; ++t)
      for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t d = 0; d < 4; ++d)
          ASSERT_EQ(at(plain[static_cast<std::size_t>(i)], {1, 0, h, t, d}),
                    at(qkv, {1, 0, t, i * 8 + h * 4 + d}));
  const RotaryPositions rotary{.on = true, .base = 100, .first = 3};
  const auto turned = split_heads(qkv, 2, rotary);
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t i = 0; i < 2; ++i) {
      const double angle = static_cast<double>(3 + t) * std::pow(100.0, -0.5 * static_cast<double>(i));
      const double a = at(plain[1], {0, 1, 1, t, i}), b = at(plain[1], {0, 1, 1, t, i + 2});
      EXPECT_NEAR(at(turned[1], {0, 1, 1, t, i}), std::cos(angle) * a - std::sin(angle) * b, 1e-14);
      EXPECT_NEAR(at(turned[1], {0, 1, 1, t, i + 2}), std::sin(angle) * a + std::cos(angle) * b, 1e-14);
    }
  expect_close(turned[2], plain[2], 0);
  for (const bool on : {false, true}) {
    const RotaryPositions positions{.on = on, .first = 2};
    expect_gradient(
        [&](const List& x) {
          const auto parts = split_heads(x[0], 2, positions);
          return List{parts[0], parts[1], parts[2], parts[1]};
        },
        {qkv});
    expect_second_gradient(
        [&](const List& x) {
          const auto parts = split_heads(x[0], 2, positions);
          return List{mul(parts[0], parts[1]), parts[2]};
        },
        {random({1, 1, 2, 12})});
  }
}

TEST_F(AttentionOp, RotaryScoresDependOnDistancesAlone) {
  const Tensor qkv = random({1, 1, 6, 3 * 8});
  const auto here = split_heads(qkv, 1, {.on = true, .first = 0});
  const auto there = split_heads(qkv, 1, {.on = true, .first = 1000});
  expect_close(attention(here[0], here[1], here[2], true), attention(there[0], there[1], there[2], true),
               1e-11);
}

TEST_F(AttentionOp, ChunksAgainstACacheEqualTheWhole) {
  const std::int64_t chunk = 20, chunks = 4;
  const Tensor qkv = random({1, 2, chunk * chunks, 3 * 2 * 6});
  const auto whole = split_heads(qkv, 2, {.on = true});
  const Tensor expected = attention(whole[0], whole[1], whole[2], true);
  Tensor keys, values;
  for (std::int64_t c = 0; c < chunks; ++c) {
    const auto part =
        split_heads(slice(qkv, 2, c * chunk, (c + 1) * chunk), 2, {.on = true, .first = c * chunk});
    expect_close(attention(part[0], part[1], part[2], true, keys, values),
                 slice(expected, 2, c * chunk, (c + 1) * chunk).clone(), 1e-12);
    keys = c == 0 ? part[1] : concat({keys, part[1]}, 3);
    values = c == 0 ? part[2] : concat({values, part[2]}, 3);
  }
}

}  // namespace
}  // namespace rankine
