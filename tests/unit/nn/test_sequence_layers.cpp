// Embedding, position, attention and transformer blocks as a deck makes them.
#include <gmock/gmock.h>

#include "src/nn/activations.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/layers/attention.hpp"
#include "src/nn/norms.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using List = std::vector<Tensor>;

const char* const kModel =
    "[{name: embedding, vocabulary: 5, units: 4}, {name: position, length: 16},"
    " {name: transformer, heads: 2, hidden: 6, rotary: true}, {name: tied_head, vocabulary: 5, bias: true}]";

Tensor some_tokens(const Shape& shape, int vocabulary = 5) {
  std::mt19937 rng(3);
  std::vector<std::int32_t> values(static_cast<std::size_t>(shape.count()));
  for (auto& value : values) value = static_cast<std::int32_t>(rng() % static_cast<unsigned>(vocabulary));
  return Tensor::from(values, shape);
}

TEST(SequenceLayers, LanguageModelGradient) {
  const Network network = network_of(kModel, {6});
  EXPECT_EQ(network.output(), (Shape{6, 5}));
  expect_network_gradient(network, some_tokens({2, 2, 6}));
}

TEST(SequenceLayers, TokensAreThePlacesOfAnImage) {
  const Network network = network_of("[{name: tokens}]", {2, 2, 3});
  EXPECT_EQ(network.output(), (Shape{6, 2}));
  std::vector<double> pixels(24);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<double>(i);
  Pass pass{.shards = local_tile_sum(1)};
  const std::vector<double> found = network
                                        .forward(network.initial_parameters(1).bind(pass.shards),
                                                 Tensor::from(pixels, {1, 2, 2, 2, 3}), pass)
                                        .to_vector();
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t place = 0; place < 6; ++place)
      for (std::size_t c = 0; c < 2; ++c)
        EXPECT_EQ(found[12 * n + 2 * place + c], pixels[12 * n + 6 * c + place]);
  expect_network_gradient(network, Tensor::from(pixels, {1, 2, 2, 2, 3}));
}

TEST(SequenceLayers, SinusoidalPositions) {
  const Network network = network_of("[{name: position, kind: sinusoidal}]", {4, 5});
  Pass pass{.shards = local_tile_sum(1), .position = 3};
  const Tensor y = network.forward(network.initial_parameters(1).bind(pass.shards),
                                   Tensor::zeros({1, 1, 4, 5}, DType::f64), pass);
  const auto values = y.to_vector();
  for (std::size_t t = 0; t < 4; ++t)
    for (std::size_t d = 0; d < 5; ++d) {
      const double angle = static_cast<double>(3 + t) / std::pow(1e4, static_cast<double>(d / 2 * 2) / 5.0);
      EXPECT_NEAR(values[t * 5 + d], d % 2 == 0 ? std::sin(angle) : std::cos(angle), 1e-14);
    }
}

class TransformerKinds : public ::testing::TestWithParam<const char*> {};

TEST_P(TransformerKinds, Gradient) {
  std::mt19937 rng(2);
  const Network network =
      network_of(std::string("[{name: transformer, heads: 2, hidden: 5, ") + GetParam() + "}]", {3, 4});
  Pass pass{.training = true, .seed = 4, .step = 2, .samples = {7, 3}};
  expect_network_gradient(network, random_tensor({1, 2, 3, 4}, rng), pass);
}

INSTANTIATE_TEST_SUITE_P(All, TransformerKinds,
                         ::testing::Values("norm: pre, activation: silu", "norm: post, activation: relu",
                                           "norm: peri, norm_kind: rms, causal: false",
                                           "gated: true, activation: silu, norm_kind: rms",
                                           "bias: false, lora_rank: 2, lora_scale: 0.5", "dropout: 0.4"));

TEST(SequenceLayers, AGatedPerceptronIsTheProductOfTwoLayers) {
  std::mt19937 rng(2);
  const Network network = network_of(
      "[{name: transformer, gated: true, activation: silu, hidden: 3, bias: false, norm: post}]", {1, 2});
  const ParameterSet set = moved_parameters(network);
  // With one token attention is linear; with post norms the second branch's input is the first one's output.
  const Tensor x = random_tensor({1, 4, 1, 2}, rng);
  Pass pass{.shards = local_tile_sum(1)};
  const BoundParameters bound = set.bind(pass.shards);
  const auto of = [&](const char* name) { return bound[std::string("block0.") + name]; };
  const auto norm = [&](const char* which, const Tensor& in) {
    return normalise_rows(in, of((std::string(which) + ".weight").c_str()),
                          of((std::string(which) + ".bias").c_str()), {});
  };
  const Tensor values = affine(x, slice(of("attention.qkv.weight"), 1, 4, 6), {});
  const Tensor middle = norm("norm1", add(x, affine(values, of("attention.output.weight"), {})));
  const Tensor gate = affine(middle, of("gate.weight"), {}), up = affine(middle, of("up.weight"), {});
  const Tensor product = mul(mul(gate, sigmoid(gate)), up);
  expect_same(network.forward(bound, x, pass),
              norm("norm2", add(middle, affine(product, of("down.weight"), {}))), 1e-14);
}

TEST(SequenceLayers, ABlockIsRepeatedByItsNumber) {
  const Network brief = network_of("[{name: transformer, hidden: 3, repeat: 3}, {name: flatten}]", {2, 2});
  const Network whole = network_of(
      "[{name: transformer, hidden: 3}, {name: transformer, hidden: 3}, {name: transformer, hidden: 3}, "
      "{name: flatten}]",
      {2, 2});
  const ParameterSet a = brief.initial_parameters(1), b = whole.initial_parameters(1);
  EXPECT_EQ(brief.size(), 4);
  ASSERT_EQ(a.parts().size(), b.parts().size());
  for (std::size_t i = 0; i < a.parts().size(); ++i) EXPECT_EQ(a.parts()[i].name, b.parts()[i].name);
  expect_same(a.flat(), b.flat(), 0);
  EXPECT_THAT(refusal_of("[{name: flatten, repeat: 0}]", {2}), HasSubstr("repeat"));
}

TEST(SequenceLayers, TransformerSecondGradient) {
  std::mt19937 rng(2);
  const Network network = network_of("[{name: transformer, heads: 1, hidden: 3}]", {2, 2});
  const ParameterSet set = moved_parameters(network);
  expect_second_gradient([&](const List& in) { return evaluate(network, set, set.flat(), in[0], {}); },
                         {random_tensor({1, 1, 2, 2}, rng)}, 1e-6);
}

TEST(SequenceLayers, LoraFreezesTheBaseAndStartsAtIt) {
  const Network plain = network_of("[{name: transformer, heads: 2}]", {5, 4});
  const Network lora = network_of("[{name: transformer, heads: 2, lora_rank: 2}]", {5, 4});
  const ParameterSet a = plain.initial_parameters(3), b = lora.initial_parameters(3);
  std::int64_t trained = 0;
  for (const ParameterInfo& part : b.parts())
    if (!part.frozen) trained += part.shape.count();
  EXPECT_EQ(trained, 2 * 2 * (4 * 2));
  std::mt19937 rng(2);
  const Tensor x = random_tensor({1, 2, 5, 4}, rng);
  EXPECT_EQ(evaluate(plain, a, a.flat(), x, {})[0].to_vector(),
            evaluate(lora, b, b.flat(), x, {})[0].to_vector());
}

TEST(SequenceLayers, DropoutDependsOnTheSampleNotItsPlace) {
  std::mt19937 rng(2);
  const Network network = network_of("[{name: transformer, heads: 2, dropout: 0.5}]", {3, 4});
  const ParameterSet set = moved_parameters(network);
  const Tensor x = random_tensor({1, 2, 3, 4}, rng);
  const Pass both{.training = true, .seed = 4, .step = 2, .samples = {7, 3}};
  const Pass second{.training = true, .seed = 4, .step = 2, .samples = {3}};
  const Tensor whole = evaluate(network, set, set.flat(), x, both)[0];
  const Tensor part = evaluate(network, set, set.flat(), slice(x, 1, 1, 2), second)[0];
  expect_same(slice(whole, 1, 1, 2).clone(), part, 1e-14);
  const Pass off{.seed = 4, .step = 2, .samples = {7, 3}};
  EXPECT_NE(evaluate(network, set, set.flat(), x, off)[0].to_vector(), whole.to_vector());
}

// What chunk-wise training rests on: chunk after chunk against cached keys and values gives the whole
// sequence's outputs, and, with gradients injected at the fresh keys and values and fetched at the cached
// ones, the whole sequence's gradient.
TEST(SequenceLayers, ChunksGiveTheWholeGradient) {
  const std::int64_t chunk = 3, chunks = 4, tokens = chunk * chunks;
  const std::string blocks =
      "[{name: embedding, vocabulary: 5, units: 4}, {name: position, length: 12}, {name: transformer, heads: "
      "2, "
      "rotary: true},"
      " {name: transformer, heads: 2, rotary: true, norm: post}, {name: dense, units: 5}]";
  const Network network = network_of(blocks, {chunk}), long_network = network_of(blocks, {tokens});
  const ParameterSet set = moved_parameters(network);
  const Tensor x = some_tokens({2, 1, tokens});
  std::mt19937 rng(8);
  const Tensor seed = random_tensor({2, 1, tokens, 5}, rng);
  const SharedTileSum shards = local_tile_sum(2);

  const Tensor all = variable(set.flat());
  Pass whole_pass{.shards = shards};
  const Tensor whole = long_network.forward(set.with_values(all).bind(shards), x, whole_pass);
  const Tensor expected = grad({whole}, {seed}, {all})[0];

  // Forward: only the cache is kept.
  CarriedState cache;
  for (std::int64_t c = 0; c < chunks; ++c) {
    const NoGrad off;
    Pass pass{.shards = shards, .position = c * chunk, .state = &cache};
    const Tensor y = network.forward(set.bind(shards), slice(x, 2, c * chunk, (c + 1) * chunk), pass);
    expect_same(y, slice(whole, 2, c * chunk, (c + 1) * chunk).clone(), 1e-12);
    append_fresh_keys(cache);
  }
  EXPECT_EQ(cache.size(), 4u);
  EXPECT_EQ(cache.at("block2.attention.keys").shape(), (Shape{2, 1, 2, tokens, 2}));

  // Backward, last chunk first.
  std::map<std::string, Tensor> kept;  // gradients at the cached entries
  for (const auto& [name, value] : cache) kept[name] = Tensor::zeros(value.shape(), value.dtype());
  Tensor total = Tensor::zeros(set.flat().shape(), DType::f64);
  for (std::int64_t c = chunks - 1; c >= 0; --c) {
    const std::int64_t before = c * chunk, after = before + chunk;
    const Tensor flat = variable(set.flat());
    CarriedState state;
    List inputs{flat};
    std::vector<std::string> names;
    if (before > 0)
      for (const auto& [name, value] : cache) {
        names.push_back(name);
        state[name] = variable(slice(value, 3, 0, before).clone());
        inputs.push_back(state[name]);
      }
    Pass pass{.shards = shards, .position = before, .state = &state};
    const Tensor y = network.forward(set.with_values(flat).bind(shards), slice(x, 2, before, after), pass);
    List outputs{y}, seeds{slice(seed, 2, before, after)};
    for (const auto& [name, gradient] : kept) {
      const std::size_t dot = name.rfind('.');
      outputs.push_back(state.at(name.substr(0, dot) + ".fresh_" + name.substr(dot + 1)));
      seeds.push_back(slice(gradient, 3, before, after));
    }
    const List found = grad(outputs, seeds, inputs);
    total = add(total, found[0]);
    for (std::size_t i = 0; i < names.size(); ++i) {
      Tensor& sum = kept[names[i]];
      sum = add(sum, place(found[i + 1], 3, tokens, 0));
    }
  }
  double largest = 0;
  for (const double value : expected.to_vector()) largest = std::max(largest, std::abs(value));
  expect_same(total, expected, 1e-12 * largest);
}

TEST(SequenceLayers, WrongInputSaysWhatItIs) {
  const Network network = network_of(kModel, {6});
  const ParameterSet set = network.initial_parameters(1);
  const auto message = [&](const Tensor& x, Pass pass) -> std::string {
    try {
      evaluate(network, set, set.flat(), x, std::move(pass));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  Tensor bad = some_tokens({1, 2, 6});
  host_update<std::int32_t>(bad)[8] = 5;
  EXPECT_THAT(message(bad, {.samples = {11, 12}}),
              HasSubstr("block0: token 5 of sample 12 at position 2 is outside 0 .. 4"));
  EXPECT_THAT(message(Tensor::zeros({1, 2, 6}, DType::f64), {}), HasSubstr("needs tokens (i32)"));
  EXPECT_THAT(message(some_tokens({1, 1, 6}), {.position = 11}),
              HasSubstr("block1: 6 tokens after 11 earlier ones, but 'length' is 16"));

  const Network cached = network_of("[{name: attention, heads: 2, cache_length: 8}]", {6, 4});
  const ParameterSet parameters = cached.initial_parameters(1);
  try {
    evaluate(cached, parameters, parameters.flat(), Tensor::zeros({1, 1, 6, 4}, DType::f64), {.position = 3});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("block0: 6 tokens after 3 earlier ones are more than 'cache_length', 8"));
  }
  EXPECT_THAT(refusal_of("[{name: attention, heads: 3}]", {6, 4}),
              HasSubstr("vectors of 4 do not split into 3 heads"));
  EXPECT_THAT(refusal_of("[{name: attention, cache_length: 5}]", {6, 4}), HasSubstr("'cache_length' is 5"));
  EXPECT_THAT(refusal_of("[{name: attention, heads: 4, rotary: true}]", {6, 4}), HasSubstr("even length"));
  EXPECT_THAT(refusal_of("[{name: transformer}]", {6}), HasSubstr("needs sequences [T, D]"));
  const Network untied = network_of("[{name: tied_head, vocabulary: 5}]", {6, 4});
  EXPECT_THROW(untied.initial_parameters(1), InputError);
}

}  // namespace
}  // namespace rankine
