#include <gmock/gmock.h>

#include "src/nn/csr.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using List = std::vector<Tensor>;

// 4 x 3 with an empty row.
SharedPattern some_pattern() { return make_pattern(4, 3, {{3, 2}, {0, 0}, {0, 2}, {1, 1}, {3, 0}, {0, 0}}); }

// The same with as many rows for each.
SharedPattern in_blocks(std::int64_t outputs) {
  return make_pattern(4, 3, {{3, 2}, {0, 0}, {0, 2}, {1, 1}, {3, 0}}, outputs);
}

Tensor dense_matrix(const CsrPattern& p, const Tensor& values) {
  Tensor y = Tensor::zeros({p.all_rows(), p.columns_count}, DType::f64);
  for (std::int64_t i = 0; i < p.all_rows(); ++i)
    for (std::int64_t e = p.offsets[static_cast<std::size_t>(i / p.outputs)];
         e < p.offsets[static_cast<std::size_t>(i / p.outputs) + 1]; ++e)
      host_update<double>(y)[i * p.columns_count + p.columns[static_cast<std::size_t>(e)]] =
          host_read<double>(values)[e * p.outputs + i % p.outputs];
  return y;
}

class SparseProduct : public ::testing::Test {
 protected:
  std::mt19937 rng{3};
  Tensor random(const Shape& shape) { return random_tensor(shape, rng); }
};

TEST_F(SparseProduct, EqualsTheDenseOne) {
  const SharedPattern p = some_pattern();
  ASSERT_EQ(p->entries(), 5);
  const Tensor values = random({5}), x = random({2, 3, 9}), z = random({2, 4, 9});
  const Tensor m = dense_matrix(*p, values);
  expect_same(spmm(p, values, x), matmul(m, x), 1e-15);
  expect_same(spmm(p, values, z, true), matmul(transpose(m, 0, 1), z), 1e-15);
  const Tensor all = matmul(z, transpose(x, 1, 2)), some = sampled_product(p, z, x);
  for (std::int64_t l = 0; l < 2; ++l)
    for (std::int64_t i = 0, e = 0; i < 4; ++i)
      for (; e < p->offsets[static_cast<std::size_t>(i) + 1]; ++e)
        EXPECT_NEAR(host_read<double>(some)[l * 5 + e],
                    host_read<double>(all)[(l * 4 + i) * 3 + p->columns[static_cast<std::size_t>(e)]], 1e-14);
}

TEST_F(SparseProduct, OfBlocksEqualsTheDenseOneWithItsGradients) {
  for (const std::int64_t outputs : {2, 3, 4, 8, 16}) {
    const SharedPattern p = in_blocks(outputs);
    const Tensor values = random({5 * outputs}), x = random({2, 3, 9}), z = random({2, 4 * outputs, 9});
    const Tensor m = dense_matrix(*p, values);
    expect_same(spmm(p, values, x), matmul(m, x), 1e-15);
    expect_same(spmm(p, values, z, true), matmul(transpose(m, 0, 1), z), 1e-14);
    // <z, W x> = <W^T z, x> = <values, sampled(z, x)>, summed over the leading index.
    const auto dot = [](const Tensor& a, const Tensor& b) { return sum(mul(a, b)).item(); };
    const double by_product = dot(z, spmm(p, values, x));
    EXPECT_NEAR(dot(spmm(p, values, z, true), x), by_product, 1e-12);
    EXPECT_NEAR(dot(sampled_product(p, z, x), values), by_product, 1e-12);
  }
  const SharedPattern p = in_blocks(2);
  expect_gradient([&](const List& x) { return List{spmm(p, x[0], x[1])}; },
                  {random({10}), random({2, 3, 2})});
  expect_gradient([&](const List& x) { return List{spmm(p, x[0], x[1], true)}; },
                  {random({2, 10}), random({2, 8, 2})});
  const auto with_bias = [&](const List& x) { return List{spmm(p, x[0], x[1], false, x[2])}; };
  expect_gradient(with_bias, {random({10}), random({2, 3, 2}), random({8})});
  expect_gradient(with_bias, {random({10}), random({2, 3, 2}), random({2, 8})});
  const Tensor values = random({10}), x = random({2, 3, 9}), bias = random({8});
  expect_same(spmm(p, values, x, false, bias), add(spmm(p, values, x), reshape(bias, {8, 1})), 1e-14);
}

TEST_F(SparseProduct, Gradients) {
  const SharedPattern p = some_pattern();
  for (const Shape& lead : {Shape{}, Shape{2}}) {
    Shape shape = lead;
    shape.push_back(5);
    expect_gradient([&](const List& x) { return List{spmm(p, x[0], x[1])}; },
                    {random(shape), random({2, 3, 2})});
    expect_gradient([&](const List& x) { return List{spmm(p, x[0], x[1], true)}; },
                    {random(shape), random({2, 4, 2})});
  }
  const auto product = [&](const List& x) { return List{spmm(p, x[0], x[1])}; };
  expect_second_gradient(product, {random({5}), random({3, 2})});
  expect_gradient([&](const List& x) { return List{sampled_product(p, x[0], x[1])}; },
                  {random({4, 2}), random({3, 2})});
  expect_gradient([&](const List& x) { return List{edge_softmax(p, x[0])}; }, {random({2, 5})});
}

TEST_F(SparseProduct, RefusesWhatIsOutside) {
  EXPECT_THROW(make_pattern(2, 2, {{0, 2}}), InputError);
  CsrPattern broken{2, 2, {0, 2, 1}, {0}};
  EXPECT_THROW(broken.check(), InputError);
}

TEST_F(SparseProduct, NormalisedGraph) {
  const Graph graph = normalised_graph(3, {{0, 1}, {1, 2}, {1, 0}, {2, 2}}, DType::f64);
  const double h = std::sqrt(1.0 / 6);
  expect_same(dense_matrix(*graph.pattern, graph.weights),
              Tensor::from(std::vector<double>{0.5, h, 0, h, 1.0 / 3, h, 0, h, 0.5}, {3, 3}), 1e-15);
}

class GraphLayers : public ::testing::TestWithParam<const char*> {};

TEST_P(GraphLayers, GradientToParametersFeaturesAndEdges) {
  std::mt19937 rng(5);
  const Network network = network_of(std::string("[{name: ") + GetParam() + "}]", {4, 3});
  const Graph graph = normalised_graph(4, {{0, 1}, {1, 2}, {2, 3}}, DType::f64);
  const ParameterSet set = moved_parameters(network);
  expect_gradient(
      [&](const List& in) {
        Pass pass;
        pass.graph = std::make_shared<const Graph>(Graph{graph.pattern, mul(graph.weights, in[2])});
        return evaluate(network, set, in[0], in[1], pass);
      },
      {set.flat(), random_tensor({2, 1, 4, 3}, rng), random_tensor({graph.pattern->entries()}, rng, 0.5, 1)},
      1e-7);
}

INSTANTIATE_TEST_SUITE_P(All, GraphLayers,
                         ::testing::Values("graph_conv, units: 2", "graph_conv, units: 5, bias: false",
                                           "graph_attention, units: 2, heads: 2"));

TEST(GraphLayer, NeedsItsGraph) {
  const Network network = network_of("[{name: graph_conv, units: 2}]", {4, 3});
  const ParameterSet set = network.initial_parameters(1);
  const auto message = [&](const Pass& pass) -> std::string {
    try {
      evaluate(network, set, set.flat(), Tensor::zeros({1, 1, 4, 3}, DType::f64), pass);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({}), HasSubstr("block0: there is no graph"));
  Pass other;
  other.graph = std::make_shared<const Graph>(normalised_graph(5, {}, DType::f64));
  EXPECT_THAT(message(other), HasSubstr("a graph of 5 nodes for samples of 4"));
  EXPECT_THAT(refusal_of("[{name: graph_conv, units: 2}]", {4}), HasSubstr("[nodes, F]"));
}

}  // namespace
}  // namespace rankine
