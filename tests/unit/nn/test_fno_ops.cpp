#include <algorithm>
#include <numbers>

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
  std::int64_t modes_t, modes_x;
};

SharedSpectrum spectrum_of(const Case& c) {
  return std::make_shared<TileSpectrum>(TilePartition(c.grid, 1, 0), local_tile_sum(c.grid.tiles()),
                                        c.modes_t, c.modes_x);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{{TileGrid(6, 8, 1, 1), 2, 3},
                                     {TileGrid(6, 8, 2, 4), 3, 5},  // all modes, Nyquist included
                                     {TileGrid(9, 10, 3, 2), 4, 6},
                                     {TileGrid(5, 7, 1, 7), 2, 4}};
  return all;
}

TEST(PartialDft, MatchesTheDefinition) {
  std::mt19937 rng(1);
  for (const Case& c : cases()) {
    const auto spectrum = spectrum_of(c);
    const std::int64_t nt = c.grid.nt(), nx = c.grid.nx();
    const Tensor u = random_tensor({1, 1, nt, nx}, rng);
    const Tensor s = sum_over_tiles(
        analyse_tiles(testing::cut_tiles(u, TilePartition(c.grid, 1, 0)), spectrum), spectrum->sum);
    const auto modes = modes_of_waves(s, spectrum, false).to_vector();
    const auto values = u.to_vector();
    const std::int64_t half = 2 * c.modes_t * c.modes_x;
    for (std::int64_t row = 0; row < 2 * c.modes_t; ++row) {
      const std::int64_t k = row < c.modes_t ? row : row - 2 * c.modes_t;
      for (std::int64_t l = 0; l < c.modes_x; ++l) {
        Complex expected = 0;
        for (std::int64_t t = 0; t < nt; ++t)
          for (std::int64_t x = 0; x < nx; ++x)
            expected += values[static_cast<std::size_t>(t * nx + x)] *
                        std::polar(1.0, -2 * std::numbers::pi *
                                            (double(k * t) / double(nt) + double(l * x) / double(nx)));
        const auto at = static_cast<std::size_t>(row * c.modes_x + l);
        EXPECT_NEAR(modes[at], expected.real(), 1e-13 * double(nt * nx))
            << c.grid.describe() << " mode " << k << ", " << l;
        EXPECT_NEAR(modes[at + static_cast<std::size_t>(half)], expected.imag(), 1e-13 * double(nt * nx));
      }
    }
  }
}

// Exact up to roundoff, no step size.
TEST(PartialDft, PairsAreAdjoint) {
  std::mt19937 rng(2);
  for (const Case& c : cases()) {
    const auto spectrum = spectrum_of(c);
    const auto& waves = spectrum->waves<double>();
    const std::int64_t tiles = c.grid.tiles();
    const Tensor u = random_tensor({tiles, 2, 3, c.grid.tile_nt(), c.grid.tile_nx()}, rng);
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
  EXPECT_THROW(kernels::PartialDft<double>(7, 8, 4, 3), InputError);
  EXPECT_THROW(kernels::PartialDft<double>(8, 8, 4, 6), InputError);
  try {
    kernels::PartialDft<float>(8, 8, 5, 3);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "5 modes of both signs in t on 8 points; allowed are 1 to 4");
  }
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
  SharedSpectrum spectrum = spectrum_of({grid, 2, 3});
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
std::pair<std::int64_t, std::int64_t> launches(const TileGrid& grid, std::int64_t batch,
                                               std::int64_t channels) {
  std::mt19937 rng(6);
  const SharedSpectrum spectrum = spectrum_of({grid, 2, 3});
  const std::int64_t tiles = grid.tiles();
  const auto random = [&rng](const Shape& shape) { return variable(random_tensor(shape, rng)); };
  const List at{random({tiles, batch, channels, grid.tile_nt(), grid.tile_nx()}),
                random({channels, channels, 2, 12}),
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
  const auto few = launches(TileGrid(6, 8, 1, 1), n, 1);
  EXPECT_LE(few.first, 10);
  EXPECT_LE(few.second, 14);
  EXPECT_EQ(few, launches(TileGrid(6, 8, 1, 4), n, 1));
  EXPECT_EQ(few, launches(TileGrid(6, 8, 1, 1), 5 * n, 1));
  EXPECT_EQ(few, launches(TileGrid(12, 16, 2, 2), 3 * n, 7));
}

}  // namespace
}  // namespace rankine
