// Abilities that families of methods rest on: higher derivatives, per-example derivatives, divergences.
#include "src/nn/affine.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;

class Derivatives : public ::testing::Test {
 protected:
  std::mt19937 rng{21};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

Tensor softplus(const Tensor& x) { return log(add_scalar(exp(x), 1)); }

Tensor on_tape(const Tensor& x) { return x.on_tape() ? identity(x) : variable(x); }

// Input-convex network [n, 2] to [n]: nonnegative weights between layers, softplus between them.
Tensor convex_net(const List& w, const Tensor& x) {
  const Tensor first = softplus(add(matmul(x, w[0]), w[1]));                          // [n, 4]
  const Tensor second = softplus(add(matmul(first, square(w[2])), matmul(x, w[3])));  // [n, 3]
  return add(sum(second, {1}), scale(sum(square(x), {1}), 0.05));
}

TEST_F(Derivatives, DoubleBackwardThroughAnInputConvexNet) {
  const List weights{random({2, 4}), random({4}), random({4, 3}), random({2, 3})};
  const Tensor points = random({5, 2}, -2, 2), wanted = random({5, 2});
  // What learned proximal operators and convex potentials train: the gradient map.
  const auto loss = [&](const List& w) {
    const WithTape on;
    const Tensor x = variable(points);
    List here;
    for (const Tensor& t : w) here.push_back(on_tape(t));
    const Tensor map = grad({sum(convex_net(here, x))}, {}, {x}, {.create_graph = true})[0];
    return List{mean(square(sub(map, wanted)))};
  };
  expect_gradient(loss, weights, 1e-7);
  // Convex: second differences along any line are positive.
  const Tensor direction = random({5, 2});
  const auto value = [&](double t) { return convex_net(weights, add(points, scale(direction, t))); };
  const Tensor bend = sub(add(value(0.3), value(-0.3)), scale(value(0), 2));
  for (const double b : bend.to_vector()) EXPECT_GT(b, 0);
}

TEST_F(Derivatives, EikonalLoss) {
  const List weights{random({2, 6}), random({6}), random({6, 1})};
  const Tensor points = random({7, 2});
  const auto loss = [&](const List& w) {
    const WithTape on;
    const Tensor x = variable(points);
    const Tensor u = matmul(tanh(add(matmul(x, on_tape(w[0])), on_tape(w[1]))), on_tape(w[2]));
    const Tensor slope = grad({sum(u)}, {}, {x}, {.create_graph = true})[0];
    return List{mean(square(add_scalar(sqrt(sum(square(slope), {1})), -1)))};
  };
  expect_gradient(loss, weights, 1e-7);
}

Tensor small_loss(const Tensor& flat, const Tensor& x, const Tensor& y) {  // 2-5-1 perceptron
  const Tensor w1 = reshape(slice(flat, 0, 0, 10), {2, 5}), b = slice(flat, 0, 10, 15),
               w2 = reshape(slice(flat, 0, 15, 20), {5, 1});
  return mean(square(sub(matmul(gelu(add(matmul(x, w1), b)), w2), y)));
}

TEST_F(Derivatives, HessianVectorProduct) {
  const Tensor at = random({20}), v = random({20}), x = random({8, 2}), y = random({8, 1});
  const auto gradient = [&](const Tensor& where) {
    const Tensor p = variable(where);
    return grad({small_loss(p, x, y)}, {}, {p})[0];
  };
  const Tensor p = variable(at);
  const Tensor g = grad({small_loss(p, x, y)}, {}, {p}, {.create_graph = true})[0];
  const auto exact = grad({dot(g, v)}, {}, {p})[0].to_vector();
  const double h = 1e-5;
  const auto difference =
      scale(sub(gradient(add(at, scale(v, h))), gradient(add(at, scale(v, -h)))), 0.5 / h).to_vector();
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(exact[i], difference[i], 1e-8);
  // The same as the derivative of the gradient along v.
  const JvpResult forward = jvp(
      [&](const List& in) { return grad({small_loss(in[0], x, y)}, {}, {in[0]}, {.create_graph = true}); },
      {at}, {v});
  const auto along = forward.tangents[0].to_vector();
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(along[i], exact[i], 1e-13);
}

// Examples as shards: a parameter [L, shape] has one gradient slice for each, so a batch gives all rows of
// the Jacobian at once.
TEST_F(Derivatives, PerExampleJacobianGramMatrix) {
  const std::int64_t n = 6;
  const Tensor x = random({n, 1, 3}), w1 = random({4, 3}), b1 = random({4}), w2 = random({1, 4});
  const auto net = [](const List& p, const Tensor& in) { return affine(tanh(affine(in, p[0], p[1])), p[2]); };
  List shared;
  for (const Tensor& p : {w1, b1, w2}) {
    Shape shape = p.shape();
    shape.insert(0, n);
    shared.push_back(variable(expand(p, shape)));
  }
  List rows;
  for (const Tensor& g : grad({sum(net(shared, x))}, {}, shared)) rows.push_back(reshape(g, {n, -1}));
  const Tensor jacobian = concat(rows, 1);
  const auto gram = matmul(jacobian, transpose(jacobian, 0, 1)).to_vector();

  std::vector<std::vector<double>> one_by_one;
  for (std::int64_t i = 0; i < n; ++i) {
    List single;
    for (const Tensor& p : {w1, b1, w2}) {
      Shape shape = p.shape();
      shape.insert(0, 1);
      single.push_back(variable(reshape(p, shape)));
    }
    std::vector<double> row;
    for (const Tensor& g : grad({net(single, slice(x, 0, i, i + 1))}, {}, single))
      for (const double value : g.to_vector()) row.push_back(value);
    one_by_one.push_back(row);
  }
  for (std::size_t i = 0; i < one_by_one.size(); ++i)
    for (std::size_t j = 0; j < one_by_one.size(); ++j) {
      double inner = 0;
      for (std::size_t k = 0; k < one_by_one[i].size(); ++k) inner += one_by_one[i][k] * one_by_one[j][k];
      EXPECT_NEAR(gram[i * one_by_one.size() + j], inner, 1e-13);
    }
}

TEST_F(Derivatives, DivergenceExactAndByRandomProbes) {
  const Tensor w1 = random({3, 8}), w2 = random({8, 3}), at = random({4, 3});
  const auto field = [&](const Tensor& x) { return matmul(tanh(matmul(x, w1)), w2); };
  const auto probe = [&](const std::vector<double>& e) {  // e^T J e at each point
    const Tensor x = variable(at), v = expand(Tensor::from(e, {1, 3}), {4, 3});
    return sum(mul(grad({field(x)}, {v}, {x})[0], v), {1});
  };
  Tensor exact = Tensor::zeros({4}, DType::f64);
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<double> unit(3, 0);
    unit[i] = 1;
    exact = add(exact, probe(unit));
  }
  // The closed form: sum_jk w1[i, k] (1 - tanh^2)_k w2[k, i].
  const Tensor t = tanh(matmul(at, w1));
  const Tensor weight = sum(mul(w1, transpose(w2, 0, 1)), {0});
  const auto closed = sum(mul(add_scalar(neg(square(t)), 1), weight), {1}).to_vector();
  // Signs at random estimate the trace; their mean over all eight patterns is the trace itself.
  Tensor all = Tensor::zeros({4}, DType::f64);
  for (int pattern = 0; pattern < 8; ++pattern)
    all =
        add(all, scale(probe({pattern & 1 ? 1.0 : -1.0, pattern & 2 ? 1.0 : -1.0, pattern & 4 ? 1.0 : -1.0}),
                       1.0 / 8));
  const auto one = probe({1, -1, 1}).to_vector(), mean_of_all = all.to_vector(), found = exact.to_vector();
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(found[i], closed[i], 1e-14);
    EXPECT_NEAR(mean_of_all[i], found[i], 1e-14);
    EXPECT_GT(std::abs(one[i] - found[i]), 1e-6);
  }
}

}  // namespace
}  // namespace rankine
