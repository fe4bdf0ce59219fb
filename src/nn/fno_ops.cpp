#include "src/nn/fno_ops.hpp"

#include <utility>

#include "kernels/elementwise.hpp"
#include "kernels/fourier.hpp"
#include "kernels/product.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

static_assert(max_axes == kernels::kGridAxes);

TileSpectrum::TileSpectrum(const TilePartition& partition, SharedTileSum tile_sum, const PerAxis& wanted)
    : tiles(partition.local_tiles()), tile(partition.grid().tile_shape()), sum(std::move(tile_sum)) {
  const TileGrid& grid = partition.grid();
  RANKINE_ASSERT(
      static_cast<int>(wanted.size()) == grid.axes(),
      "modes along " + std::to_string(wanted.size()) + " of " + std::to_string(grid.axes()) + " axes");
  // The transform leaves axes of one point out: what lies along them is its own mean.
  std::vector<PerAxis> origins(static_cast<std::size_t>(tiles));
  PerAxis points, kept, tile_points;
  for (int axis = 0; axis < grid.axes(); ++axis) {
    const std::int64_t n = grid.points()[axis], m = wanted[axis];
    const bool last = axis + 1 == grid.axes(), alone = n == 1 && !last;
    const std::int64_t most = alone ? 1 : last ? n / 2 + 1 : n / 2;
    if (m < 1 || m > most)
      throw InputError("modes along " + std::string(axis_name(axis)) + ": " + std::to_string(m) + " on " +
                       std::to_string(n) + " points; allowed are 1 to " + std::to_string(most) +
                       (alone  ? ""
                        : last ? ", half the points and the mean"
                               : ", half the points, because both signs are kept") +
                       ": take fewer modes, or more points along " + axis_name(axis));
    modes.push_back(last || alone ? m : 2 * m);
    if (alone) continue;
    points.push_back(n);
    kept.push_back(m);
    tile_points.push_back(grid.tile_shape()[axis]);
    for (std::int64_t l = 0; l < tiles; ++l)
      origins[static_cast<std::size_t>(l)].push_back(grid.extent(partition.begin() + l).begin[axis]);
  }
  prepare(kernels::PartialDft<float>(points, kept), origins, tile_points, single_tables_, single_);
  prepare(kernels::PartialDft<double>(points, kept), origins, tile_points, double_tables_, double_);
}

template <class T>
void TileSpectrum::prepare(const kernels::PartialDft<T>& dft, const std::vector<PerAxis>& origins,
                           const PerAxis& points, Tensor& tables, kernels::TileWaves<T>& waves) {
  const std::vector<T> values = dft.tables(origins, points);
  const Uncounted scope;
  tables = Tensor::from(values, {static_cast<std::int64_t>(values.size())});
  waves = dft.tables_at(tables.data<T>(), tiles, points);
}

template <>
const kernels::TileWaves<float>& TileSpectrum::waves<float>() const {
  return single_;
}
template <>
const kernels::TileWaves<double>& TileSpectrum::waves<double>() const {
  return double_;
}

namespace {

using List = std::vector<Tensor>;

// [L, B, C, ...] as numbers.
struct Extents {
  std::int64_t tiles, batch, channels, points;
};
Extents extents_of(const Tensor& u, const char* what) {
  RANKINE_ASSERT(
      u.rank() >= 4,
      std::string(what) + ": activations are [tile, batch, channel, points ...], not " + u.shape().text());
  return {u.shape()[0], u.shape()[1], u.shape()[2], extents(u.shape(), 3)};
}

Shape with_channels(const Tensor& u, std::int64_t channels) {
  Shape shape = u.shape();
  shape[2] = channels;
  return shape;
}

/// What each tile has of a parameter [L, ...], which is mostly a view with stride 0 along L.
struct OnTiles {
  explicit OnTiles(const Tensor& x) : values(dense_slices(x)) {}
  template <class T>
  kernels::TileValues<T> of() const {
    return {values.data<T>(), values.strides()[0]};
  }
  Tensor values;
};

void check_linear(const Tensor& u, const Tensor& weight, const Tensor& bias, const char* what) {
  RANKINE_ASSERT(weight.rank() == 3 && weight.shape()[0] == u.shape()[0] &&
                     weight.shape()[2] == u.shape()[2] &&
                     bias.shape() == (Shape{u.shape()[0], weight.shape()[1]}) &&
                     weight.dtype() == u.dtype() && bias.dtype() == u.dtype(),
                 std::string(what) + ": activations " + u.shape().text() + ", weight " +
                     weight.shape().text() + ", bias " + bias.shape().text());
}

/// Memory for one launch or two.
template <class T>
class Work {
 public:
  explicit Work(std::int64_t count) : memory_(Tensor::empty({count}, dtype_of<T>)) {}
  operator DevicePtr<T>() const { return memory_.data<T>(); }

 private:
  Tensor memory_;
};

double flops_of_products(const Extents& e, std::int64_t out) {
  return 2.0 * static_cast<double>(e.tiles * e.batch * e.points) * static_cast<double>(e.channels) *
         static_cast<double>(out);
}

// [L, B, C, ...] summed over all tiles of the run: [B, C, ...].
template <class T>
Tensor sum_of_tiles(const TileSpectrum& spectrum, const Tensor& x) {
  Shape shape = x.shape();
  shape.erase(0);
  const Tensor sum = Tensor::empty(shape, x.dtype());
  spectrum.sum->sum<T>(x.data<T>(), sum.count(), sum.data<T>());
  return sum;
}

// The waves of u [L, B, C, ...], row-major, over all tiles: [B, C, rows, columns].
template <class T>
Tensor waves_of(const TileSpectrum& spectrum, const Extents& e, const Tensor& u) {
  const auto& waves = spectrum.waves<T>();
  const Tensor of_tiles =
      Tensor::empty({e.tiles, e.batch, e.channels, waves.rows(), waves.columns()}, u.dtype());
  {
    const Work<T> work(kernels::transform_work(waves, e.batch, e.channels));
    kernels::analyse<T>(waves, e.batch, e.channels, u.data<T>(), of_tiles.data<T>(), work);
  }
  return sum_of_tiles<T>(spectrum, of_tiles);
}

/// [L, B, C, ...] on the tiles of a spectrum.
Shape on_tiles(const TileSpectrum& spectrum, std::int64_t batch, std::int64_t channels) {
  Shape shape{spectrum.tiles, batch, channels};
  for (const std::int64_t n : spectrum.tile) shape.push_back(n);
  return shape;
}

void check_spectrum(const Tensor& u, const TileSpectrum& spectrum, const char* what) {
  RANKINE_ASSERT(u.shape() == on_tiles(spectrum, u.shape()[1], u.shape()[2]),
                 std::string(what) + ": activations " + u.shape().text() + " do not fit the tiles");
}

}  // namespace

Tensor analyse_tiles(const Tensor& u, const SharedSpectrum& spectrum) {
  const Region<"analyse_tiles"> region;
  const Extents e = extents_of(u, "analyse_tiles");
  check_spectrum(u, *spectrum, "analyse_tiles");
  const Tensor in = dense(u);
  Tensor s;
  dispatch_real(u.dtype(), "analyse_tiles", [&](auto zero) {
    using T = decltype(zero);
    const auto& waves = spectrum->waves<T>();
    s = Tensor::empty({e.tiles, e.batch, e.channels, waves.rows(), waves.columns()}, u.dtype());
    const Work<T> work(kernels::transform_work(waves, e.batch, e.channels));
    kernels::analyse<T>(waves, e.batch, e.channels, in.data<T>(), s.data<T>(), work);
  });
  return apply_op(
      "analyse_tiles", {u}, s,
      [spectrum](const auto& g, const auto&) { return List{synthesise_tiles(g[0], spectrum)}; },
      {.cost = {spectrum->waves<double>().flops(e.batch, e.channels), bytes_of(in) + bytes_of(s)}});
}

Tensor synthesise_tiles(const Tensor& s, const SharedSpectrum& spectrum) {
  const Region<"synthesise_tiles"> region;
  const Tensor in = dense(s);
  const Tensor u = Tensor::empty(on_tiles(*spectrum, s.shape()[1], s.shape()[2]), s.dtype());
  const Extents e = extents_of(u, "synthesise_tiles");
  check_spectrum(u, *spectrum, "synthesise_tiles");
  dispatch_real(s.dtype(), "synthesise_tiles", [&](auto zero) {
    using T = decltype(zero);
    const auto& waves = spectrum->waves<T>();
    const Work<T> work(kernels::transform_work(waves, e.batch, e.channels));
    kernels::synthesise<T>(waves, e.batch, e.channels, in.data<T>(),
                           e.batch * e.channels * waves.rows() * waves.columns(), T(0), u.data<T>(), work);
  });
  return apply_op(
      "synthesise_tiles", {s}, u,
      [spectrum](const auto& g, const auto&) { return List{analyse_tiles(g[0], spectrum)}; },
      {.cost = {spectrum->waves<double>().flops(e.batch, e.channels), bytes_of(in) + bytes_of(u)}});
}

Tensor modes_of_waves(const Tensor& s, const SharedSpectrum& spectrum, bool weighted) {
  const Region<"modes_of_waves"> region;
  const Tensor in = dense(s);
  const std::int64_t channels = s.shape()[0] * s.shape()[1];
  Tensor modes;
  dispatch_real(s.dtype(), "modes_of_waves", [&](auto zero) {
    using T = decltype(zero);
    const auto& waves = spectrum->waves<T>();
    modes = Tensor::empty({s.shape()[0], s.shape()[1], 2, waves.modes()}, s.dtype());
    kernels::to_modes<T>(waves, channels, in.data<T>(), modes.data<T>(), weighted);
  });
  return apply_op("modes_of_waves", {s}, modes,
                  [spectrum, weighted](const auto& g, const auto&) {
                    return List{waves_of_modes(g[0], spectrum, weighted)};
                  },
                  {.cost = {static_cast<double>(s.count()), 2 * bytes_of(s)}});
}

Tensor waves_of_modes(const Tensor& modes, const SharedSpectrum& spectrum, bool weighted) {
  const Region<"waves_of_modes"> region;
  const Tensor in = dense(modes);
  const std::int64_t channels = modes.shape()[0] * modes.shape()[1];
  Tensor s;
  dispatch_real(modes.dtype(), "waves_of_modes", [&](auto zero) {
    using T = decltype(zero);
    const auto& waves = spectrum->waves<T>();
    s = Tensor::empty({modes.shape()[0], modes.shape()[1], waves.rows(), waves.columns()}, modes.dtype());
    kernels::from_modes<T>(waves, channels, in.data<T>(), s.data<T>(), weighted);
  });
  return apply_op("waves_of_modes", {modes}, s,
                  [spectrum, weighted](const auto& g, const auto&) {
                    return List{modes_of_waves(g[0], spectrum, weighted)};
                  },
                  {.cost = {static_cast<double>(modes.count()), 2 * bytes_of(modes)}});
}

namespace {

// The conjugate of modes [.., 2, k] kept as pairs of real arrays.
Tensor conjugate_modes(const Tensor& x) { return concat({slice(x, 2, 0, 1), neg(slice(x, 2, 1, 2))}, 2); }

}  // namespace

Tensor mix_modes(const Tensor& w, const Tensor& x) {
  const Region<"mix_modes"> region;
  const kernels::ModeMixing shape{x.shape()[0], x.shape()[1], w.shape()[1], x.shape()[3]};
  RANKINE_ASSERT(w.shape() == (Shape{shape.in, shape.out, 2, shape.modes}) && x.shape()[2] == 2,
                 "mix_modes: weights " + w.shape().text() + ", modes " + x.shape().text());
  const Tensor dw = dense(w), dx = dense(x);
  Tensor y = Tensor::empty({shape.batch, shape.out, 2, shape.modes}, x.dtype());
  dispatch_real(x.dtype(), "mix_modes", [&](auto zero) {
    using T = decltype(zero);
    kernels::mix_modes<T>(shape, dw.data<T>(), dx.data<T>(), y.data<T>());
  });
  const double flops = 8.0 * static_cast<double>(shape.batch * shape.in * shape.out * shape.modes);
  return apply_op("mix_modes", {w, x}, y,
                  [w, x](const auto& g, const auto& context) {
                    // Both cotangents are mixings again, with two of the indices exchanged.
                    List back(2);
                    if (context.needs(0)) back[0] = mix_modes(g[0], transpose(conjugate_modes(x), 0, 1));
                    if (context.needs(1)) back[1] = mix_modes(transpose(conjugate_modes(w), 0, 1), g[0]);
                    return back;
                  },
                  {.cost = {flops, bytes_of(w) + bytes_of(x) + bytes_of(y)}});
}

// --- pointwise linear ---

namespace {

// Gradients [L, out, in] and [L, out] of a weight and a bias: for each tile the sum of what its samples give.
template <class T>
struct LinearGradients {
  LinearGradients(const Extents& e, std::int64_t out, DType type)
      : extents(e),
        count(out * e.channels),
        out_count(out),
        weight_parts(Tensor::empty({e.tiles, e.batch, out, e.channels}, type)),
        bias_parts(Tensor::empty({e.tiles, e.batch, out}, type)) {}
  void sum(Tensor& weight, Tensor& bias) const {
    weight = Tensor::empty({extents.tiles, out_count, extents.channels}, weight_parts.dtype());
    bias = Tensor::empty({extents.tiles, out_count}, weight_parts.dtype());
    kernels::sum_parts<T>("linear.sum_parts", extents.tiles, extents.batch,
                          {{weight_parts.data<T>(), weight.data<T>(), count},
                           {bias_parts.data<T>(), bias.data<T>(), out_count}});
  }
  Extents extents;
  std::int64_t count, out_count;
  Tensor weight_parts, bias_parts;
};

}  // namespace

Tensor pointwise_linear(const Tensor& u, const Tensor& weight, const Tensor& bias) {
  const Region<"pointwise_linear"> region;
  const Extents e = extents_of(u, "pointwise_linear");
  check_linear(u, weight, bias, "pointwise_linear");
  const std::int64_t out = weight.shape()[1];
  const kernels::PointwiseShape shape{e.tiles, e.batch, e.channels, out, e.points};
  const Tensor in = dense(u);
  Tensor y = Tensor::empty(with_channels(u, out), u.dtype());
  dispatch_real(u.dtype(), "pointwise_linear", [&](auto zero) {
    using T = decltype(zero);
    const OnTiles w(weight), b(bias);
    kernels::pointwise_forward<T>({shape, in.data<T>(), w.of<T>(), b.of<T>(), {}, y.data<T>()}, {}, {});
  });
  const auto vjp = [u, weight, e, out, shape](const List& g, const VjpContext& context) -> List {
    List back(3);
    if (context.create_graph()) {
      const Tensor flat_u = reshape(u, {e.tiles, e.batch, e.channels, e.points});
      const Tensor flat_g = reshape(g[0], {e.tiles, e.batch, out, e.points});
      const Tensor w = reshape(weight, {e.tiles, 1, out, e.channels});
      back[0] = reshape(matmul(transpose(w, -1, -2), flat_g), u.shape());
      back[1] = sum(matmul(flat_g, transpose(flat_u, -1, -2)), {1});
      back[2] = sum(flat_g, {1, 3});
      return back;
    }
    const Tensor from = dense(g[0]), in = dense(u);
    count_cost("pointwise_linear_backward",
               {flops_of_products(e, out) * (context.needs(0) ? 2 : 1), 2 * bytes_of(in) + bytes_of(from)});
    dispatch_real(u.dtype(), "pointwise_linear", [&](auto zero) {
      using T = decltype(zero);
      const OnTiles w(weight);
      const LinearGradients<T> gradients(e, out, u.dtype());
      if (context.needs(0)) back[0] = Tensor::empty(u.shape(), u.dtype());
      const kernels::PointwiseBackward<T> b{
          .shape = shape,
          .activate = false,
          .z = in.data<T>(),
          .dy = from.data<T>(),
          .weight = w.of<T>(),
          .waves = {},
          .dz = context.needs(0) ? back[0].data<T>() : nullptr,
          .weight_parts = gradients.weight_parts.template data<T>(),
          .bias_parts = gradients.bias_parts.template data<T>(),
      };
      kernels::pointwise_backward<T>(b, {}, Work<T>(kernels::pointwise_backward_work<T>(b, {})));
      gradients.sum(back[1], back[2]);
    });
    return back;
  };
  return apply_op("pointwise_linear", {u, weight, bias}, y, vjp,
                  {.cost = {flops_of_products(e, out), bytes_of(in) + bytes_of(y)}});
}

// --- the Fourier layer ---

Tensor fourier_layer_composed(const Tensor& z, const Tensor& spectral, const Tensor& weight,
                              const Tensor& bias, bool activate, const SharedSpectrum& spectrum) {
  const Tensor a = activate ? gelu(z) : z;
  const Tensor waves = sum_over_tiles(analyse_tiles(a, spectrum), spectrum->sum);
  const Tensor mixed = mix_modes(spectral, modes_of_waves(waves, spectrum, false));
  const Tensor back = replicate_over_tiles(waves_of_modes(mixed, spectrum, true), spectrum->sum);
  return add(pointwise_linear(a, weight, bias), synthesise_tiles(back, spectrum));
}

Tensor fourier_layer(const Tensor& z, const Tensor& spectral, const Tensor& weight, const Tensor& bias,
                     bool activate, const SharedSpectrum& spectrum) {
  const Region<"fourier_layer"> region;
  const Extents e = extents_of(z, "fourier_layer");
  check_linear(z, weight, bias, "fourier_layer");
  check_spectrum(z, *spectrum, "fourier_layer");
  const std::int64_t out = weight.shape()[1];
  const Extents on_output{e.tiles, e.batch, out, e.points};
  const kernels::PointwiseShape shape{e.tiles, e.batch, e.channels, out, e.points};
  Tensor y = Tensor::empty(with_channels(z, out), z.dtype());
  Tensor modes;  // of the activated input, replicated
  Cost cost;
  dispatch_real(z.dtype(), "fourier_layer", [&](auto zero) {
    using T = decltype(zero);
    const auto& waves = spectrum->waves<T>();
    RANKINE_ASSERT(
        spectral.shape() == (Shape{e.channels, out, 2, waves.modes()}) && spectral.dtype() == z.dtype(),
        "fourier_layer: spectral weights " + spectral.shape().text());
    const OnTiles w(weight), b(bias);
    Tensor a = dense(z);
    if (activate) {
      const Tensor active = Tensor::empty(z.shape(), z.dtype());
      kernels::gelu<T>(a.count(), a.data<T>(), active.data<T>());
      a = active;
    }
    modes = Tensor::empty({e.batch, e.channels, 2, waves.modes()}, z.dtype());
    kernels::to_modes<T>(waves, e.batch * e.channels, waves_of<T>(*spectrum, e, a).template data<T>(),
                         modes.data<T>(), false);
    const Tensor mixed = Tensor::empty({e.batch, out, 2, waves.modes()}, z.dtype());
    const Tensor mixer = dense(spectral);
    kernels::mix_modes<T>({e.batch, e.channels, out, waves.modes()}, mixer.data<T>(), modes.data<T>(),
                          mixed.data<T>());
    const Tensor back = Tensor::empty({e.batch, out, waves.rows(), waves.columns()}, z.dtype());
    kernels::from_modes<T>(waves, e.batch * out, mixed.data<T>(), back.data<T>(), true);

    const kernels::PointwiseForward<T> f{shape,     a.data<T>(),    w.of<T>(),
                                         b.of<T>(), back.data<T>(), y.data<T>()};
    kernels::pointwise_forward<T>(f, waves, Work<T>(kernels::pointwise_forward_work(f, waves)));
    const double transforms = spectrum->waves<double>().flops(e.batch, e.channels) +
                              spectrum->waves<double>().flops(on_output.batch, on_output.channels);
    cost = {flops_of_products(e, out) + transforms +
                8.0 * static_cast<double>(e.batch * e.channels * out * waves.modes()) +
                (activate ? 26.0 : 0.0) * static_cast<double>(z.count()),
            3 * bytes_of(z) + 3 * bytes_of(y)};
  });

  const auto vjp = [=](const List& g, const VjpContext& context) -> List {
    if (context.create_graph()) {
      const List inputs{identity(z), identity(spectral), identity(weight), identity(bias)};
      List at = inputs;
      for (Tensor& x : at)
        if (!x.on_tape()) x = variable(x);
      return grad({fourier_layer_composed(at[0], at[1], at[2], at[3], activate, spectrum)}, {g[0]}, at,
                  {.create_graph = true});
    }
    List back(4);
    count_cost("fourier_layer_backward", {2 * cost.flops, 2 * cost.bytes});
    dispatch_real(z.dtype(), "fourier_layer", [&](auto zero) {
      using T = decltype(zero);
      const auto& waves = spectrum->waves<T>();
      const Tensor from = dense(g[0]), in = dense(z);
      const OnTiles w(weight);
      // The adjoint of the inverse transform, mixing and forward transform, on all tiles together.
      const Tensor dmixed = Tensor::empty({e.batch, out, 2, waves.modes()}, z.dtype());
      kernels::to_modes<T>(waves, e.batch * out, waves_of<T>(*spectrum, on_output, from).template data<T>(),
                           dmixed.data<T>(), true);
      const kernels::ModeMixing mixing{e.batch, e.channels, out, waves.modes()};
      if (context.needs(1)) {
        back[1] = Tensor::empty(spectral.shape(), z.dtype());
        kernels::mix_modes_backward_weight<T>(mixing, modes.data<T>(), dmixed.data<T>(), back[1].data<T>());
      }
      Tensor dwaves;
      if (context.needs(0)) {
        const Tensor dmodes = Tensor::empty(modes.shape(), z.dtype()), mixer = dense(spectral);
        kernels::mix_modes_backward_input<T>(mixing, mixer.data<T>(), dmixed.data<T>(), dmodes.data<T>());
        dwaves = Tensor::empty({e.batch, e.channels, waves.rows(), waves.columns()}, z.dtype());
        kernels::from_modes<T>(waves, e.batch * e.channels, dmodes.data<T>(), dwaves.data<T>(), false);
        back[0] = Tensor::empty(z.shape(), z.dtype());
      }
      const LinearGradients<T> gradients(e, out, z.dtype());
      const kernels::PointwiseBackward<T> b{
          .shape = shape,
          .activate = activate,
          .z = in.data<T>(),
          .dy = from.data<T>(),
          .weight = w.of<T>(),
          .waves = context.needs(0) ? dwaves.data<T>() : nullptr,
          .dz = context.needs(0) ? back[0].data<T>() : nullptr,
          .weight_parts = gradients.weight_parts.template data<T>(),
          .bias_parts = gradients.bias_parts.template data<T>(),
      };
      kernels::pointwise_backward<T>(b, waves, Work<T>(kernels::pointwise_backward_work(b, waves)));
      gradients.sum(back[2], back[3]);
    });
    return back;
  };
  return apply_op("fourier_layer", {z, spectral, weight, bias}, y, vjp, {.cost = cost});
}

// --- the head ---

Tensor projection_head_composed(const Tensor& z, const Tensor& weight1, const Tensor& bias1,
                                const Tensor& weight2, const Tensor& bias2) {
  return pointwise_linear(gelu(pointwise_linear(gelu(z), weight1, bias1)), weight2, bias2);
}

Tensor projection_head(const Tensor& z, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                       const Tensor& bias2) {
  const Region<"projection_head"> region;
  const Extents e = extents_of(z, "projection_head");
  check_linear(z, weight1, bias1, "projection_head");
  const std::int64_t hidden = weight1.shape()[1], out = weight2.shape()[1];
  RANKINE_ASSERT(weight2.shape() == (Shape{e.tiles, out, hidden}) && bias2.shape() == (Shape{e.tiles, out}),
                 "projection_head: second weight " + weight2.shape().text());
  const Tensor in = dense(z);
  Tensor y = Tensor::empty(with_channels(z, out), z.dtype());
  dispatch_real(z.dtype(), "projection_head", [&](auto zero) {
    using T = decltype(zero);
    const OnTiles w1(weight1), b1(bias1), w2(weight2), b2(bias2);
    const kernels::Head<T> head{e.tiles,      e.batch,    e.channels, hidden,     out,       e.points,
                                in.data<T>(), w1.of<T>(), b1.of<T>(), w2.of<T>(), b2.of<T>()};
    kernels::head_forward<T>(head, y.data<T>(), Work<T>(kernels::head_forward_work(head)));
  });
  const Extents wide_extents{e.tiles, e.batch, hidden, e.points};
  const Cost cost{flops_of_products(e, hidden) + flops_of_products(wide_extents, out) +
                      26.0 * static_cast<double>(e.tiles * e.batch * e.points * (hidden + e.channels)),
                  bytes_of(z) + bytes_of(y)};
  const auto vjp = [=](const List& g, const VjpContext& context) -> List {
    if (context.create_graph()) {
      List at{identity(z), identity(weight1), identity(bias1), identity(weight2), identity(bias2)};
      for (Tensor& x : at)
        if (!x.on_tape()) x = variable(x);
      return grad({projection_head_composed(at[0], at[1], at[2], at[3], at[4])}, {g[0]}, at,
                  {.create_graph = true});
    }
    count_cost("projection_head_backward", {3 * cost.flops, 3 * cost.bytes});
    List back(5);
    const Tensor from = dense(g[0]), in = dense(z);
    dispatch_real(z.dtype(), "projection_head", [&](auto zero) {
      using T = decltype(zero);
      const OnTiles w1(weight1), b1(bias1), w2(weight2);
      const LinearGradients<T> first(e, hidden, z.dtype()),
          second({e.tiles, e.batch, hidden, e.points}, out, z.dtype());
      if (context.needs(0)) back[0] = Tensor::empty(z.shape(), z.dtype());
      const kernels::HeadBackward<T> b{
          .head = {e.tiles,
                   e.batch,
                   e.channels,
                   hidden,
                   out,
                   e.points,
                   in.data<T>(),
                   w1.of<T>(),
                   b1.of<T>(),
                   w2.of<T>(),
                   {}},
          .dy = from.data<T>(),
          .dz = context.needs(0) ? back[0].data<T>() : nullptr,
          .weight1_parts = first.weight_parts.template data<T>(),
          .bias1_parts = first.bias_parts.template data<T>(),
          .weight2_parts = second.weight_parts.template data<T>(),
          .bias2_parts = second.bias_parts.template data<T>(),
      };
      kernels::head_backward<T>(b, Work<T>(kernels::head_backward_work(b)));
      first.sum(back[1], back[2]);
      second.sum(back[3], back[4]);
    });
    return back;
  };
  return apply_op("projection_head", {z, weight1, bias1, weight2, bias2}, y, vjp, {.cost = cost});
}

}  // namespace rankine
