#include <gmock/gmock.h>

#include "src/nn/spiking.hpp"
#include "tests/unit/nn/network_support.hpp"

namespace rankine {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using List = std::vector<Tensor>;

Tensor line(double from, double to, std::int64_t n) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i)
    values.push_back(from + (to - from) * (static_cast<double>(i) + 0.5) / static_cast<double>(n));
  return Tensor::from(values, {n});
}

TEST(Surrogate, AreDensitiesOfTheirWidth) {
  for (const Surrogate kind :
       {Surrogate::triangle, Surrogate::rectangle, Surrogate::atan, Surrogate::sigmoid})
    for (const double width : {0.5, 2.0}) {
      const double range = 2000;
      const Tensor x = variable(line(-range, range, 4000000));
      const Tensor y = sum(heaviside_surrogate(x, kind, width));
      EXPECT_EQ(y.item(), 2000000);
      const Tensor slope = grad({y}, {}, {x})[0];
      EXPECT_NEAR(sum(slope).item() * 2 * range / 4e6, 1, 1e-3);
      const Tensor zero = variable(Tensor::zeros({1}, DType::f64));
      EXPECT_NEAR(grad({heaviside_surrogate(zero, kind, width)}, {}, {zero})[0].item(), 1 / width, 1e-14);
    }
}

TEST(Surrogate, PathInOpsEqualsTheFusedOneAndDifferentiates) {
  for (const Surrogate kind :
       {Surrogate::triangle, Surrogate::rectangle, Surrogate::atan, Surrogate::sigmoid}) {
    const Tensor at = line(-1.9, 2.1, 37), x = variable(at), seed = line(1, 2, 37);
    const Tensor y = heaviside_surrogate(x, kind, 1.5);
    const Tensor fused = grad({y}, {seed}, {x}, {.retain = true})[0];
    const Tensor composed = grad({y}, {seed}, {x}, {.create_graph = true})[0];
    expect_same(fused, composed, 1e-14);
    const Tensor second = grad({sum(composed)}, {}, {x})[0];
    const double h = 1e-6;
    const auto slope = [&](double by) {
      const Tensor moved = variable(add_scalar(at, by));
      return grad({heaviside_surrogate(moved, kind, 1.5)}, {seed}, {moved})[0];
    };
    expect_same(second, scale(sub(slope(h), slope(-h)), 0.5 / h), 1e-6);
  }
}

struct Case {
  kernels::Reset reset;
  bool detach;
};
class LifStep : public ::testing::TestWithParam<Case> {};

// Three steps against the equations written out in elementary ops.
TEST_P(LifStep, EqualsTheEquations) {
  LifDynamics d{.decay = 0.7, .gain = 0.9, .threshold = 1.1, .reset_to = -0.2, .width = 0.8};
  d.reset = GetParam().reset;
  d.detach_reset = GetParam().detach;
  if (d.reset != kernels::Reset::hard) d.reset_to = 0;
  d.surrogate = Surrogate::atan;
  std::mt19937 rng(9);
  List currents, seeds;
  for (int t = 0; t < 3; ++t) {
    currents.push_back(variable(random_tensor({40}, rng, 0, 3)));
    seeds.push_back(random_tensor({40}, rng));
  }
  List fused, written;
  Tensor v;
  for (const Tensor& i : currents) {
    const auto [s, after] = lif_step(v, i, d);
    fused.push_back(s);
    v = after;
  }
  v = Tensor::zeros({40}, DType::f64);
  for (const Tensor& i : currents) {
    const Tensor u = add(scale(v, d.decay), scale(i, d.gain));
    const Tensor s = heaviside_surrogate(add_scalar(u, -d.threshold), d.surrogate, d.width);
    const Tensor r = d.detach_reset ? s.detach() : s;
    if (d.reset == kernels::Reset::soft) v = sub(u, scale(r, d.threshold));
    if (d.reset == kernels::Reset::hard) v = add(mul(u, add_scalar(neg(r), 1)), scale(r, d.reset_to));
    if (d.reset == kernels::Reset::none) v = u;
    written.push_back(s);
  }
  double spikes = 0;
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_EQ(fused[t].to_vector(), written[t].to_vector());
    spikes += sum(fused[t]).item();
  }
  EXPECT_GT(spikes, 6);  // of 120
  EXPECT_LT(spikes, 116);
  const List a = grad(fused, seeds, currents, {.retain = true}), b = grad(written, seeds, currents),
             c = grad(fused, seeds, currents, {.create_graph = true});
  for (std::size_t t = 0; t < 3; ++t) {
    expect_same(a[t], b[t], 1e-13);
    expect_same(c[t], b[t], 1e-13);
  }
}

INSTANTIATE_TEST_SUITE_P(Resets, LifStep,
                         ::testing::Values(Case{kernels::Reset::soft, false},
                                           Case{kernels::Reset::soft, true},
                                           Case{kernels::Reset::hard, false},
                                           Case{kernels::Reset::hard, true},
                                           Case{kernels::Reset::none, false}));

TEST(LifLayer, CarriesThePotentialThatARuleMayCut) {
  const char* const blocks[] = {"[{name: dense, units: 6}, {name: lif, tau: 1.1}]",
                                "[{name: dense, units: 6}, {name: lif, tau: 1.1, detach_reset: true}]"};
  std::mt19937 rng(4);
  const Tensor x = random_tensor({1, 3, 5}, rng, -3, 3);
  const auto run = [&](const char* deck, bool cut) {
    const Network network = network_of(deck, {5});
    const ParameterSet set = moved_parameters(network, 1.0);
    const Tensor flat = variable(set.flat());
    CarriedState state;
    Tensor total;
    for (int t = 0; t < 4; ++t) {
      Pass pass{.shards = local_tile_sum(1), .position = t, .state = &state};
      const Tensor s = network.forward(set.with_values(flat).bind(pass.shards), x, pass);
      total = total.defined() ? add(total, s) : s;
      EXPECT_TRUE(state.contains("block1.potential"));
      if (cut)
        for (auto& [name, value] : state) value = value.detach();
    }
    return grad({sum(square(total))}, {}, {flat})[0].to_vector();
  };
  EXPECT_EQ(run(blocks[0], true), run(blocks[1], true));  // the reset only feeds the next step
  EXPECT_NE(run(blocks[0], false), run(blocks[1], false));
  EXPECT_NE(run(blocks[0], false), run(blocks[0], true));
}

TEST(LifLayer, RefusesContradictions) {
  EXPECT_THAT(refusal_of("[{name: lif, tau: 2, decay: 0.5}]", {5}), HasSubstr("give one of them"));
  EXPECT_THAT(refusal_of("[{name: lif, reset_to: 1}]", {5}), HasSubstr("reset: hard"));
  EXPECT_THAT(refusal_of("[{name: lif, surrogate: triangel}]", {5}), HasSubstr("triangle"));
}

}  // namespace
}  // namespace rankine
