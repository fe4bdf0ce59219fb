#include "src/nn/recurrent.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using List = std::vector<Tensor>;

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

class Cells : public ::testing::TestWithParam<Cell> {
 protected:
  std::mt19937 rng{6};
  std::int64_t gates() const { return kernels::gates_of(GetParam()); }
  // x, weight, candidate bias, h0, c0
  List inputs(std::int64_t shards, std::int64_t samples, std::int64_t steps, std::int64_t n) {
    const Cell cell = GetParam();
    return {random_tensor({shards, samples, steps, gates() * n}, rng),
            random_tensor({shards, gates() * n, n}, rng),
            cell == Cell::gru ? random_tensor({shards, n}, rng) : Tensor(),
            random_tensor({shards, samples, n}, rng),
            cell == Cell::lstm ? random_tensor({shards, samples, n}, rng) : Tensor()};
  }
  List run(const List& in) const {
    const RecurrentResult result = recurrent(GetParam(), in[0], in[1], in[2], in[3], in[4]);
    return result.last_cell.defined() ? List{result.hidden, result.last_cell} : List{result.hidden};
  }
  // Only the inputs that the cell has.
  Function function(const List& all) const {
    return [this, all](const List& some) {
      List in = all;
      std::size_t next = 0;
      for (Tensor& x : in)
        if (x.defined()) x = some[next++];
      return run(in);
    };
  }
  static List present(const List& all) {
    List some;
    for (const Tensor& x : all)
      if (x.defined()) some.push_back(x);
    return some;
  }
};

TEST_P(Cells, EqualTheEquations) {
  const Cell cell = GetParam();
  const std::int64_t n = 3, steps = 4;
  const List in = inputs(1, 1, steps, n);
  const auto x = in[0].to_vector(), w = in[1].to_vector();
  std::vector<double> h = in[3].to_vector(), c(3), b(3), expected;
  if (in[4].defined()) c = in[4].to_vector();
  if (in[2].defined()) b = in[2].to_vector();
  for (std::int64_t t = 0; t < steps; ++t) {
    const auto row = [&](std::int64_t gate, std::int64_t i) {  // (W h)_i of a gate
      double sum = 0;
      for (std::int64_t j = 0; j < n; ++j)
        sum += w[static_cast<std::size_t>((gate * n + i) * n + j)] * h[static_cast<std::size_t>(j)];
      return sum;
    };
    const auto from = [&](std::int64_t gate, std::int64_t i) {
      return x[static_cast<std::size_t>((t * gates() + gate) * n + i)];
    };
    std::vector<double> next(3);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (cell == Cell::rnn) {
        next[k] = std::tanh(from(0, i) + row(0, i));
      } else if (cell == Cell::lstm) {
        c[k] = logistic(from(1, i) + row(1, i)) * c[k] +
               logistic(from(0, i) + row(0, i)) * std::tanh(from(2, i) + row(2, i));
        next[k] = logistic(from(3, i) + row(3, i)) * std::tanh(c[k]);
      } else {
        const double r = logistic(from(0, i) + row(0, i)), z = logistic(from(1, i) + row(1, i));
        next[k] = (1 - z) * std::tanh(from(2, i) + r * (row(2, i) + b[k])) + z * h[k];
      }
    }
    h = next;
    expected.insert(expected.end(), h.begin(), h.end());
  }
  const List out = run(in);
  expect_same(out[0], Tensor::from(expected, {1, 1, steps, n}), 1e-14);
  if (cell == Cell::lstm) expect_same(out[1], Tensor::from(c, {1, 1, n}), 1e-14);
}

TEST_P(Cells, Gradients) {
  const List in = inputs(2, 3, 4, 2);
  expect_gradient(function(in), present(in));
  const List one = inputs(1, 2, 1, 3);
  expect_gradient(function(one), present(one));
}

TEST_P(Cells, SecondGradients) {
  const List in = inputs(1, 1, 2, 2);
  expect_second_gradient(function(in), present(in), 1e-6);
}

TEST_P(Cells, PathInOpsEqualsTheFusedOne) {
  List in = inputs(2, 3, 5, 9), live;
  for (Tensor& x : in)
    if (x.defined()) live.push_back(x = variable(x));
  const List out = run(in);
  List seeds;
  for (const Tensor& y : out) seeds.push_back(random_tensor(y.shape(), rng));
  const List fused = grad(out, seeds, live, {.retain = true}),
             composed = grad(out, seeds, live, {.create_graph = true});
  for (std::size_t i = 0; i < live.size(); ++i) expect_same(fused[i], composed[i], 1e-12);
}

INSTANTIATE_TEST_SUITE_P(All, Cells, ::testing::Values(Cell::rnn, Cell::lstm, Cell::gru));

class RecurrentLayers : public ::testing::TestWithParam<const char*> {
 protected:
  std::string blocks(const char* options) const {
    return std::string("[{name: ") + GetParam() + ", units: 3" + options + "}]";
  }
};

TEST_P(RecurrentLayers, Gradient) {
  std::mt19937 rng(2);
  const Tensor x = random_tensor({2, 2, 3, 4}, rng);
  expect_network_gradient(network_of(blocks(""), {3, 4}), x);
  const Network last = network_of(blocks(", outputs: last, bias: false"), {3, 4});
  EXPECT_EQ(last.output(), Shape{3});
  expect_network_gradient(last, x);
}

TEST_P(RecurrentLayers, PiecesWithCarriedStateEqualTheWhole) {
  std::mt19937 rng(2);
  const Tensor x = random_tensor({1, 2, 6, 4}, rng);
  const Network network = network_of(blocks(""), {6, 4});
  const ParameterSet set = moved_parameters(network);
  const Tensor flat = variable(set.flat()), seed = random_tensor({1, 2, 6, 3}, rng);
  const Tensor whole = evaluate(network, set, flat, x, {})[0];
  CarriedState state;
  List parts;
  for (std::int64_t t = 0; t < 6; t += 2)
    parts.push_back(evaluate(network, set, flat, slice(x, 2, t, t + 2), {.position = t, .state = &state})[0]);
  const Tensor joined = concat(parts, 2);
  expect_same(joined, whole, 1e-14);
  // The state is on the tape, so the gradient goes through it.
  expect_same(grad({joined}, {seed}, {flat})[0], grad({whole}, {seed}, {flat})[0], 1e-12);
}

INSTANTIATE_TEST_SUITE_P(All, RecurrentLayers, ::testing::Values("rnn", "lstm", "gru"));

}  // namespace
}  // namespace rankine
