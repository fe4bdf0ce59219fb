// Each operation that has a portable body beside the host's tuned one, through the ops that use it.
#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/dispatch.hpp"
#include "src/nn/conv.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/norms.hpp"
#include "src/nn/pooling.hpp"
#include "src/nn/recurrent.hpp"
#include "src/nn/softmax.hpp"
#include "src/optim/flat_parts.hpp"
#include "tests/unit/nn/fno_support.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::random_tensor;
using List = std::vector<Tensor>;

class Dispatch : public ::testing::TestWithParam<DType> {
 protected:
  Tensor draw(const Shape& shape) { return cast(random_tensor(shape, rng_), GetParam()); }

  // The outputs of `f`, and the gradients of a product with numbers by each input; with `twice` those of the
  // sum of these gradients too.
  void op(const std::vector<Shape>& shapes, const std::function<Tensor(const List&)>& f, bool twice = false) {
    List inputs;
    for (const Shape& shape : shapes) inputs.push_back(variable(draw(shape)));
    const Tensor y = f(inputs);
    const List first = grad({y}, {variable(draw(y.shape()))}, inputs, {.create_graph = twice});
    keep(y);
    for (const Tensor& g : first) keep(g);
    if (!twice) return;
    const Tensor seed = variable(draw(y.shape()));
    const List back = grad({f(inputs)}, {seed}, inputs, {.create_graph = true});
    for (const Tensor& g : grad({back[0]}, {draw(back[0].shape())}, {seed})) keep(g);
  }
  void keep(const Tensor& x) {
    const std::vector<double> values = x.to_vector();
    results_.insert(results_.end(), values.begin(), values.end());
  }

  // Everything, from the same numbers each time.
  std::vector<double> all() {
    rng_.seed(3);
    results_.clear();
    op({{2, 5, 7}, {2, 7, 40}}, [](const List& x) { return matmul(x[0], x[1]); });
    const ConvGeometry conv{.stride = {2, 1}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 2};
    op({{2, 3, 4, 7, 6}, {2, 6, 2, 3, 3}, {2, 6}},
       [&](const List& x) { return conv2d(x[0], x[1], x[2], conv, 4, 6); });
    const PoolGeometry pool{.kernel = {3, 2}, .stride = {2, 2}, .padding = {1, 0}};
    op(
        {{2, 3, 4, 7, 6}}, [&](const List& x) { return max_pool(x[0], pool, 4, 3); }, true);
    op({{2, 3, 4, 7, 6}}, [&](const List& x) { return sum_pool(x[0], 0.25, pool, 4, 3); });
    const SharedTileSum shards = local_tile_sum(2);
    op({{2, 3, 4, 7, 6}, {2, 4}, {2, 4}},
       [&](const List& x) { return batch_norm(x[0], x[1], x[2], shards, 1e-5); });
    op({{2, 5, 70}, {2, 70}, {2, 70}},
       [](const List& x) { return normalise_rows(x[0], x[1], x[2], RowNorm{}); });
    for (const Cell cell : {Cell::rnn, Cell::lstm, Cell::gru}) {
      const std::int64_t gates = kernels::gates_of(cell) * 21;
      op({{2, 3, 4, gates}, {2, gates, 21}, {2, 21}, {2, 3, 21}, {2, 3, 21}}, [&](const List& x) {
        const bool gru = cell == Cell::gru, lstm = cell == Cell::lstm;
        return recurrent(cell, x[0], x[1], gru ? x[2] : Tensor(), x[3], lstm ? x[4] : Tensor()).hidden;
      });
    }
    op({{2, 3, 70}}, [](const List& x) { return softmax(x[0]); });
    op({{2, 19, 10}}, [](const List& x) { return softmax(x[0]); });
    op({{2, 19, 10}}, [](const List& x) { return log_softmax(x[0]); });
    std::vector<std::int32_t> classes(38);
    for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<std::int32_t>(i * 7 % 10);
    const Tensor labels = Tensor::from(classes, {2, 19});
    op({{2, 19, 10}}, [&](const List& x) { return cross_entropy(x[0], labels, 0.1); });
    const TileGrid grid(6, 8, 2, 2);
    const auto spectrum =
        std::make_shared<TileSpectrum>(TilePartition(grid, 1, 0), local_tile_sum(4), PerAxis{2, 3});
    op({{4, 3, 2, 3, 4}, {2, 5, 2, 12}, {4, 5, 2}, {4, 5}},
       [&](const List& x) { return fourier_layer(x[0], x[1], x[2], x[3], true, spectrum); });
    const TileGrid in_space({4, 4, 6}, {2, 1, 2});
    const auto plane =
        std::make_shared<TileSpectrum>(TilePartition(in_space, 1, 0), local_tile_sum(4), PerAxis{2, 1, 3});
    op({{4, 3, 2, 2, 4, 3}, {2, 5, 2, 24}, {4, 5, 2}, {4, 5}},
       [&](const List& x) { return fourier_layer(x[0], x[1], x[2], x[3], true, plane); });
    op({{4, 3, 2, 3, 4}, {4, 9, 2}, {4, 9}, {4, 3, 9}, {4, 3}},
       [](const List& x) { return projection_head(x[0], x[1], x[2], x[3], x[4]); });
    const SharedPattern pattern = make_pattern(3, 3, {{0, 0}, {0, 2}, {1, 1}, {2, 0}}, 4);
    op({{16}, {2, 3, 40}}, [&](const List& x) { return spmm(pattern, x[0], x[1]); });
    const Tensor flat = draw({9000});
    for (const double square : FlatParts({{0, 5000}, {5000, 9000}}).sums_of_squares(flat))
      results_.push_back(square);
    return results_;
  }

  std::mt19937 rng_;
  std::vector<double> results_;
};

TEST_P(Dispatch, PortableBodiesAgreeWithTheTunedOnes) {
  auto& table = kernels::dispatch_table;
  for (const auto& entry : table) ASSERT_FALSE(entry.portable) << "run this without RANKINE_KERNELS";
  const std::vector<double> tuned = all();
  for (auto& entry : table) {
    const std::int64_t before = entry.portable_runs;
    entry.portable = true;
    const std::vector<double> portable = all();
    entry.portable = false;
    EXPECT_GT(entry.portable_runs, before) << entry.name << " was not asked for";
    ASSERT_EQ(portable.size(), tuned.size());
    double difference = 0;
    for (std::size_t i = 0; i < tuned.size(); ++i)
      difference = std::max(difference, std::abs(portable[i] - tuned[i]));
    // Sums of at most 100 products of numbers below 1, which the host adds in lanes.
    const bool other_order = entry.name == std::string("conv_backward_weights");
    const double eps = GetParam() == DType::f32 ? 0x1p-23 : 0x1p-52;
    EXPECT_LE(difference, other_order ? 100 * eps : 0) << entry.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Dispatch, ::testing::Values(DType::f32, DType::f64));

}  // namespace
}  // namespace rankine
