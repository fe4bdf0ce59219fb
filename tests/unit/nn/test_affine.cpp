#include "src/nn/affine.hpp"
#include "src/nn/embedding.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using List = std::vector<Tensor>;

class Affine : public ::testing::Test {
 protected:
  std::mt19937 rng{5};
  Tensor random(const Shape& shape) { return random_tensor(shape, rng); }
};

TEST_F(Affine, EqualsProductAndSum) {
  for (const std::int64_t rows : {1, 7, 200}) {
    const Tensor x = random({2, rows, 3, 9}), w = random({2, 11, 9}), b = random({2, 11});
    const Tensor expected =
        add(matmul(x, reshape(transpose(w, 1, 2), {2, 1, 9, 11})), reshape(b, {2, 1, 1, 11}));
    expect_same(affine(x, w, b), expected, 1e-13);
    expect_same(affine(x, w), sub(expected, reshape(b, {2, 1, 1, 11})), 1e-13);
  }
}

TEST_F(Affine, Gradients) {
  const auto fn = [](const List& x) { return List{affine(x[0], x[1], x[2])}; };
  const Tensor x = random({2, 3, 4}), w = random({2, 5, 4}), b = random({2, 5});
  expect_gradient(fn, {x, w, b});
  expect_second_gradient(fn, {x, w, b});
  expect_gradient([](const List& v) { return List{affine(v[0], v[1])}; },
                  {random({1, 13, 3}), random({1, 2, 3})});
}

TEST_F(Affine, ParametersSharedByShards) {
  // A weight with stride 0 along L has one gradient slice for each shard.
  const Tensor x = random({3, 4, 2}), w = variable(random({1, 5, 2}));
  const Tensor shared = expand(w, {3, 5, 2});
  const auto whole = grad({sum(square(affine(x, shared)))}, {}, {w})[0];
  Tensor total = Tensor::zeros({1, 5, 2}, DType::f64);
  for (std::int64_t l = 0; l < 3; ++l)
    total = add(total, grad({sum(square(affine(slice(x, 0, l, l + 1), w)))}, {}, {w})[0]);
  expect_same(whole, total, 1e-13);
}

TEST_F(Affine, EmptyBatch) {
  const Tensor x = variable(random({2, 0, 4})), w = variable(random({2, 5, 4})), b = variable(random({2, 5}));
  const Tensor y = affine(x, w, b);
  EXPECT_EQ(y.shape(), (Shape{2, 0, 5}));
  for (const Tensor& g : grad({sum(y)}, {}, {w, b}))
    for (const double value : g.to_vector()) EXPECT_EQ(value, 0);
}

TEST_F(Affine, EmbeddingAndItsAdjoint) {
  const Tensor tokens = tokens_of({2, 0, 2, 3, 1, 1}, {2, 3});
  const Tensor table = random({2, 4, 2});
  const Tensor y = embedding(table, tokens);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 2}));
  const auto rows = y.to_vector(), values = table.to_vector();
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t d = 0; d < 2; ++d) {
      const std::size_t token = static_cast<std::size_t>(host_read<std::int32_t>(tokens)[i]);
      EXPECT_EQ(rows[2 * i + d], values[((i / 3) * 4 + token) * 2 + d]);
    }
  expect_gradient([&](const List& x) { return List{embedding(x[0], tokens)}; }, {table});
  expect_gradient([&](const List& x) { return List{sum_by_token(x[0], tokens, 4)}; }, {random({2, 3, 2})});
  expect_second_gradient([&](const List& x) { return List{square(embedding(x[0], tokens))}; }, {table});
  EXPECT_THROW(embedding(table, tokens_of({0, 4, 0, 0, 0, 0}, {2, 3})), InputError);
  EXPECT_THROW(embedding(table, tokens_of({0, -1, 0, 0, 0, 0}, {2, 3})), InputError);
}

}  // namespace
}  // namespace rankine
