#include <numbers>

#include "tests/unit/nn/fno_support.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::random_tensor;
using Complex = std::complex<double>;
using Complexes = std::vector<Complex>;
using Extents = std::vector<std::size_t>;

// A textbook operator: full transforms of the whole grid by their definition, one axis after the other, and
// the modes cut out of the full spectrum as with rfftn / irfftn. It shares no code and no formula with the
// library.
Complex root(std::size_t k, std::size_t n) {
  return std::polar(1.0, 2 * std::numbers::pi * double(k % n) / double(n));
}

std::size_t product(const Extents& n, std::size_t from = 0) {
  std::size_t all = 1;
  for (std::size_t a = from; a < n.size(); ++a) all *= n[a];
  return all;
}

Complexes transform(const Complexes& in, const Extents& shape, std::size_t axis, int sign) {
  const std::size_t n = shape[axis], inner = product(shape, axis + 1);
  Complexes out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::size_t k = i / inner % n, first = i - k * inner;
    for (std::size_t x = 0; x < n; ++x) {
      const Complex w = root(k * x, n);
      out[i] += in[first + x * inner] * (sign < 0 ? std::conj(w) : w);
    }
  }
  return out;
}

// irfftn: first the inverse along all axes before the last, then each row as the half spectrum of a real one.
std::vector<double> real_inverse(Complexes half, const Extents& n) {
  const std::size_t nx = n.back(), columns = nx / 2 + 1, points = product(n);
  Extents shape = n;
  shape.back() = columns;
  for (std::size_t axis = 0; axis + 1 < n.size(); ++axis) half = transform(half, shape, axis, 1);
  std::vector<double> out(points);
  for (std::size_t i = 0; i < points; ++i) {
    const Complex* const row = half.data() + i / nx * columns;
    double value = row[0].real();
    for (std::size_t l = 1; l < columns; ++l)
      value += (2 * l == nx ? 1 : 2) * (row[l] * root(l * (i % nx), nx)).real();
    out[i] = value / double(points);
  }
  return out;
}

double gelu_of(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

using Field = std::vector<double>;  // [c][points]

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

Field textbook(const ParameterSet& p, const FnoOptions& o, Field u, const Extents& n, bool final_gelu) {
  const std::size_t points = product(n), columns = n.back() / 2 + 1, last = n.size() - 1;
  Extents kept(o.modes.begin(), o.modes.end());
  for (std::size_t a = 0; a < last; ++a) kept[a] *= 2;
  const std::size_t modes = product(kept);
  // Where a mode lies in the half spectrum, and in the full one.
  const auto place = [&](std::size_t mode, std::size_t width) {
    std::size_t at = 0;
    for (std::size_t a = 0; a <= last; ++a) {
      const std::size_t j = mode / product(kept, a + 1) % kept[a];
      at = at * (a < last ? n[a] : width) + (a == last || 2 * j < kept[a] ? j : n[a] - kept[a] + j);
    }
    return at;
  };
  const auto value = [&](const std::string& name) { return p.view(name).to_vector(); };
  u = linear(u, value("fc0.weight"), value("fc0.bias"), points);
  for (std::size_t block = 0; block + 1 < o.widths.size(); ++block) {
    const std::string name = "block" + std::to_string(block);
    const std::size_t in = std::size_t(o.widths[block]), out = std::size_t(o.widths[block + 1]);
    const auto w = value(name + ".spectral");
    std::vector<Complexes> spectra;
    for (std::size_t i = 0; i < in; ++i) {
      Complexes g(u.begin() + std::ptrdiff_t(i * points), u.begin() + std::ptrdiff_t((i + 1) * points));
      for (std::size_t axis = 0; axis <= last; ++axis) g = transform(g, n, axis, -1);
      spectra.push_back(g);
    }
    Field next = linear(u, value(name + ".conv.weight"), value(name + ".conv.bias"), points);
    for (std::size_t c = 0; c < out; ++c) {
      Complexes y(points / n.back() * columns);
      for (std::size_t mode = 0; mode < modes; ++mode)
        for (std::size_t i = 0; i < in; ++i) {
          const std::size_t at = (i * out + c) * 2 * modes + mode;
          y[place(mode, columns)] += Complex(w[at], w[at + modes]) * spectra[i][place(mode, n.back())];
        }
      const auto field = real_inverse(y, n);
      for (std::size_t k = 0; k < points; ++k) next[c * points + k] += field[k];
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

/// [batch, channels, points of the grid].
Shape whole_grid(const TileGrid& grid, std::int64_t batch, std::int64_t channels) {
  Shape shape{batch, channels};
  for (const std::int64_t n : grid.points()) shape.push_back(n);
  return shape;
}

void expect_textbook(const Fno& model, const FnoOptions& options, const TileGrid& grid, bool final_gelu,
                     std::mt19937& rng) {
  const ParameterSet parameters = model.initial_parameters(5);
  const Tensor x = random_tensor(whole_grid(grid, 2, 2), rng);
  const auto tiles = local_tile_sum(grid.tiles());
  const Tensor y = model.forward(parameters.bind(tiles), testing::cut_tiles(x, TilePartition(grid, 1, 0)));
  const auto found = testing::join_tiles(y, grid).to_vector(), input = x.to_vector();
  const Extents n(grid.points().begin(), grid.points().end());
  const std::size_t points = product(n);
  for (std::size_t b = 0; b < 2; ++b) {
    const Field sample(input.begin() + std::ptrdiff_t(b * 2 * points),
                       input.begin() + std::ptrdiff_t((b + 1) * 2 * points));
    const Field expected = textbook(parameters, options, sample, n, final_gelu);
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(found[b * expected.size() + i], expected[i], 1e-12) << grid.describe() << " at " << i;
  }
}

TEST(Fno2d, EqualsATextbookOperatorOnAnyTiles) {
  std::mt19937 rng(1);
  const Fno2dOptions options = small_options();
  for (const auto& [nt, nx, tt, tx] :
       {std::array{12, 8, 1, 1}, {12, 8, 1, 4}, {12, 8, 3, 2}, {9, 14, 1, 7}, {6, 6, 2, 3}}) {
    const TileGrid grid(nt, nx, tt, tx);
    const Fno2d model(options, testing::serial_context(grid, 2, 3, nt == 9));
    const FnoOptions same{options.widths, {options.modes_t, options.modes_x}, options.projection};
    expect_textbook(model, same, grid, nt == 9, rng);
  }
}

FnoOptions small(std::vector<int> modes) {
  return {.widths = {2, 3, 2},
          .modes = std::move(modes),
          .projection = 5,
          .spectral_gain = 1,
          .precision = "double"};
}

TEST(Fno, EqualsATextbookOperatorInTwoAndThreeSpaceAxes) {
  std::mt19937 rng(4);
  for (const auto& [grid, modes] : std::vector<std::pair<TileGrid, std::vector<int>>>{
           {TileGrid({6, 4, 8}, {1, 1, 1}), {2, 2, 3}},
           {TileGrid({6, 4, 8}, {3, 2, 4}), {3, 1, 5}},
           {TileGrid({1, 6, 9}, {1, 3, 3}), {1, 3, 4}},
           {TileGrid({4, 2, 6, 4}, {1, 1, 1, 1}), {1, 1, 2, 2}},
           {TileGrid({4, 2, 6, 5}, {2, 2, 3, 5}), {2, 1, 3, 3}}}) {
    // Along the one point there is the mode 0 alone, which the textbook takes for a pair.
    FnoOptions options = small(modes);
    const Fno model(options, testing::serial_context(grid, 2, 3, false));
    if (grid.nt() == 1) {
      const TileGrid steady({grid.points()[1], grid.points()[2]}, {grid.tiling()[1], grid.tiling()[2]});
      const Fno in_space(small({modes[1], modes[2]}), testing::serial_context(steady, 2, 3, false));
      const Tensor x = random_tensor(whole_grid(steady, 2, 2), rng);
      const auto tiles = local_tile_sum(grid.tiles());
      const auto output = [&](const Fno& of, const TileGrid& on) {
        const Tensor in = reshape(x, whole_grid(on, 2, 2));
        return of
            .forward(of.initial_parameters(5).bind(tiles), testing::cut_tiles(in, TilePartition(on, 1, 0)))
            .to_vector();
      };
      EXPECT_EQ(output(model, grid), output(in_space, steady));
      continue;
    }
    expect_textbook(model, options, grid, false, rng);
  }
}

TEST(Fno, OverTAndXIsFno2d) {
  const TileGrid grid(8, 12, 2, 3);
  const Fno2dOptions of_two = small_options();
  const Fno general({of_two.widths,
                     {of_two.modes_t, of_two.modes_x},
                     of_two.projection,
                     of_two.spectral_gain,
                     of_two.precision},
                    testing::serial_context(grid, 2, 3));
  const Fno2d two(of_two, testing::serial_context(grid, 2, 3));
  const ParameterSet parameters = two.initial_parameters(3);
  EXPECT_EQ(general.initial_parameters(3).flat().to_vector(), parameters.flat().to_vector());
  std::mt19937 rng(6);
  const Tensor x = random_tensor({6, 1, 2, 4, 4}, rng);
  const BoundParameters bound = parameters.bind(local_tile_sum(6));
  EXPECT_EQ(general.forward(bound, x).to_vector(), two.forward(bound, x).to_vector());
}

TEST(Fno, GradientOfTheWholeNetworkInTwoAndThreeSpaceAxes) {
  std::mt19937 rng(7);
  for (const auto& [grid, modes] : std::vector<std::pair<TileGrid, std::vector<int>>>{
           {TileGrid({4, 4, 6}, {2, 1, 2}), {1, 2, 2}},
           {TileGrid({2, 4, 2, 4}, {1, 2, 1, 2}), {1, 1, 1, 2}}}) {
    FnoOptions options = small(modes);
    options.widths = {2, 1, 2};
    const Fno model(options, testing::serial_context(grid, 1, 2, true));
    const ParameterSet parameters = model.initial_parameters(1);
    const auto tiles = local_tile_sum(grid.tiles());
    const Tensor x =
        testing::cut_tiles(random_tensor(whole_grid(grid, 1, 1), rng), TilePartition(grid, 1, 0));
    testing::expect_gradient(
        [&](const std::vector<Tensor>& in) {
          return std::vector<Tensor>{model.forward(parameters.with_values(in[0]).bind(tiles), in[1])};
        },
        {parameters.flat(), x});
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

TEST(Fno, RefusesModesThatDoNotFitTheGrid) {
  const auto message = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  const ModelContext plane = testing::serial_context(TileGrid({4, 8, 8}, {1, 1, 1}), 2, 3);
  EXPECT_THROW(Fno2d(small_options(), testing::serial_context(TileGrid(4, 8, 1, 1), 2, 3)), InputError);
  EXPECT_EQ(
      message([&] { Fno2d(small_options(), plane); }),
      "fno2d: it is for t and x, and the grid has the axes t, x, y; take fno with modes: [..], a number for "
      "each");
  EXPECT_EQ(message([&] {
              Fno(small({2, 3}), plane);
            }),
            "modes: 2 numbers, and the grid has the axes t, x, y; give one for each");
  EXPECT_EQ(
      message([&] {
        Fno(small({2, 5, 3}), plane);
      }),
      "modes along x: 5 on 8 points; allowed are 1 to 4, half the points, because both signs are kept: take "
      "fewer modes, or more points along x");
}

}  // namespace
}  // namespace rankine
