#include <numbers>

#include "tests/unit/nn/fno_support.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::random_tensor;
using Complex = std::complex<double>;
using Grid = std::vector<std::vector<Complex>>;  // [t][x]

// A textbook operator: full transforms of the whole grid by their definition, one axis after the other, and
// the modes cut out of the full spectrum as with rfftn / irfftn. It shares no code and no formula with the
// library.
Complex root(std::int64_t k, std::int64_t n) {
  return std::polar(1.0, 2 * std::numbers::pi * double(k % n) / double(n));
}

Grid transform(const Grid& in, int sign) {
  const std::size_t nt = in.size(), nx = in[0].size();
  Grid half(nt, std::vector<Complex>(nx)), out = half;
  for (std::size_t t = 0; t < nt; ++t)
    for (std::size_t k = 0; k < nx; ++k)
      for (std::size_t x = 0; x < nx; ++x) {
        const Complex w = root(std::int64_t(k * x), std::int64_t(nx));
        half[t][k] += in[t][x] * (sign < 0 ? std::conj(w) : w);
      }
  for (std::size_t k = 0; k < nt; ++k)
    for (std::size_t t = 0; t < nt; ++t) {
      const Complex w = root(std::int64_t(k * t), std::int64_t(nt));
      for (std::size_t x = 0; x < nx; ++x) out[k][x] += half[t][x] * (sign < 0 ? std::conj(w) : w);
    }
  return out;
}

// irfftn along (t, x): first the inverse along t, then each row as the half spectrum of a real one.
std::vector<std::vector<double>> real_inverse(const Grid& half_spectrum, std::size_t nx) {
  const std::size_t nt = half_spectrum.size(), columns = half_spectrum[0].size();
  std::vector<std::vector<double>> out(nt, std::vector<double>(nx, 0));
  for (std::size_t t = 0; t < nt; ++t) {
    std::vector<Complex> row(columns);
    for (std::size_t k = 0; k < nt; ++k)
      for (std::size_t l = 0; l < columns; ++l)
        row[l] += half_spectrum[k][l] * root(std::int64_t(k * t), std::int64_t(nt));
    for (std::size_t x = 0; x < nx; ++x) {
      double value = row[0].real();
      for (std::size_t l = 1; l < columns; ++l) {
        const bool nyquist = 2 * l == nx;
        value += (nyquist ? 1 : 2) * (row[l] * root(std::int64_t(l * x), std::int64_t(nx))).real();
      }
      out[t][x] = value / double(nt * nx);
    }
  }
  return out;
}

double gelu_of(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

using Field = std::vector<double>;  // [c][t][x]

Field linear(const Field& u, const std::vector<double>& w, const std::vector<double>& b, std::size_t points) {
  const std::size_t in = u.size() / points, out = b.size();
  Field y(out * points);
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t p = 0; p < points; ++p) {
      double sum = b[o];
      for (std::size_t i = 0; i < in; ++i) sum += w[o * in + i] * u[i * points + p];
      y[o * points + p] = sum;
    }
  return y;
}

void activate(Field& u) {
  for (double& x : u) x = gelu_of(x);
}

Field textbook(const ParameterSet& p, const Fno2dOptions& o, Field u, std::size_t nt, std::size_t nx,
               bool final_gelu) {
  const std::size_t points = nt * nx, columns = nx / 2 + 1, mt = std::size_t(o.modes_t),
                    mx = std::size_t(o.modes_x);
  const auto value = [&](const std::string& name) { return p.view(name).to_vector(); };
  u = linear(u, value("fc0.weight"), value("fc0.bias"), points);
  for (std::size_t block = 0; block + 1 < o.widths.size(); ++block) {
    const std::string name = "block" + std::to_string(block);
    const std::size_t in = std::size_t(o.widths[block]), out = std::size_t(o.widths[block + 1]),
                      modes = 2 * mt * mx;
    const auto w = value(name + ".spectral");
    std::vector<Grid> spectra;
    for (std::size_t i = 0; i < in; ++i) {
      Grid g(nt, std::vector<Complex>(nx));
      for (std::size_t k = 0; k < points; ++k) g[k / nx][k % nx] = u[i * points + k];
      spectra.push_back(transform(g, -1));
    }
    Field next = linear(u, value(name + ".conv.weight"), value(name + ".conv.bias"), points);
    for (std::size_t c = 0; c < out; ++c) {
      Grid y(nt, std::vector<Complex>(columns));
      for (std::size_t row = 0; row < 2 * mt; ++row) {
        const std::size_t k = row < mt ? row : nt - 2 * mt + row;
        for (std::size_t l = 0; l < mx; ++l)
          for (std::size_t i = 0; i < in; ++i) {
            const std::size_t at = (i * out + c) * 2 * modes + row * mx + l;
            y[k][l] += Complex(w[at], w[at + modes]) * spectra[i][k][l];
          }
      }
      const auto field = real_inverse(y, nx);
      for (std::size_t k = 0; k < points; ++k) next[c * points + k] += field[k / nx][k % nx];
    }
    activate(next);
    u = next;
  }
  u = linear(u, value("fc1.weight"), value("fc1.bias"), points);
  activate(u);
  u = linear(u, value("fc2.weight"), value("fc2.bias"), points);
  if (final_gelu) activate(u);
  return u;
}

Fno2dOptions small_options() {
  Fno2dOptions o;
  o.widths = {3, 4, 5, 2};
  o.modes_t = 3;
  o.modes_x = 4;
  o.projection = 7;
  o.spectral_gain = 1;
  o.precision = "double";
  return o;
}

TEST(Fno2d, EqualsATextbookOperatorOnAnyTiles) {
  std::mt19937 rng(1);
  Fno2dOptions options = small_options();
  for (const auto& [nt, nx, tt, tx] :
       {std::array{12, 8, 1, 1}, {12, 8, 1, 4}, {12, 8, 3, 2}, {9, 14, 1, 7}, {6, 6, 2, 3}}) {
    const TileGrid grid(nt, nx, tt, tx);
    const Fno2d model(options, testing::serial_context(grid, 2, 3, nt == 9));
    const ParameterSet parameters = model.initial_parameters(5);
    const Tensor x = random_tensor({2, 2, nt, nx}, rng);
    const auto tiles = local_tile_sum(grid.tiles());
    const Tensor y = model.forward(parameters.bind(tiles), testing::cut_tiles(x, TilePartition(grid, 1, 0)));
    const auto found = testing::join_tiles(y, grid).to_vector(), input = x.to_vector();
    const std::size_t points = std::size_t(nt * nx);
    for (std::size_t b = 0; b < 2; ++b) {
      const Field sample(input.begin() + std::ptrdiff_t(b * 2 * points),
                         input.begin() + std::ptrdiff_t((b + 1) * 2 * points));
      const Field expected = textbook(parameters, options, sample, std::size_t(nt), std::size_t(nx), nt == 9);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(found[b * expected.size() + i], expected[i], 1e-12) << grid.describe() << " at " << i;
    }
  }
}

TEST(Fno2d, GradientOfTheWholeNetwork) {
  std::mt19937 rng(2);
  const TileGrid grid(6, 8, 1, 2);
  Fno2dOptions options = small_options();
  options.widths = {2, 3, 2};
  const Fno2d model(options, testing::serial_context(grid, 2, 2, true));
  const ParameterSet parameters = model.initial_parameters(1);
  const auto tiles = local_tile_sum(grid.tiles());
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) {
        return std::vector<Tensor>{model.forward(parameters.with_values(in[0]).bind(tiles), in[1])};
      },
      {parameters.flat(), random_tensor({2, 2, 2, 6, 4}, rng)});
}

TEST(Fno2d, FloatFollowsDouble) {
  std::mt19937 rng(3);
  const TileGrid grid(40, 64, 1, 4);
  Fno2dOptions options;
  std::vector<std::vector<double>> outputs, gradients;
  const Tensor x = random_tensor({4, 2, 3, 40, 16}, rng);
  for (const char* precision : {"float", "double"}) {
    options.precision = precision;
    const Fno2d model(options, testing::serial_context(grid, 3, 8, true));
    const ParameterSet parameters = model.initial_parameters(1);
    const BoundParameters bound = parameters.bind(local_tile_sum(4));
    const Tensor y = cast(model.forward(bound, x), DType::f64);
    outputs.push_back(y.to_vector());
    gradients.push_back(grad({mean(square(y))}, {}, {bound.flat()})[0].to_vector());
  }
  const auto relative = [](const std::vector<double>& a, const std::vector<double>& b) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      norm += b[i] * b[i];
    }
    return std::sqrt(difference / norm);
  };
  EXPECT_LT(relative(outputs[0], outputs[1]), 1e-6);
  EXPECT_LT(relative(gradients[0], gradients[1]), 1e-5);
}

TEST(Fno2d, HooksSeeEveryBlock) {
  const TileGrid grid(8, 8, 1, 2);
  Fno2dOptions options = small_options();
  Fno2d model(options, testing::serial_context(grid, 1, 1));
  std::vector<std::string> names;
  model.set_hook([&](const std::string& name, const Tensor& value) {
    names.push_back(name + " " + value.shape().text());
    return Tensor();
  });
  model.forward(model.initial_parameters(1).bind(local_tile_sum(2)),
                Tensor::zeros({2, 1, 1, 8, 4}, DType::f64));
  EXPECT_EQ(names, (std::vector<std::string>{"fc0 [2, 1, 3, 8, 4]", "block0 [2, 1, 4, 8, 4]",
                                             "block1 [2, 1, 5, 8, 4]", "block2 [2, 1, 2, 8, 4]",
                                             "fc2 [2, 1, 1, 8, 4]"}));
}

TEST(Fno2d, ParametersDependOnTheSeedAlone) {
  const Fno2d one(small_options(), testing::serial_context(TileGrid(8, 8, 1, 1), 2, 3));
  const Fno2d four(small_options(), testing::serial_context(TileGrid(16, 8, 2, 2), 2, 3));
  EXPECT_EQ(one.initial_parameters(4).flat().to_vector(), four.initial_parameters(4).flat().to_vector());
  EXPECT_NE(one.initial_parameters(4).flat().to_vector(), one.initial_parameters(5).flat().to_vector());
}

TEST(Fno2d, RefusesMoreModesThanPoints) {
  EXPECT_THROW(Fno2d(small_options(), testing::serial_context(TileGrid(4, 8, 1, 1), 2, 3)), InputError);
}

}  // namespace
}  // namespace rankine
