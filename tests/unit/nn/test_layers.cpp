// Ops and blocks of src/nn: first and second derivatives against central differences, and values against
// plain formulas.
#include <cmath>
#include <tuple>

#include "src/nn/activations.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/conv.hpp"
#include "src/nn/dropout.hpp"
#include "src/nn/layer.hpp"
#include "src/nn/network.hpp"
#include "src/nn/norms.hpp"
#include "src/nn/pooling.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;

class Layers : public ::testing::Test {
 protected:
  std::mt19937 rng{3};
  Tensor random(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, rng, low, high);
  }
};

void expect_near(const Tensor& a, const Tensor& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.shape().text(), b.shape().text()) << what;
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << what << ", element " << i;
}

TEST_F(Layers, ActivationsAndTheirDerivatives) {
  // 137 values that keep away from the kinks at 0.
  Tensor x = random({137}, 0.05, 3);
  for (int i = 0; i < 137; i += 2) host_update<double>(x)[i] *= -1;
  for (const std::string& name : activation_names) {
    SCOPED_TRACE(name);
    const Function f = [&name](const List& in) { return List{activation(name, in[0])}; };
    expect_gradient(f, {x}, 1e-7);
    if (name != "none" && name != "relu" && name != "leaky_relu") expect_second_gradient(f, {x}, 1e-6);
  }
  const Function more = [](const List& in) {
    return List{softplus(in[0], 3), elu(in[0], 0.5, 2), leaky_relu(in[0], 0.3), cos(in[0])};
  };
  expect_gradient(more, {x}, 1e-7);
  expect_second_gradient(more, {x}, 1e-6);
}

TEST_F(Layers, ActivationsMatchTheLibrary) {
  std::vector<double> points;
  for (int i = -4000; i <= 4000; ++i) points.push_back(i * 0.01 + 1e-4);
  const Tensor x = Tensor::from(points, {static_cast<std::int64_t>(points.size())});
  const Tensor xf = cast(x, DType::f32);
  const auto check = [&](auto op, auto reference, double scale_of_error, const char* name) {
    const auto d = op(x).to_vector(), f = op(xf).to_vector();
    const auto exact = xf.to_vector();
    for (std::size_t i = 0; i < points.size(); ++i) {
      const double r = reference(points[i]), s = reference(exact[i]);
      ASSERT_NEAR(d[i], r, scale_of_error * 2.2e-16 * std::max(std::abs(r), 1e-3)) << name << points[i];
      ASSERT_NEAR(f[i], s, scale_of_error * 1.2e-7 * std::max(std::abs(s), 1e-3)) << name << points[i];
    }
  };
  // The rounding of -x to the exponent's argument costs |x| eps.
  check([](const Tensor& t) { return sigmoid(t); }, [](double v) { return 1 / (1 + std::exp(-v)); }, 8,
        "sigmoid ");
  check([](const Tensor& t) { return silu(t); }, [](double v) { return v / (1 + std::exp(-v)); }, 8, "silu ");
  check([](const Tensor& t) { return softplus(t); },
        [](double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); }, 8, "softplus ");
  check([](const Tensor& t) { return elu(t); }, [](double v) { return v > 0 ? v : std::expm1(v); }, 8,
        "elu ");
  const auto s = sin(x).to_vector(), c = cos(x).to_vector();
  const auto sf = sin(xf).to_vector(), cf = cos(xf).to_vector(), at = xf.to_vector();
  for (std::size_t i = 0; i < points.size(); ++i) {
    ASSERT_NEAR(s[i], std::sin(points[i]), 1e-15);
    ASSERT_NEAR(c[i], std::cos(points[i]), 1e-15);
    ASSERT_NEAR(sf[i], std::sin(at[i]), 2e-7);
    ASSERT_NEAR(cf[i], std::cos(at[i]), 2e-7);
  }
}

TEST_F(Layers, AffineToTheSecondDerivative) {
  for (const Shape& shape : {Shape{2, 7, 4}, Shape{2, 3, 2, 4}}) {
    const Tensor x = random(shape), w = random({2, 5, 4}), b = random({2, 5});
    const Function f = [](const List& in) { return List{affine(in[0], in[1], in[2])}; };
    expect_near(f({x, w, b})[0],
                reshape(add(matmul(reshape(x, {2, -1, 4}), transpose(w, 1, 2)), reshape(b, {2, 1, 5})),
                        f({x, w, b})[0].shape()),
                1e-14, "affine");
    expect_gradient(f, {x, w, b});
    expect_second_gradient(f, {x, w, b}, 1e-7);
    const Function bare = [](const List& in) { return List{affine(in[0], in[1], {})}; };
    expect_gradient(bare, {x, w});
    expect_second_gradient(bare, {x, w}, 1e-7);
  }
}

TEST_F(Layers, ConvolutionsToTheSecondDerivative) {
  const ConvGeometry plain{.padding = {1, 1}};
  const ConvGeometry strided{.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2};
  const Tensor x = random({2, 2, 2, 4, 5}), w = random({2, 3, 2, 3, 3}), b = random({2, 3});
  const Function f = [&](const List& in) { return List{conv2d(in[0], in[1], in[2], plain, 4, 5)}; };
  expect_gradient(f, {x, w, b});
  expect_second_gradient(f, {x, w, b}, 1e-7);
  const Tensor ws = random({2, 4, 1, 2, 2});
  const Function g = [&](const List& in) { return List{conv2d(in[0], in[1], {}, strided, 3, 3)}; };
  expect_gradient(g, {x, ws});
  expect_second_gradient(g, {x, ws}, 1e-7);
  const Tensor y = random({2, 2, 4, 3, 3}), c = random({2, 2});
  const Function h = [&](const List& in) {
    return List{conv2d_transpose(in[0], in[1], in[2], strided, 4, 5)};
  };
  expect_gradient(h, {y, ws, c});
  expect_second_gradient(h, {y, ws, c}, 1e-7);
}

TEST_F(Layers, BatchNormToTheSecondDerivative) {
  for (const bool global : {false, true}) {
    for (const Shape& shape : {Shape{2, 3, 2, 2, 2}, Shape{2, 4, 3}}) {
      const Tensor x = random(shape, -2, 2), gamma = random({2, shape[2]}, 0.5, 2),
                   beta = random({2, shape[2]});
      const SharedTileSum shards = global ? local_tile_sum(2) : nullptr;
      const Function f = [&](const List& in) { return List{batch_norm(in[0], in[1], in[2], shards, 1e-2)}; };
      expect_gradient(f, {x, gamma, beta}, 1e-7);
      expect_second_gradient(f, {x, gamma, beta}, 1e-6);
      const Function bare = [&](const List& in) { return List{batch_norm(in[0], {}, {}, shards, 1e-2)}; };
      expect_gradient(bare, {x}, 1e-7);
      expect_second_gradient(bare, {x}, 1e-6);
    }
  }
}

TEST_F(Layers, BatchNormsMomentsSurviveALargeMean) {
  Tensor x = random({2, 5, 3, 4, 6});
  for (int i = 0; i < x.count(); ++i) host_update<double>(x)[i] = 300 + 0.5 * host_read<double>(x)[i];
  const Tensor in = cast(x, DType::f32);
  for (const bool global : {false, true}) {
    BatchStatistics found;
    const SharedTileSum tiles = local_tile_sum(2);
    const Tensor y = batch_norm(in, {}, {}, global ? tiles : nullptr, 1e-5, &found, tiles);
    const auto values = cast(in, DType::f64).to_vector();
    for (int c = 0; c < 3; ++c) {
      double mean = 0, variance = 0, shard_variance = 0;
      const auto each = [&](auto f) {
        for (int l = 0; l < 2; ++l)
          for (int n = 0; n < 5; ++n)
            for (int i = 0; i < 24; ++i)
              f(l, values[static_cast<std::size_t>(((l * 5 + n) * 3 + c) * 24 + i)]);
      };
      double means[2] = {0, 0};
      each([&](int l, double v) {
        mean += v / 240;
        means[l] += v / 120;
      });
      each([&](int l, double v) {
        variance += (v - mean) * (v - mean) / 240;
        shard_variance += (v - means[l]) * (v - means[l]) / 240;
      });
      EXPECT_NEAR(host_read<double>(found.mean)[c], mean, 1e-5);
      EXPECT_NEAR(host_read<double>(found.variance)[c], global ? variance : shard_variance, 1e-6);
      EXPECT_EQ(found.count.item(), global ? 240 : 120);
    }
    const auto out = cast(y, DType::f64).to_vector();
    double square = 0;
    for (const double v : out) square += v * v / static_cast<double>(out.size());
    EXPECT_NEAR(square, 1, 1e-3);
  }
}

TEST_F(Layers, RowNormsToTheSecondDerivative) {
  const Tensor x = random({2, 2, 4, 3}, -2, 2);
  for (const RowNorm& how :
       {RowNorm{.axes = 1, .epsilon = 1e-2}, RowNorm{.axes = 2, .epsilon = 1e-2},
        RowNorm{.axes = 1, .centred = false, .epsilon = 1e-2}, RowNorm{.groups = 2, .epsilon = 1e-2}}) {
    const Shape shape = how.groups > 0 ? Shape{2, 4} : how.axes == 1 ? Shape{2, 3} : Shape{2, 4, 3};
    const Tensor gamma = random(shape, 0.5, 2), beta = random(shape);
    const Function f = [&](const List& in) { return List{normalise_rows(in[0], in[1], in[2], how)}; };
    expect_gradient(f, {x, gamma, beta}, 1e-7);
    expect_second_gradient(f, {x, gamma, beta}, 1e-6);
    const Function bare = [&](const List& in) { return List{normalise_rows(in[0], {}, {}, how)}; };
    expect_gradient(bare, {x}, 1e-7);
    const Function factor = [&](const List& in) { return List{normalise_rows(in[0], in[1], {}, how)}; };
    expect_gradient(factor, {x, gamma}, 1e-7);
    // Against the formula, in float too, with rows longer than a vector.
    const Tensor wide = random({2, 3, 4, 19}, -2, 2);
    const Tensor rows = how.groups > 0  ? reshape(wide, {2, 3, 2, 38})
                        : how.axes == 2 ? reshape(wide, {2, 3, 1, 76})
                                        : wide;
    const Tensor middle =
        how.centred ? mean(rows, {3}, true) : Tensor::zeros({2, 3, rows.extent(2), 1}, DType::f64);
    const Tensor centred = sub(rows, middle);
    const Tensor expected = div(centred, sqrt(add_scalar(mean(square(centred), {3}, true), 1e-2)));
    expect_near(normalise_rows(wide, {}, {}, how), reshape(expected, wide.shape()), 1e-14, "rows");
    expect_near(cast(normalise_rows(cast(wide, DType::f32), {}, {}, how), DType::f64),
                reshape(expected, wide.shape()), 2e-6, "rows in float");
  }
}

TEST_F(Layers, PoolingToTheSecondDerivative) {
  const Tensor x = random({1, 2, 2, 5, 6});
  const PoolGeometry geometry{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
  const Function f = [&](const List& in) {
    return List{square(max_pool(in[0], geometry, 3, 3)), square(sum_pool(in[0], 0.2, geometry, 3, 3)),
                square(global_average_pool(in[0]))};
  };
  expect_gradient(f, {x}, 1e-7);
  expect_second_gradient(f, {x}, 1e-6);
  const Function up = [](const List& in) { return List{square(spread_pool(in[0], 1, {}, 10, 12))}; };
  expect_gradient(up, {x}, 1e-7);
  expect_second_gradient(up, {x}, 1e-6);
}

// A network of blocks written as a deck writes them.
Network network(const std::string& blocks, const Shape& input, const std::string& precision = "double") {
  return read_network(parse_deck_text("precision: " + precision + "\nblocks: " + blocks + "\n", "deck.yaml"),
                      input);
}

// [L, B, ...] without its first two axes.
Shape sample_shape(const Tensor& y) {
  Shape shape = y.shape();
  shape.erase(0);
  shape.erase(0);
  return shape;
}

// Derivatives of every parameter and of the input through a network in training.
TEST_F(Layers, BlocksHaveTheirGradientsAndShapes) {
  const std::vector<std::pair<std::string, Shape>> cases{
      {"[{name: conv2d, channels: 3}, {name: sin, frequency: 2}]", {2, 4, 5}},
      {"[{name: conv2d, channels: 4, kernel: 2, stride: 2, padding: valid, groups: 2, bias: false}]",
       {2, 5, 4}},
      {"[{name: conv2d, depthwise: true, padding: 1, kernel: 3, dilation: 2}]", {3, 5, 4}},
      {"[{name: conv1d, channels: 3, stride: 2}, {name: softplus, sharpness: 2}]", {2, 7}},
      {"[{name: conv_transpose2d, channels: 3, stride: 2, padding: 1, output_padding: 1}]", {2, 3, 2}},
      {"[{name: conv_transpose2d, channels: 2, kernel: 4, stride: 2}]", {2, 3, 2}},
      {"[{name: conv_transpose1d, channels: 4, groups: 2, padding: valid}]", {2, 3}},
      {"[{name: average_pool, kernel: 3, stride: 2, padding: 1}, {name: upsample, factor: 3}]", {2, 4, 4}},
      {"[{name: average_pool, kernel: 2}, {name: upsample}, {name: global_average_pool}]", {2, 6}},
      {"[{name: sparse_conv2d, channels: 4, block: 2, pattern: [a08, '870']}, {name: silu}]", {9, 2, 3}},
      {"[{name: sparse_dense, units: 3, pattern: ['9', '0', f], bias: false}, {name: tanh}]", {2, 4}},
      {"[{name: max_pool, kernel: 2}, {name: flatten}, {name: batch_norm, statistics: shard}]", {2, 4, 5}},
      {"[{name: batch_norm, ghosts: 6}]", {2, 4}},
      {"[{name: batch_norm}, {name: silu}, {name: group_norm, groups: 2}]", {4, 2, 3}},
      {"[{name: layer_norm, axes: 2}, {name: rms_norm}, {name: layer_norm, affine: false}]", {3, 4}},
      {"[{name: dropout, rate: 0.4}, {name: dropout, rate: 0.3, channels: true}, {name: tanh}]", {4, 3, 3}},
      {"[{name: residual, channels: 4, stride: 2, activation: silu}]", {2, 5, 4}},
      {"[{name: residual, channels: 4, stride: 2, shortcut: pad, activation: tanh, norm: {name: group_norm, "
       "groups: 2}}]",
       {2, 5, 4}},
      {"[{name: skip, blocks: [{name: dense, units: 5}, {name: gelu}, {name: dense, units: 3}]}]", {3}},
      {"[{name: chain, blocks: [{name: dense, units: 4}, {name: selu}]}, {name: dense, units: 2, bias: "
       "false}]",
       {3}}};
  for (const auto& [blocks, input] : cases) {
    SCOPED_TRACE(blocks);
    const Network net = network(blocks, input);
    const ParameterSet parameters = net.initial_parameters(3);
    Shape shape = input;
    shape.insert(0, 3);
    shape.insert(0, 2);
    // Values away from the constants that norms start from.
    const Tensor moved = add(parameters.flat(), scale(random({parameters.count()}), 0.3));
    const Function f = [&, &net = net](const List& in) {
      Pass pass{
          .shards = local_tile_sum(2), .training = true, .update_statistics = false, .seed = 5, .step = 2};
      const Tensor y = net.forward(parameters.with_values(in[1]).bind(pass.shards), in[0], pass);
      EXPECT_EQ(sample_shape(y).text(), net.output().text());
      return List{y};
    };
    expect_gradient(f, {random(shape), moved}, 1e-6);
  }
}

TEST_F(Layers, BatchNormFollowsTheBatchAndUsesItAfterwards) {
  const Network net = network("[{name: batch_norm, momentum: 0.25}]", {2, 3});
  const ParameterSet parameters = net.initial_parameters(1);
  const Tensor x = random({2, 4, 2, 3}, 1, 3);
  Pass pass{.shards = local_tile_sum(2), .training = true};
  const Tensor by_channel = reshape(permute(x, {2, 0, 1, 3}), {2, 24});
  const Tensor centre = mean(by_channel, {1}, true);
  const Tensor spread = scale(sum(square(sub(by_channel, centre)), {1}), 1.0 / 23);
  net.forward(parameters.bind(pass.shards), x, pass);
  expect_near(parameters.view("block0.running_mean"), scale(reshape(centre, {2}), 0.25), 1e-14, "mean");
  expect_near(parameters.view("block0.running_variance"), add_scalar(scale(spread, 0.25), 0.75), 1e-14,
              "variance");
  pass.update_statistics = false;
  const Tensor before = parameters.flat().clone();
  net.forward(parameters.bind(pass.shards), x, pass);
  expect_near(parameters.flat(), before, 0, "a second pass");
  // Outside training the running moments are constants of an affine map.
  pass.training = false;
  const Tensor y = net.forward(parameters.bind(pass.shards), x, pass);
  const Tensor m = reshape(parameters.view("block0.running_mean"), {2, 1});
  const Tensor v = reshape(parameters.view("block0.running_variance"), {2, 1});
  expect_near(y, div(sub(x, m), sqrt(add_scalar(v, 1e-5))), 1e-14, "evaluation");
  expect_near(parameters.flat(), before, 0, "an evaluation");
  const Function f = [&](const List& in) {
    return List{net.forward(parameters.with_values(in[1]).bind(pass.shards), in[0], pass)};
  };
  expect_gradient(f, {x, parameters.flat()}, 1e-6);
}

// The derivatives, and the running moments after the parts one by one as the paper's algorithm has them.
TEST_F(Layers, GhostsAreNormalisedByThemselvesAndFollowedInTheirOrder) {
  const Network plain = network("[{name: batch_norm, momentum: 0.25}]", {2, 3});
  const Network ghosts = network("[{name: batch_norm, momentum: 0.25, ghosts: 6}]", {2, 3});
  const Tensor x = random({2, 6, 2, 3}, 1, 3);  // two shards of three ghosts of two samples
  const ParameterSet together = ghosts.initial_parameters(1), apart = together.clone();
  Pass pass{.shards = local_tile_sum(2), .training = true};
  const Tensor y = ghosts.forward(together.bind(pass.shards), x, pass);
  Pass alone{.shards = local_tile_sum(1), .training = true};
  for (std::int64_t g = 0; g < 6; ++g) {
    const auto part = [&](const Tensor& of) {
      return slice(slice(of, 0, g / 3, g / 3 + 1), 1, 2 * (g % 3), 2 * (g % 3) + 2);
    };
    expect_near(part(y), plain.forward(apart.bind(alone.shards), part(x), alone), 1e-14, "a ghost");
  }
  expect_near(together.flat(), apart.flat(), 1e-14, "running moments");

  // A rule that takes a shard a pass.
  const ParameterSet in_turn = ghosts.initial_parameters(1);
  Pass one{.shards = local_tile_sum(1), .passes = 2, .training = true};
  for (const std::int64_t shard : {0, 1})
    expect_near(ghosts.forward(in_turn.bind(one.shards), slice(x, 0, shard, shard + 1), one),
                slice(y, 0, shard, shard + 1), 1e-14, "a shard");
  expect_near(in_turn.flat(), apart.flat(), 1e-14, "running moments");
}

TEST_F(Layers, GhostsMustFitTheBatch) {
  const Network net =
      network("[{name: skip, blocks: [{name: residual, channels: 2, norm: {name: batch_norm, ghosts: 6}}]}]",
              {2, 3, 3});
  EXPECT_NO_THROW(net.block(0).check_batch(12, 3));
  for (const auto& [batch, shards] : {std::pair{12, 4}, std::pair{9, 3}}) {
    try {
      net.block(0).check_batch(batch, shards);
      ADD_FAILURE() << batch << " " << shards;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("block0.0.norm0: ghosts: 6 must be a multiple of"),
                std::string::npos)
          << error.what();
    }
  }
  EXPECT_THROW(network("[{name: batch_norm, ghosts: 2, statistics: shard}]", {2}), InputError);
}

TEST_F(Layers, DropoutDependsOnSeedNameStepAndSampleAlone) {
  const Network net = network("[{name: dropout, rate: 0.25}]", {1000});
  const ParameterSet none = net.initial_parameters(1);
  const Tensor x = Tensor::full({1, 4, 1000}, DType::f64, 1);
  const auto run = [&](std::vector<std::int64_t> samples, std::int64_t step, std::uint64_t seed) {
    Pass pass{.shards = local_tile_sum(1),
              .training = true,
              .seed = seed,
              .step = step,
              .samples = std::move(samples)};
    return net.forward(none.bind(pass.shards), x, pass);
  };
  const Tensor y = run({4, 7, 9, 2}, 3, 5);
  double kept = 0;
  for (const double v : y.to_vector()) {
    EXPECT_TRUE(v == 0 || v == 1 / 0.75) << v;
    kept += v == 0 ? 0 : 1;
  }
  EXPECT_NEAR(kept / 4000, 0.75, 0.03);  // 4.4 standard deviations
  expect_near(run({4, 7, 9, 2}, 3, 5), y, 0, "again");
  expect_near(slice(run({2, 4, 7, 9}, 3, 5), 1, 0, 1), slice(y, 1, 3, 4), 0,
              "a sample elsewhere in the batch");
  for (const Tensor& other : {run({4, 7, 9, 2}, 4, 5), run({4, 7, 9, 2}, 3, 6), run({5, 8, 10, 3}, 3, 5)})
    EXPECT_GT(sum(square(sub(other, y))).item(), 100);
  Pass evaluation{.shards = local_tile_sum(1)};
  expect_near(net.forward(none.bind(evaluation.shards), x, evaluation), x, 0, "evaluation");
  // Recomputed in the backward pass, the same elements are dropped.
  const Tensor at = variable(x);
  const Tensor through = checkpoint(
      [&](const List& in) {
        Pass pass{.training = true, .seed = 5, .step = 3, .samples = {4, 7, 9, 2}};
        return List{net.forward(none.bind(local_tile_sum(1)), in[0], pass)};
      },
      {at})[0];
  expect_near(grad({sum(through)}, {}, {at})[0], y, 0, "gradient after recomputation");
}

TEST_F(Layers, DropoutKeepsWhereTheStreamIsBelowOneMinusItsRate) {
  const RandomStream stream(5, "dropout");
  const std::vector<std::int64_t> samples{4, 7, 9, 2, 4, 100000};
  const Tensor x = random({2, 3, 5, 7}, 1, 2);
  Pass pass{.step = 3, .samples = {9, 9, 9, 9, 9, 9}};
  dropout(x, 0.4, stream, pass);
  pass.samples = samples;  // from here on other ids than what was copied
  const std::int64_t copies = device_counters().host_writes;
  const std::vector<double> in = x.to_vector(), y = dropout(x, 0.4, stream, pass).to_vector();
  EXPECT_EQ(dropout(x, 0.4, stream, pass).to_vector(), y);
  EXPECT_EQ(device_counters().host_writes - copies, 1);
  for (std::size_t s = 0; s < samples.size(); ++s)
    for (std::size_t k = 0; k < 35; ++k) {
      const bool kept = stream.uniform(3, samples[s], static_cast<std::int64_t>(k)) < 1 - 0.4;
      EXPECT_EQ(y[s * 35 + k], kept ? 1 / (1 - 0.4) * in[s * 35 + k] : 0)
          << "sample " << s << " element " << k;
    }
  pass.samples.back() = -1;
  EXPECT_THROW(dropout(x, 0.4, stream, pass), std::logic_error);
}

TEST_F(Layers, SayWhatDoesNotFit) {
  const auto message = [](const std::string& blocks, const Shape& input) {
    try {
      network(blocks, input);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::vector<std::tuple<std::string, Shape, std::string>> cases{
      {"[{name: conv2d, channels: 4}]", {10}, "needs images [channels, height, width]"},
      {"[{name: conv1d, channels: 4}]", {3, 4, 5}, "needs signals [channels, time]"},
      {"[{name: conv2d}]", {1, 4, 4}, "'channels' (of the output) is missing"},
      {"[{name: conv2d, channels: 4, padding: some}]", {1, 4, 4}, "neither 'same' nor 'valid' nor a number"},
      {"[{name: conv2d, channels: 4, kernel: 5, padding: valid}]", {1, 4, 4}, "reaches over 5 positions"},
      {"[{name: conv2d, channels: 4, groups: 2}]", {3, 4, 4}, "must be multiples of the 2 groups"},
      {"[{name: conv_transpose2d, channels: 4, output_padding: 1}]",
       {3, 4, 4},
       "must be less than the stride, 1"},
      {"[{name: conv_transpose2d, channels: 4, kernel: 1, padding: 2}]",
       {3, 4, 4},
       "leaves nothing of the output"},
      {"[{name: max_pool, kernel: 5}]", {3, 4, 4}, "an axis is shorter than the kernel, 5"},
      {"[{name: max_pool, padding: 2}]", {3, 4, 4}, "more than half the kernel"},
      {"[{name: global_average_pool}]", {3}, "needs images"},
      {"[{name: group_norm, groups: 3}]", {4, 2}, "must be a multiple of 'groups', 3"},
      {"[{name: layer_norm, axes: 3}]", {4, 2}, "'axes' is 3, but the input [4, 2] has 2"},
      {"[{name: sparse_conv2d, channels: 4, pattern: ['8', '8', '8', '8']}]",
       {4},
       "needs images [channels, height, width]"},
      {"[{name: sparse_dense, units: 4, block: 3, pattern: ['8']}]",
       {4},
       "block: 3 does not divide the 4 outputs"},
      {"[{name: sparse_dense, units: 4, block: 2, pattern: ['8']}]",
       {4},
       "has 1 entries for 2 rows of blocks"},
      {"[{name: sparse_dense, units: 2, pattern: [8, 80]}]",
       {5},
       "'8' has 1 digits, where each is for four of the 5 inputs; give 2"},
      {"[{name: sparse_dense, units: 2, pattern: ['8', x]}]", {4}, "'x' is no hexadecimal number"},
      {"[{name: sparse_dense, units: 2, pattern: ['1', '1']}]", {3}, "outside 2 x 3"},
      {"[{name: sparse_dense, units: 2, pattern: ['0', '0']}]", {3}, "holds no weight"},
      {"[{name: residual, channels: 2, shortcut: pad}]", {4, 4, 4}, "cannot take the 4 channels down to 2"},
      {"[{name: residual, channels: 4}]", {4}, "residual: the input is [4]; it needs images"},
      {"[{name: skip, blocks: [{name: dense, units: 3}]}]", {4}, "its blocks make [3] of [4]"},
      {"[{name: chain, blocks: []}]", {4}, "'blocks' must be a list of layers"},
      {"[{name: chain, blocks: [{name: dense, units: 3, nope: 1}]}]", {4}, "unknown key 'nope'"},
      {"[{name: chain, blocks: [{name: flatten}, {name: conv2d, channels: 1}]}]", {4}, "block0.1"},
  };
  for (const auto& [blocks, input, part] : cases) {
    const std::string found = message(blocks, input);
    EXPECT_NE(found.find(part), std::string::npos) << blocks << ": " << found;
    EXPECT_EQ(found.rfind("deck.yaml:", 0), 0) << found;
    EXPECT_EQ(found.find("deck.yaml:", 5), std::string::npos) << "the place stands there twice: " << found;
  }
}

}  // namespace
}  // namespace rankine
