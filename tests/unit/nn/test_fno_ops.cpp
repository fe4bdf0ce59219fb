#include <algorithm>
#include <numbers>

#include "kernels/dispatch.hpp"
#include "tests/unit/nn/fno_support.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;
using Complex = std::complex<double>;

struct Case {
  TileGrid grid;
  PerAxis modes;
};

SharedSpectrum spectrum_of(const Case& c) {
  return std::make_shared<TileSpectrum>(TilePartition(c.grid, 1, 0), local_tile_sum(c.grid.tiles()), c.modes);
}

/// [L, B, C, points of a tile].
Shape on_tiles(const TileGrid& grid, std::int64_t batch, std::int64_t channels) {
  Shape shape{grid.tiles(), batch, channels};
  for (const std::int64_t n : grid.tile_shape()) shape.push_back(n);
  return shape;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{{TileGrid(6, 8, 1, 1), {2, 3}},
                                     {TileGrid(6, 8, 2, 4), {3, 5}},  // all modes, Nyquist included
                                     {TileGrid(9, 10, 3, 2), {4, 6}},
                                     {TileGrid(5, 7, 1, 7), {2, 4}},
                                     {TileGrid({4, 6, 8}, {2, 1, 2}), {1, 2, 3}},
                                     {TileGrid({6, 4, 5}, {2, 2, 5}), {3, 2, 3}},
                                     {TileGrid({4, 3, 6, 4}, {2, 3, 1, 2}), {2, 1, 3, 3}},
                                     {TileGrid({2, 5, 4, 7}, {1, 1, 4, 7}), {1, 2, 1, 4}},
                                     // Without a time, as steady problems are.
                                     {TileGrid({1, 6, 8}, {1, 3, 2}), {1, 2, 5}},
                                     {TileGrid(1, 8, 1, 4), {1, 3}}};
  return all;
}

/// Calls f(at, number) for all places of a row-major array.
template <class F>
void over(const PerAxis& shape, const F& f) {
  PerAxis at(shape.size());
  std::int64_t count = 1;
  for (const std::int64_t n : shape) count *= n;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    for (std::size_t a = shape.size(); a-- > 0; rest /= shape[a]) at[a] = rest % shape[a];
    f(at, static_cast<std::size_t>(i));
  }
}

TEST(PartialDft, MatchesTheDefinition) {
  std::mt19937 rng(1);
  for (const Case& c : cases()) {
    const auto spectrum = spectrum_of(c);
    const PerAxis& n = c.grid.points();
    Shape shape{1, 1};
    for (const std::int64_t points : n) shape.push_back(points);
    const Tensor u = random_tensor(shape, rng);
    const Tensor s = sum_over_tiles(
        analyse_tiles(testing::cut_tiles(u, TilePartition(c.grid, 1, 0)), spectrum), spectrum->sum);
    const auto modes = modes_of_waves(s, spectrum, false).to_vector();
    const auto values = u.to_vector();
    const auto half = static_cast<std::size_t>(spectrum->modes.count());
    ASSERT_EQ(modes.size(), 2 * half);
    over(PerAxis(spectrum->modes.begin(), spectrum->modes.end()), [&](PerAxis k, std::size_t mode) {
      for (std::size_t a = 0; a + 1 < k.size(); ++a)
        if (k[a] >= c.modes[a]) k[a] -= 2 * c.modes[a];
      Complex expected = 0;
      over(n, [&](const PerAxis& at, std::size_t point) {
        double turns = 0;
        for (std::size_t a = 0; a < n.size(); ++a) turns += double(k[a] * at[a]) / double(n[a]);
        expected += values[point] * std::polar(1.0, -2 * std::numbers::pi * turns);
      });
      EXPECT_NEAR(modes[mode], expected.real(), 1e-13 * double(values.size()))
          << c.grid.describe() << " mode " << mode;
      EXPECT_NEAR(modes[mode + half], expected.imag(), 1e-13 * double(values.size()));
    });
  }
}

// Exact up to roundoff, no step size.
TEST(PartialDft, PairsAreAdjoint) {
  std::mt19937 rng(2);
  for (const Case& c : cases()) {
    const auto spectrum = spectrum_of(c);
    const auto& waves = spectrum->waves<double>();
    const std::int64_t tiles = c.grid.tiles();
    const Tensor u = random_tensor(on_tiles(c.grid, 2, 3), rng);
    const Tensor s = random_tensor({tiles, 2, 3, waves.rows(), waves.columns()}, rng);
    EXPECT_NEAR(dot(analyse_tiles(u, spectrum), s).item(), dot(u, synthesise_tiles(s, spectrum)).item(),
                1e-11);
    const Tensor w = random_tensor({2, 3, waves.rows(), waves.columns()}, rng),
                 m = random_tensor({2, 3, 2, waves.modes()}, rng);
    for (const bool weighted : {false, true})
      EXPECT_NEAR(dot(modes_of_waves(w, spectrum, weighted), m).item(),
                  dot(w, waves_of_modes(m, spectrum, weighted)).item(), 1e-12);
  }
}

TEST(PartialDft, RefusesMoreModesThanPoints) {
  const auto message = [](const Case& c) -> std::string {
    try {
      spectrum_of(c);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(
      message({TileGrid(8, 8, 1, 1), {5, 3}}),
      "modes along t: 5 on 8 points; allowed are 1 to 4, half the points, because both signs are kept: take "
      "fewer modes, or more points along t");
  EXPECT_EQ(
      message({TileGrid({7, 8, 8}, {1, 1, 1}), {3, 5, 2}}),
      "modes along x: 5 on 8 points; allowed are 1 to 4, half the points, because both signs are kept: take "
      "fewer modes, or more points along x");
  EXPECT_EQ(
      message({TileGrid({8, 8, 8, 8}, {1, 1, 1, 1}), {4, 4, 4, 6}}),
      "modes along z: 6 on 8 points; allowed are 1 to 5, half the points and the mean: take fewer modes, or "
      "more points along z");
  EXPECT_EQ(message({TileGrid({1, 8, 8}, {1, 1, 1}), {2, 4, 4}}),
            "modes along t: 2 on 1 points; allowed are 1 to 1: take fewer modes, or more points along t");
  EXPECT_EQ(
      message({TileGrid(8, 8, 1, 1), {4, 0}}),
      "modes along x: 0 on 8 points; allowed are 1 to 5, half the points and the mean: take fewer modes, or "
      "more points along x");
}

TEST(ModeMixing, IsAComplexProductForEachMode) {
  std::mt19937 rng(3);
  const Tensor w = random_tensor({2, 3, 2, 5}, rng), x = random_tensor({4, 2, 2, 5}, rng);
  const auto y = mix_modes(w, x).to_vector(), pw = w.to_vector(), px = x.to_vector();
  const auto at = [](const std::vector<double>& v, std::size_t row, std::size_t k) {
    return Complex(v[row * 10 + k], v[row * 10 + 5 + k]);
  };
  for (std::size_t b = 0; b < 4; ++b)
    for (std::size_t o = 0; o < 3; ++o)
      for (std::size_t k = 0; k < 5; ++k) {
        Complex expected = 0;
        for (std::size_t i = 0; i < 2; ++i) expected += at(pw, i * 3 + o, k) * at(px, b * 2 + i, k);
        EXPECT_LT(std::abs(at(y, b * 3 + o, k) - expected), 1e-15 * 4);
      }
  expect_gradient([](const List& in) { return List{mix_modes(in[0], in[1])}; }, {w, x});
  expect_second_gradient([](const List& in) { return List{mix_modes(in[0], in[1])}; }, {w, x});
}

TEST(TileOps, CrossingsAreAdjoint) {
  std::mt19937 rng(4);
  const auto tiles = local_tile_sum(3);
  expect_gradient(
      [&](const List& x) {
        return List{sum_over_tiles(x[0], tiles), replicate_over_tiles(x[1], tiles)};
      },
      {random_tensor({3, 4}, rng), random_tensor({2, 2}, rng)});
}

class Fused : public ::testing::Test {
 protected:
  std::mt19937 rng{5};
  TileGrid grid{6, 8, 1, 2};
  SharedSpectrum spectrum = spectrum_of({grid, {2, 3}});
  Tensor random(const Shape& shape) { return random_tensor(shape, rng); }
  static void expect_equal(const List& a, const List& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto x = a[i].to_vector(), y = b[i].to_vector();
      ASSERT_EQ(x.size(), y.size());
      for (std::size_t k = 0; k < x.size(); ++k) ASSERT_NEAR(x[k], y[k], 1e-12) << "tensor " << i;
    }
  }
  // Values and gradients of two functions agree to rounding.
  static void expect_same(const Function& f, const Function& g, const List& at) {
    List xf, xg, seeds;
    for (const Tensor& x : at) {
      xf.push_back(variable(x));
      xg.push_back(variable(x));
    }
    const List yf = f(xf), yg = g(xg);
    expect_equal(yf, yg);
    std::mt19937 other(9);
    for (const Tensor& y : yf) seeds.push_back(random_tensor(y.shape(), other));
    expect_equal(grad(yf, seeds, xf), grad(yg, seeds, xg));
  }
};

TEST_F(Fused, PointwiseLinear) {
  const List at{random({2, 3, 4, 3, 4}), random({2, 5, 4}), random({2, 5})};
  const Function f = [](const List& x) { return List{pointwise_linear(x[0], x[1], x[2])}; };
  expect_gradient(f, at);
  expect_second_gradient(f, {random({1, 1, 2, 1, 3}), random({1, 2, 2}), random({1, 2})});
}

TEST_F(Fused, FourierLayer) {
  for (const bool activate : {false, true}) {
    const Function f = [&](const List& x) {
      return List{fourier_layer(x[0], x[1], x[2], x[3], activate, spectrum)};
    };
    const Function g = [&](const List& x) {
      return List{fourier_layer_composed(x[0], x[1], x[2], x[3], activate, spectrum)};
    };
    expect_same(f, g, {random({2, 2, 3, 6, 4}), random({3, 4, 2, 12}), random({2, 4, 3}), random({2, 4})});
    expect_gradient(f, {random({2, 1, 2, 6, 4}), random({2, 2, 2, 12}), random({2, 2, 2}), random({2, 2})});
    expect_second_gradient(
        f, {random({2, 1, 1, 6, 4}), random({1, 1, 2, 12}), random({2, 1, 1}), random({2, 1})}, 1e-7);
  }
}

TEST_F(Fused, FourierLayerAlongMoreAxes) {
  for (const Case& c : {Case{TileGrid({4, 2, 4}, {2, 1, 2}), {2, 1, 2}},
                        {TileGrid({2, 4, 2, 4}, {1, 2, 1, 2}), {1, 1, 1, 2}}}) {
    const SharedSpectrum along = spectrum_of(c);
    const std::int64_t tiles = c.grid.tiles(), modes = along->modes.count();
    const auto at = [&](std::int64_t batch, std::int64_t in, std::int64_t out) {
      return List{random(on_tiles(c.grid, batch, in)), random({in, out, 2, modes}), random({tiles, out, in}),
                  random({tiles, out})};
    };
    const Function f = [&](const List& x) {
      return List{fourier_layer(x[0], x[1], x[2], x[3], true, along)};
    };
    const Function g = [&](const List& x) {
      return List{fourier_layer_composed(x[0], x[1], x[2], x[3], true, along)};
    };
    expect_same(f, g, at(2, 3, 4));
    expect_gradient(f, at(1, 2, 2));
    expect_second_gradient(f, at(1, 1, 1), 1e-7);
  }
}

TEST_F(Fused, ProjectionHead) {
  const Function f = [](const List& x) { return List{projection_head(x[0], x[1], x[2], x[3], x[4])}; };
  const Function g = [](const List& x) {
    return List{projection_head_composed(x[0], x[1], x[2], x[3], x[4])};
  };
  expect_same(
      f, g, {random({1, 2, 3, 5, 61}), random({1, 6, 3}), random({1, 6}), random({1, 2, 6}), random({1, 2})});
  expect_gradient(
      f, {random({2, 1, 2, 3, 4}), random({2, 3, 2}), random({2, 3}), random({2, 2, 3}), random({2, 2})});
}

// Launches of a Fourier layer and the head, forward and backward.
std::pair<std::int64_t, std::int64_t> launches(const Case& c, std::int64_t batch, std::int64_t channels) {
  std::mt19937 rng(6);
  const SharedSpectrum spectrum = spectrum_of(c);
  const std::int64_t tiles = c.grid.tiles();
  const auto random = [&rng](const Shape& shape) { return variable(random_tensor(shape, rng)); };
  const List at{random(on_tiles(c.grid, batch, channels)),
                random({channels, channels, 2, spectrum->modes.count()}),
                random({tiles, channels, channels}),
                random({tiles, channels}),
                random({tiles, 5, channels}),
                random({tiles, 5}),
                random({tiles, 1, 5}),
                random({tiles, 1})};
  const std::int64_t before = device_counters().launches;
  const Tensor y =
      projection_head(fourier_layer(at[0], at[1], at[2], at[3], true, spectrum), at[4], at[5], at[6], at[7]);
  const std::int64_t forward = device_counters().launches;
  grad({y}, {random_tensor(y.shape(), rng)}, at);
  return {forward - before, device_counters().launches - forward};
}

TEST(Launches, DoNotDependOnTilesSamplesAndChannels) {
  // The host's threads share one sample in more launches; from a sample each on there are as many as for all.
  const std::int64_t n = std::min(backend_concurrency(), 64);
  const auto few = launches({TileGrid(6, 8, 1, 1), {2, 3}}, n, 1);
  // A body tuned for the host does several launches' work in one.
  const bool portable =
      kernels::dispatch_table[static_cast<std::size_t>(kernels::Tuned::head_forward)].portable;
  EXPECT_LE(few.first, portable ? 14 : 10);
  EXPECT_LE(few.second, portable ? 28 : 14);
  EXPECT_EQ(few, launches({TileGrid(6, 8, 1, 4), {2, 3}}, n, 1));
  EXPECT_EQ(few, launches({TileGrid(6, 8, 1, 1), {2, 3}}, 5 * n, 1));
  EXPECT_EQ(few, launches({TileGrid(12, 16, 2, 2), {2, 3}}, 3 * n, 7));
  // One more for each axis where a device, or one product after the other, makes the transforms.
  const auto more = launches({TileGrid({4, 4, 6, 8}, {1, 1, 1, 1}), {2, 2, 2, 3}}, n, 1);
  EXPECT_LE(more.first, few.first + 4);
  EXPECT_LE(more.second, few.second + 4);
  EXPECT_EQ(more, launches({TileGrid({4, 8, 6, 8}, {2, 2, 1, 4}), {1, 2, 3, 4}}, 2 * n, 3));
}

}  // namespace
}  // namespace rankine
