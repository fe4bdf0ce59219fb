// Abilities that families of methods rest on: graphs, ragged batches, complex recurrences, solves inside a
// network.
#include <complex>

#include "src/nn/csr.hpp"
#include "src/nn/softmax.hpp"
#include "src/tensor/complex_ops.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/implicit.hpp"
#include "src/tensor/ragged.hpp"
#include "src/tensor/scan.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using List = std::vector<Tensor>;

class Structures : public ::testing::Test {
 protected:
  std::mt19937 rng{23};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

TEST_F(Structures, SparseProductWithAGradientToAnEdgeMask) {
  const Graph graph = normalised_graph(5, {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {0, 4}}, DType::f64);
  const Tensor x = random({5, 3}), w1 = random({3, 4}), w2 = random({4, 2});
  // Two graph convolutions share one learned mask, a logistic function of scores for the edges.
  const auto net = [&](const List& in) {
    const Tensor mask = scale(add_scalar(tanh(in[0]), 1), 0.5);
    const Tensor edges = mul(graph.weights, mask);
    const Tensor hidden = tanh(spmm(graph.pattern, edges, matmul(x, w1)));
    return List{spmm(graph.pattern, edges, matmul(hidden, w2))};
  };
  expect_gradient(net, {random({graph.pattern->entries()})});
  // An edge whose mask is 0 is the same as none.
  const Graph fewer = normalised_graph(5, {{0, 1}, {1, 2}, {2, 3}, {3, 4}}, DType::f64);
  Tensor ones = Tensor::full({graph.pattern->entries()}, DType::f64, 1);
  Tensor degrees_kept = Tensor::full({fewer.pattern->entries()}, DType::f64, 0);
  std::size_t kept = 0;
  for (std::int64_t i = 0; i < 5; ++i)
    for (std::int64_t e = graph.pattern->offsets[static_cast<std::size_t>(i)];
         e < graph.pattern->offsets[static_cast<std::size_t>(i) + 1]; ++e) {
      const std::int64_t j = graph.pattern->columns[static_cast<std::size_t>(e)];
      if ((i == 0 && j == 4) || (i == 4 && j == 0)) {
        host_update<double>(ones)[e] = 0;
      } else {
        host_update<double>(degrees_kept)[kept++] = host_read<double>(graph.weights)[e];
      }
    }
  expect_same(spmm(graph.pattern, mul(graph.weights, ones), x), spmm(fewer.pattern, degrees_kept, x), 1e-15);
}

TEST_F(Structures, ComplexScanEqualsItsFourierForm) {
  const std::int64_t steps = 12, width = 3;
  const Tensor decay = random({1, width}, 0.2, 1.0), angle = random({1, width}, -2, 2),
               input = random({steps, width});
  const auto factor = [](const List& in) {  // exp(-decay + i angle)
    return complex_exp(complex_of(neg(in[0]), in[1]));
  };
  const auto complex_input = [&](const Tensor& b) {
    return complex_of(b, Tensor::zeros(b.shape(), DType::f64));
  };
  const auto by_scan = [&](const List& in) {
    const Tensor h = diagonal_scan(factor(in), complex_input(in[2]), 0);
    return List{real_part(h), imaginary_part(h)};
  };
  // h is the convolution of b with the powers of a: a product of transforms of twice the length.
  const auto by_fft = [&](const List& in) {
    List powers;
    Tensor power = Tensor::full({1, width}, DType::c128, 1);
    const Tensor a = factor(in);
    for (std::int64_t t = 0; t < steps; ++t) {
      powers.push_back(power);
      power = mul(power, a);
    }
    const Tensor kernel = fft(place(concat(powers, 0), 0, 2 * steps, 0), 0);
    const Tensor b = fft(place(complex_input(in[2]), 0, 2 * steps, 0), 0);
    const Tensor h = slice(inverse_fft(mul(kernel, b), 0), 0, 0, steps);
    return List{real_part(h), imaginary_part(h)};
  };
  const List seeds{random({steps, width}), random({steps, width})};
  List at{variable(decay), variable(angle), variable(input)};
  const List a = by_scan(at), b = by_fft(at);
  for (std::size_t i = 0; i < 2; ++i) expect_same(a[i], b[i], 1e-13);
  const List ga = grad(a, seeds, at), gb = grad(b, seeds, at);
  for (std::size_t i = 0; i < 3; ++i) expect_same(ga[i], gb[i], 1e-12);
  expect_gradient(by_scan, {decay, angle, input});
}

TEST_F(Structures, SoftmaxOverRaggedLengths) {
  const std::vector<std::int64_t> lengths{3, 1, 0, 5, 2};
  Offsets offsets{0};
  for (const std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  const Tensor x = variable(random({offsets.back()}, -3, 3)), seed = random({offsets.back()});
  List parts;
  for (std::size_t s = 0; s < lengths.size(); ++s)
    if (lengths[s] > 0) parts.push_back(softmax(slice(x, 0, offsets[s], offsets[s + 1])));
  const Tensor one_by_one = concat(parts, 0), together = segment_softmax(x, 0, offsets);
  expect_same(together, one_by_one, 1e-15);
  expect_same(grad({together}, {seed}, {x})[0], grad({one_by_one}, {seed}, {x})[0], 1e-15);
  const auto totals = segment_sum(together, 0, offsets).to_vector();
  for (std::size_t s = 0; s < lengths.size(); ++s) EXPECT_NEAR(totals[s], lengths[s] > 0 ? 1 : 0, 1e-15);
}

// A x = b for three unknowns by Gauss' method, values only.
Tensor solve_3x3(const Tensor& matrix, const Tensor& rhs) {
  auto a = matrix.to_vector(), b = rhs.to_vector();
  for (std::size_t k = 0; k < 3; ++k)
    for (std::size_t i = k + 1; i < 3; ++i) {
      const double factor = a[3 * i + k] / a[3 * k + k];
      for (std::size_t j = k; j < 3; ++j) a[3 * i + j] -= factor * a[3 * k + j];
      b[i] -= factor * b[k];
    }
  for (std::size_t i = 3; i-- > 0;) {
    for (std::size_t j = i + 1; j < 3; ++j) b[i] -= a[3 * i + j] * b[j];
    b[i] /= a[3 * i + i];
  }
  return Tensor::from(b, {3});
}

// The same by Cramer's rule, in ops.
Tensor cramer(const Tensor& a, const Tensor& b) {
  const auto row = [](const Tensor& m, int i) { return reshape(slice(m, 0, i, i + 1), {3}); };
  const auto cross = [](const Tensor& u, const Tensor& v) {
    const auto roll = [](const Tensor& x, int by) {
      return concat({slice(x, 0, by, 3), slice(x, 0, 0, by)}, 0);
    };
    return sub(mul(roll(u, 1), roll(v, 2)), mul(roll(u, 2), roll(v, 1)));
  };
  const Tensor columns = transpose(a, 0, 1);
  const Tensor u = row(columns, 0), v = row(columns, 1), w = row(columns, 2);
  const Tensor determinant = sum(mul(u, cross(v, w)));
  const auto over = [&](const Tensor& value) { return reshape(div(value, determinant), {1}); };
  return concat(
      {over(sum(mul(b, cross(v, w)))), over(sum(mul(u, cross(b, w)))), over(sum(mul(u, cross(v, b))))}, 0);
}

TEST_F(Structures, LinearSolveInsideANetwork) {
  const Tensor matrix =
                   add(random({3, 3}), Tensor::from(std::vector<double>{3, 0, 0, 0, 3, 0, 0, 0, 3}, {3, 3})),
               rhs = random({3});
  const auto solved = [](const List& in) {
    return List{implicit([](const List& p) { return solve_3x3(p[0], p[1]); },
                         [](const Tensor& x, const List& p) {
                           return sub(reshape(matmul(p[0], reshape(x, {3, 1})), {3}), p[1]);
                         },
                         in)};
  };
  // In the middle of a net: the equations depend on what comes before, the loss on what comes after.
  const auto net = [](const auto& solver) {
    return [&solver](const List& in) {
      const Tensor x = solver({add(in[0], scale(square(in[0]), 0.1)), tanh(in[1])})[0];
      return List{sum(exp(x))};
    };
  };
  const auto closed = [](const List& in) { return List{cramer(in[0], in[1])}; };
  const List at{variable(matrix), variable(rhs)};
  const Tensor a = net(solved)(at)[0], b = net(closed)(at)[0];
  EXPECT_NEAR(a.item(), b.item(), 1e-13);
  const List ga = grad({a}, {}, at, {.create_graph = true}), gb = grad({b}, {}, at, {.create_graph = true});
  for (std::size_t i = 0; i < 2; ++i) expect_same(ga[i], gb[i], 1e-12);
  const List seeds{random({3, 3}), random({3})};
  const List ha = grad(ga, seeds, at), hb = grad(gb, seeds, at);
  for (std::size_t i = 0; i < 2; ++i) expect_same(ha[i], hb[i], 1e-11);
  expect_gradient(net(solved), {matrix, rhs});
}

TEST_F(Structures, NonlinearSolvesSideBySide) {
  // x^3 + a x = b for each unknown, by Newton's method.
  const Tensor a = random({4, 3}, 1, 2), b = random({4, 3});
  const ImplicitResidual residual = [](const Tensor& x, const List& p) {
    return sub(add(mul(square(x), x), mul(p[0], x)), p[1]);
  };
  const auto solved = [&](const List& in) {
    return List{implicit(
        [](const List& p) {
          Tensor x = Tensor::zeros(p[0].shape(), DType::f64);
          for (int i = 0; i < 60; ++i)
            x = sub(x, div(sub(add(mul(square(x), x), mul(p[0], x)), p[1]), add(scale(square(x), 3), p[0])));
          return x;
        },
        residual, in, {.independent_axes = 1})};
  };
  expect_gradient(solved, {a, b});
  expect_second_gradient(solved, {a, b}, 1e-6);
  // dx/db = 1 / (3 x^2 + a).
  const Tensor at = variable(b);
  const Tensor x = solved({a, at})[0];
  const Tensor slope = grad({sum(x)}, {}, {at})[0];
  const Tensor one = Tensor::full(a.shape(), DType::f64, 1);
  expect_same(slope, div(one, add(scale(square(x.detach()), 3), a)), 1e-12);
  // A system's bits do not depend on its neighbours.
  const Tensor alone_b = variable(slice(b, 0, 2, 3).clone());
  const Tensor alone = grad({sum(solved({slice(a, 0, 2, 3).clone(), alone_b})[0])}, {}, {alone_b})[0];
  EXPECT_EQ(alone.to_vector(), slice(slope, 0, 2, 3).to_vector());
}

TEST_F(Structures, SingularEquationsAreReported) {
  const Tensor a = variable(Tensor::zeros({2}, DType::f64));
  const Tensor x = implicit([](const List& p) { return p[0].clone(); },
                            [](const Tensor& y, const List& p) { return sub(scale(y, 0), p[0]); }, {a});
  EXPECT_THROW(grad({sum(x)}, {}, {a}), NumericalError);
}

}  // namespace
}  // namespace rankine
