#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;

class Ops : public ::testing::Test {
 protected:
  std::mt19937 rng{3};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

TEST_F(Ops, PointwiseGradients) {
  const Tensor a = random({3, 4}), b = random({4}, 0.5, 2), c = random({3, 1}, 0.5, 2);
  expect_gradient([](const List& x) { return List{add(x[0], x[1]), sub(x[0], x[2])}; }, {a, b, c});
  expect_gradient([](const List& x) { return List{mul(x[0], x[1]), div(x[0], x[2])}; }, {a, b, c});
  expect_gradient([](const List& x) { return List{neg(scale(add_scalar(x[0], 2), 3)), square(x[0])}; }, {a});
  expect_gradient([](const List& x) { return List{exp(x[0]), log(x[0]), sqrt(x[0])}; }, {b});
  expect_gradient([](const List& x) { return List{tanh(x[0]), gelu(x[0])}; }, {random({7, 11}, -3, 3)});
}

TEST_F(Ops, PointwiseSecondGradients) {
  const Tensor a = random({3, 4}), b = random({4}, 0.5, 2);
  expect_second_gradient([](const List& x) { return List{mul(x[0], x[1]), div(x[0], x[1])}; }, {a, b}, 1e-7);
  expect_second_gradient([](const List& x) { return List{exp(x[0]), log(x[0]), sqrt(x[0])}; }, {b}, 1e-7);
  expect_second_gradient(
      [](const List& x) {
        return List{tanh(x[0]), gelu(x[0])};
      },
      {random({70}, -3, 3)}, 1e-7);
}

TEST_F(Ops, ThirdDerivativeOfGelu) {
  expect_second_gradient(
      [](const List& x) {
        const Tensor y = sum(gelu(x[0]));
        return grad({y}, {}, {x[0]}, {.create_graph = true});
      },
      {random({5}, -2, 2)}, 1e-6);
}

TEST_F(Ops, PolynomialsMatchTheLibrary) {
  std::vector<double> points;
  for (int i = -6000; i <= 6000; ++i) points.push_back(i * 1e-3 + 1e-5);
  const Tensor x = Tensor::from(points, {static_cast<std::int64_t>(points.size())});
  const auto e = exp(x).to_vector(), t = tanh(x).to_vector(), g = gelu(x).to_vector();
  const auto ef = exp(cast(x, DType::f32)).to_vector(), gf = gelu(cast(x, DType::f32)).to_vector();
  const double eps = 2.2e-16, epsf = 1.2e-7;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double p = points[i];
    const double reference = 0.5 * p * (1 + std::tanh(0.7978845608028654 * (p + 0.044715 * p * p * p)));
    ASSERT_NEAR(e[i], std::exp(p), 2 * eps * std::exp(p)) << p;
    ASSERT_NEAR(t[i], std::tanh(p), 4 * eps * std::abs(std::tanh(p))) << p;
    ASSERT_NEAR(g[i], reference, 8 * eps * std::abs(reference) + eps * std::abs(p)) << p;
    const double pf = static_cast<float>(p);
    ASSERT_NEAR(ef[i], std::exp(pf), 2 * epsf * std::exp(pf)) << p;
    ASSERT_NEAR(gf[i], reference, 4 * epsf * std::abs(reference) + epsf) << p;
  }
}

TEST_F(Ops, AnElementsBitsDoNotDependOnItsPlace) {
  const Tensor x = random({257}, -5, 5);
  const auto whole = gelu(x).to_vector();
  for (const std::int64_t begin : {1, 63, 64, 200}) {
    const auto part = gelu(slice(x, 0, begin, 257)).to_vector();
    for (std::size_t i = 0; i < part.size(); ++i)
      ASSERT_EQ(part[i], whole[i + static_cast<std::size_t>(begin)]);
  }
}

TEST_F(Ops, ReductionsAndShapes) {
  const Tensor a = random({2, 3, 4});
  expect_gradient(
      [](const List& x) {
        return List{sum(x[0]), mean(x[0], {1}), sum(x[0], {0, 2}, true)};
      },
      {a});
  expect_gradient([](const List& x) { return List{reshape(permute(x[0], {2, 0, 1}), {4, -1})}; }, {a});
  expect_gradient([](const List& x) { return List{slice(x[0], 2, 0, 4, 2), place(x[0], 1, 7, 1, 2)}; }, {a});
  expect_gradient([](const List& x) { return List{concat({x[0], scale(x[0], 2)}, 1)}; }, {a});
  expect_gradient(
      [](const List& x) {
        return List{expand(x[0], {5, 3, 4}), sum_to(x[1], {3, 1})};
      },
      {random({3, 1}), random({2, 3, 4})});
  const Tensor index = Tensor::from(std::vector<std::int64_t>{2, 0, 2}, {3});
  expect_gradient(
      [&](const List& x) {
        return List{gather(x[0], 1, index), scatter_add(x[0], 1, index, 5)};
      },
      {a});
  const Tensor condition = Tensor::from(std::vector<std::uint8_t>{1, 0, 1, 0}, {4});
  const Tensor flags = cast(condition, DType::boolean);
  expect_gradient([&](const List& x) { return List{select(flags, x[0], x[1])}; }, {random({4}), random({4})});
  EXPECT_EQ(sum(Tensor::zeros({3, 0}, DType::f64), {1}).to_vector(), std::vector<double>(3, 0.0));
}

TEST_F(Ops, SumsAreTreesOfTheShapeAlone) {
  // 2^24 + 1 is no float: a running sum of 2^25 ones stops there, a tree does not.
  const Tensor ones = Tensor::full({1 << 25}, DType::f32, 1);
  EXPECT_EQ(sum(ones).item(), double(1 << 25));
  const Tensor a = random({1000, 3});
  const auto rows = sum(a, {0}).to_vector();
  const auto columns = sum(contiguous(transpose(a, 0, 1)), {1}).to_vector();
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(rows[i], columns[i], 1e-12);
}

TEST_F(Ops, MatmulOfAllViews) {
  for (const auto& [m, n, k] : {std::array{1, 1, 1}, {3, 5, 7}, {24, 33, 18}, {70, 9, 66}}) {
    const Tensor a = random({m, k}), b = random({k, n});
    const auto pa = a.to_vector(), pb = b.to_vector();
    const Tensor at = contiguous(transpose(a, 0, 1)), bt = contiguous(transpose(b, 0, 1));
    for (const Tensor& y : {matmul(a, b), matmul(transpose(at, 0, 1), b), matmul(a, transpose(bt, 0, 1))}) {
      const auto found = y.to_vector();
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          double expected = 0;
          for (int p = 0; p < k; ++p) expected += pa[i * k + p] * pb[p * n + j];
          ASSERT_NEAR(found[i * n + j], expected, 1e-14 * k) << m << " x " << n << " x " << k;
        }
    }
  }
  expect_gradient([](const List& x) { return List{matmul(x[0], x[1])}; },
                  {random({2, 3, 4}), random({4, 5})});
  expect_second_gradient([](const List& x) { return List{matmul(x[0], x[1])}; },
                         {random({3, 4}), random({4, 2})});
}

TEST_F(Ops, ComplexGradientsAreConjugate) {
  using C = std::complex<double>;
  const Tensor a = variable(Tensor::from(std::vector<C>{{1, 2}, {-1, 0.5}}, {2}));
  const Tensor b = variable(Tensor::from(std::vector<C>{{0.5, -3}, {2, 1}}, {2}));
  // L = sum Re(conj(s) a b) for a seed s: dL/da = s conj(b).
  const std::vector<C> s{{1, -1}, {0.25, 2}};
  const auto g = grad({mul(a, b)}, {Tensor::from(s, {2})}, {a, b});
  for (int i = 0; i < 2; ++i) {
    EXPECT_LT(std::abs(host_read<C>(g[0])[i] - s[i] * std::conj(host_read<C>(b)[i])), 1e-15);
    EXPECT_LT(std::abs(host_read<C>(g[1])[i] - s[i] * std::conj(host_read<C>(a)[i])), 1e-15);
  }
}

TEST_F(Ops, CastsBothWays) {
  const Tensor x = variable(random({5}));
  const Tensor g = grad({sum(cast(cast(x, DType::f32), DType::f64))}, {}, {x})[0];
  EXPECT_EQ(g.dtype(), DType::f64);
  EXPECT_EQ(g.to_vector(), std::vector<double>(5, 1.0));
  EXPECT_EQ(cast(random({4}, 3.5, 3.6), DType::i32).to_vector(), std::vector<double>(4, 3.0));
}

}  // namespace
}  // namespace rankine
