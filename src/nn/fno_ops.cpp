#include "src/nn/fno_ops.hpp"

#include <algorithm>

#include "kernels/blas.hpp"
#include "kernels/mode_mixing.hpp"
#include "kernels/pointwise.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

TileSpectrum::TileSpectrum(const TilePartition& partition, SharedTileSum tile_sum, std::int64_t modes_t,
                           std::int64_t modes_x)
    : tile_nt(partition.grid().tile_nt()),
      tile_nx(partition.grid().tile_nx()),
      sum(std::move(tile_sum)),
      single_(partition.grid().nt(), partition.grid().nx(), modes_t, modes_x),
      double_(partition.grid().nt(), partition.grid().nx(), modes_t, modes_x) {
  for (std::int64_t tile = partition.begin(); tile < partition.end(); ++tile) {
    const TileExtent extent = partition.grid().extent(tile);
    origins.push_back({extent.t_begin, extent.x_begin});
  }
}

template <>
const kernels::PartialDft<float>& TileSpectrum::dft<float>() const {
  return single_;
}
template <>
const kernels::PartialDft<double>& TileSpectrum::dft<double>() const {
  return double_;
}

namespace {

using blas::Op;
using List = std::vector<Tensor>;

// [L, B, C, Tt, Tx] as numbers.
struct Extents {
  std::int64_t tiles, batch, channels, points;
};
Extents extents_of(const Tensor& u, const char* what) {
  RANKINE_ASSERT(u.rank() == 5, std::string(what) + ": activations are [tile, batch, channel, t, x], not " +
                                    u.shape().text());
  return {u.shape()[0], u.shape()[1], u.shape()[2], u.shape()[3] * u.shape()[4]};
}

Shape with_channels(const Tensor& u, std::int64_t channels) {
  Shape shape = u.shape();
  shape[2] = channels;
  return shape;
}

// One tile's matrix of a parameter [L, rows, columns], which is mostly a view with stride 0 along L.
struct TileMatrix {
  explicit TileMatrix(const Tensor& x) : values(x.detach()) {
    Shape one = x.shape(), strides = x.strides();
    one.erase(0);
    strides.erase(0);
    if (!(x.view(one, strides).contiguous())) values = x.clone();
    step = values.strides()[0];
  }
  template <class T>
  const T* tile(std::int64_t l) const {
    return values.data<T>() + l * step;
  }
  Tensor values;
  std::int64_t step;
};

void check_linear(const Tensor& u, const Tensor& weight, const Tensor& bias, const char* what) {
  RANKINE_ASSERT(weight.rank() == 3 && weight.shape()[0] == u.shape()[0] &&
                     weight.shape()[2] == u.shape()[2] &&
                     bias.shape() == (Shape{u.shape()[0], weight.shape()[1]}) &&
                     weight.dtype() == u.dtype() && bias.dtype() == u.dtype(),
                 std::string(what) + ": activations " + u.shape().text() + ", weight " +
                     weight.shape().text() + ", bias " + bias.shape().text());
}

template <class T>
void fill_rows(std::int64_t rows, std::int64_t columns, const T* values, T* y, std::int64_t ld) {
  for (std::int64_t i = 0; i < rows; ++i) std::fill_n(y + i * ld, columns, values[i]);
}

// sums[i] += sum of row i.
template <class T>
void add_row_sums(std::int64_t rows, std::int64_t columns, const T* x, std::int64_t ld, T* sums) {
  for (std::int64_t i = 0; i < rows; ++i) sums[i] += kernels::tree_sum(columns, x + i * ld);
}

template <class T>
class Buffer {
 public:
  explicit Buffer(std::int64_t count) : memory_(Tensor::empty({count}, dtype_of<T>)) {}
  T* data() const { return memory_.data<T>(); }

 private:
  Tensor memory_;
};

// A gradient that is summed over the samples of a tile: a part for each sample, added as a tree of adjacent
// pairs, so that the order does not depend on who forms which part.
template <class T>
class BatchSum {
 public:
  BatchSum(std::int64_t batch, std::int64_t count) : batch_(batch), count_(count), parts_(batch * count) {}
  void clear() { std::fill_n(parts_.data(), batch_ * count_, T(0)); }
  T* part(std::int64_t b) const { return parts_.data() + b * count_; }
  void write(T* sum) const {
    for (std::int64_t apart = 1; apart < batch_; apart *= 2)
      for (std::int64_t b = 0; b + apart < batch_; b += 2 * apart)
        kernels::map(kernels::Add{}, count_, part(b), part(b + apart), part(b));
    std::copy_n(part(0), count_, sum);
  }

 private:
  std::int64_t batch_, count_;
  Buffer<T> parts_;
};

double flops_of_products(const Extents& e, std::int64_t out) {
  return 2.0 * static_cast<double>(e.tiles * e.batch * e.points) * static_cast<double>(e.channels) *
         static_cast<double>(out);
}

template <class T>
double flops_of_transform(const kernels::PartialDft<T>& dft, const Extents& e, std::int64_t tile_nx) {
  return 2.0 * static_cast<double>(e.tiles * e.batch * e.channels * dft.rows()) *
         static_cast<double>(e.points + tile_nx * dft.columns());
}

template <class T>
typename kernels::PartialDft<T>::Tile tile_of(const TileSpectrum& spectrum, std::int64_t l) {
  const auto& origin = spectrum.origins[static_cast<std::size_t>(l)];
  return {origin.t0, origin.x0, spectrum.tile_nt, spectrum.tile_nx};
}

// All local tiles and samples: u to s [L, B, C, rows, columns].
template <class T>
void analyse_all(const TileSpectrum& spectrum, const Extents& e, const T* u, T* s) {
  const auto& dft = spectrum.dft<T>();
  const Buffer<T> work(dft.work_size(e.channels, tile_of<T>(spectrum, 0)));
  const std::int64_t coefficients = e.channels * dft.rows() * dft.columns();
  for (std::int64_t l = 0; l < e.tiles; ++l)
    for (std::int64_t b = 0; b < e.batch; ++b)
      dft.analyse(e.channels, tile_of<T>(spectrum, l), u + (l * e.batch + b) * e.channels * e.points,
                  s + (l * e.batch + b) * coefficients, work.data());
}

void check_spectrum(const Tensor& u, const TileSpectrum& spectrum, const char* what) {
  RANKINE_ASSERT(u.shape()[0] == static_cast<std::int64_t>(spectrum.origins.size()) &&
                     u.shape()[3] == spectrum.tile_nt && u.shape()[4] == spectrum.tile_nx,
                 std::string(what) + ": activations " + u.shape().text() + " do not fit the tiles");
}

}  // namespace

Tensor analyse_tiles(const Tensor& u, const SharedSpectrum& spectrum) {
  const Extents e = extents_of(u, "analyse_tiles");
  check_spectrum(u, *spectrum, "analyse_tiles");
  const Tensor in = dense(u);
  Tensor s;
  Cost cost;
  dispatch_real(u.dtype(), "analyse_tiles", [&](auto zero) {
    using T = decltype(zero);
    const auto& dft = spectrum->dft<T>();
    s = Tensor::empty({e.tiles, e.batch, e.channels, dft.rows(), dft.columns()}, u.dtype());
    analyse_all(*spectrum, e, in.data<T>(), s.data<T>());
    cost = {flops_of_transform(dft, e, spectrum->tile_nx), bytes_of(in) + bytes_of(s)};
  });
  return apply_op("analyse_tiles", {u}, s,
                  [spectrum](const auto& g, const auto&) { return List{synthesise_tiles(g[0], spectrum)}; },
                  {.cost = cost});
}

Tensor synthesise_tiles(const Tensor& s, const SharedSpectrum& spectrum) {
  const Tensor in = dense(s);
  const Shape shape{s.shape()[0], s.shape()[1], s.shape()[2], spectrum->tile_nt, spectrum->tile_nx};
  const Tensor u = Tensor::zeros(shape, s.dtype());
  const Extents e = extents_of(u, "synthesise_tiles");
  check_spectrum(u, *spectrum, "synthesise_tiles");
  Cost cost;
  dispatch_real(s.dtype(), "synthesise_tiles", [&](auto zero) {
    using T = decltype(zero);
    const auto& dft = spectrum->dft<T>();
    const Buffer<T> work(dft.work_size(e.channels, tile_of<T>(*spectrum, 0)));
    for (std::int64_t l = 0; l < e.tiles; ++l)
      for (std::int64_t b = 0; b < e.batch; ++b)
        dft.synthesise(e.channels, tile_of<T>(*spectrum, l),
                       in.data<T>() + (l * e.batch + b) * e.channels * dft.rows() * dft.columns(),
                       u.data<T>() + (l * e.batch + b) * e.channels * e.points, work.data());
    cost = {flops_of_transform(dft, e, spectrum->tile_nx), bytes_of(in) + bytes_of(u)};
  });
  return apply_op("synthesise_tiles", {s}, u,
                  [spectrum](const auto& g, const auto&) { return List{analyse_tiles(g[0], spectrum)}; },
                  {.cost = cost});
}

Tensor modes_of_waves(const Tensor& s, const SharedSpectrum& spectrum, bool weighted) {
  const Tensor in = dense(s);
  const std::int64_t channels = s.shape()[0] * s.shape()[1];
  Tensor modes;
  dispatch_real(s.dtype(), "modes_of_waves", [&](auto zero) {
    using T = decltype(zero);
    const auto& dft = spectrum->dft<T>();
    modes = Tensor::empty({s.shape()[0], s.shape()[1], 2, dft.modes()}, s.dtype());
    dft.to_modes(channels, in.data<T>(), modes.data<T>(), weighted);
  });
  return apply_op("modes_of_waves", {s}, modes,
                  [spectrum, weighted](const auto& g, const auto&) {
                    return List{waves_of_modes(g[0], spectrum, weighted)};
                  },
                  {.cost = {static_cast<double>(s.count()), 2 * bytes_of(s)}});
}

Tensor waves_of_modes(const Tensor& modes, const SharedSpectrum& spectrum, bool weighted) {
  const Tensor in = dense(modes);
  const std::int64_t channels = modes.shape()[0] * modes.shape()[1];
  Tensor s;
  dispatch_real(modes.dtype(), "waves_of_modes", [&](auto zero) {
    using T = decltype(zero);
    const auto& dft = spectrum->dft<T>();
    s = Tensor::empty({modes.shape()[0], modes.shape()[1], dft.rows(), dft.columns()}, modes.dtype());
    dft.from_modes(channels, in.data<T>(), s.data<T>(), weighted);
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
  const kernels::ModeMixing shape{x.shape()[0], x.shape()[1], w.shape()[1], x.shape()[3]};
  RANKINE_ASSERT(w.shape() == (Shape{shape.in, shape.out, 2, shape.modes}) && x.shape()[2] == 2,
                 "mix_modes: weights " + w.shape().text() + ", modes " + x.shape().text());
  const Tensor dw = dense(w), dx = dense(x);
  Tensor y = Tensor::empty({shape.batch, shape.out, 2, shape.modes}, x.dtype());
  dispatch_real(x.dtype(), "mix_modes", [&](auto zero) {
    using T = decltype(zero);
    kernels::mix_modes(shape, dw.data<T>(), dx.data<T>(), y.data<T>());
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

template <class T>
void linear_forward(const Extents& e, std::int64_t out, const T* u, const TileMatrix& weight,
                    const TileMatrix& bias, T* y) {
  for (std::int64_t l = 0; l < e.tiles; ++l)
    for (std::int64_t b = 0; b < e.batch; ++b) {
      const std::int64_t at = l * e.batch + b;
      T* to = y + at * out * e.points;
      fill_rows(out, e.points, bias.tile<T>(l), to, e.points);
      blas::gemm(Op::none, Op::none, out, e.points, e.channels, T(1), weight.tile<T>(l), e.channels,
                 u + at * e.channels * e.points, e.points, T(1), to, e.points);
    }
}

}  // namespace

Tensor pointwise_linear(const Tensor& u, const Tensor& weight, const Tensor& bias) {
  const Extents e = extents_of(u, "pointwise_linear");
  check_linear(u, weight, bias, "pointwise_linear");
  const std::int64_t out = weight.shape()[1];
  const Tensor in = dense(u);
  Tensor y = Tensor::empty(with_channels(u, out), u.dtype());
  dispatch_real(u.dtype(), "pointwise_linear", [&](auto zero) {
    using T = decltype(zero);
    linear_forward(e, out, in.data<T>(), TileMatrix(weight), TileMatrix(bias), y.data<T>());
  });
  const auto vjp = [u, weight, bias, e, out](const List& g, const VjpContext& context) -> List {
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
      const TileMatrix matrix(weight);
      if (context.needs(0)) back[0] = Tensor::empty(u.shape(), u.dtype());
      back[1] = Tensor::zeros(weight.shape(), u.dtype());
      back[2] = Tensor::zeros(bias.shape(), u.dtype());
      BatchSum<T> dweight(e.batch, out * e.channels), dbias(e.batch, out);
      for (std::int64_t l = 0; l < e.tiles && e.batch > 0; ++l) {
        dbias.clear();
        for (std::int64_t b = 0; b < e.batch; ++b) {
          const std::int64_t at = l * e.batch + b;
          const T* dy = from.data<T>() + at * out * e.points;
          const T* x = in.data<T>() + at * e.channels * e.points;
          add_row_sums(out, e.points, dy, e.points, dbias.part(b));
          blas::gemm(Op::none, Op::transpose, out, e.channels, e.points, T(1), dy, e.points, x, e.points,
                     T(0), dweight.part(b), e.channels);
          if (context.needs(0))
            blas::gemm(Op::transpose, Op::none, e.channels, e.points, out, T(1), matrix.tile<T>(l),
                       e.channels, dy, e.points, T(0), back[0].data<T>() + at * e.channels * e.points,
                       e.points);
        }
        dweight.write(back[1].data<T>() + l * out * e.channels);
        dbias.write(back[2].data<T>() + l * out);
      }
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
  const Extents e = extents_of(z, "fourier_layer");
  check_linear(z, weight, bias, "fourier_layer");
  check_spectrum(z, *spectrum, "fourier_layer");
  const std::int64_t out = weight.shape()[1];
  Tensor y = Tensor::empty(with_channels(z, out), z.dtype());
  Tensor modes;  // of the activated input, replicated
  Cost cost;
  dispatch_real(z.dtype(), "fourier_layer", [&](auto zero) {
    using T = decltype(zero);
    const auto& dft = spectrum->dft<T>();
    RANKINE_ASSERT(
        spectral.shape() == (Shape{e.channels, out, 2, dft.modes()}) && spectral.dtype() == z.dtype(),
        "fourier_layer: spectral weights " + spectral.shape().text());
    Tensor a = dense(z);
    if (activate) {
      const Tensor active = Tensor::empty(z.shape(), z.dtype());
      kernels::map(kernels::Gelu{}, a.count(), a.data<T>(), active.data<T>());
      a = active;
    }
    const std::int64_t rows = dft.rows(), columns = dft.columns();
    Tensor waves = Tensor::empty({e.batch, e.channels, rows, columns}, z.dtype());
    {
      const Tensor per_tile = Tensor::empty({e.tiles, e.batch, e.channels, rows, columns}, z.dtype());
      analyse_all(*spectrum, e, a.data<T>(), per_tile.data<T>());
      spectrum->sum->sum(std::span<const T>(per_tile.data<T>(), static_cast<std::size_t>(per_tile.count())),
                         std::span<T>(waves.data<T>(), static_cast<std::size_t>(waves.count())));
    }
    modes = Tensor::empty({e.batch, e.channels, 2, dft.modes()}, z.dtype());
    dft.to_modes(e.batch * e.channels, waves.data<T>(), modes.data<T>(), false);
    const Tensor mixed = Tensor::empty({e.batch, out, 2, dft.modes()}, z.dtype());
    const Tensor mixer = dense(spectral);
    kernels::mix_modes({e.batch, e.channels, out, dft.modes()}, mixer.data<T>(), modes.data<T>(),
                       mixed.data<T>());
    waves = Tensor::empty({e.batch, out, rows, columns}, z.dtype());
    dft.from_modes(e.batch * out, mixed.data<T>(), waves.data<T>(), true);

    const TileMatrix matrix(weight), offset(bias);
    const Buffer<T> work(dft.work_size(out, tile_of<T>(*spectrum, 0)));
    for (std::int64_t l = 0; l < e.tiles; ++l)
      for (std::int64_t b = 0; b < e.batch; ++b) {
        const std::int64_t at = l * e.batch + b;
        T* to = y.data<T>() + at * out * e.points;
        fill_rows(out, e.points, offset.tile<T>(l), to, e.points);
        blas::gemm(Op::none, Op::none, out, e.points, e.channels, T(1), matrix.tile<T>(l), e.channels,
                   a.data<T>() + at * e.channels * e.points, e.points, T(1), to, e.points);
        dft.synthesise(out, tile_of<T>(*spectrum, l), waves.data<T>() + b * out * rows * columns, to,
                       work.data());
      }
    const double transforms = flops_of_transform(dft, e, spectrum->tile_nx) +
                              flops_of_transform(dft, {e.tiles, e.batch, out, e.points}, spectrum->tile_nx);
    cost = {flops_of_products(e, out) + transforms +
                8.0 * static_cast<double>(e.batch * e.channels * out * dft.modes()) +
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
      const auto& dft = spectrum->dft<T>();
      const std::int64_t rows = dft.rows(), columns = dft.columns();
      const Tensor from = dense(g[0]), in = dense(z);
      // The adjoint of the inverse transform, mixing and forward transform, on all tiles together.
      Tensor waves = Tensor::empty({e.batch, out, rows, columns}, z.dtype());
      {
        const Tensor per_tile = Tensor::empty({e.tiles, e.batch, out, rows, columns}, z.dtype());
        analyse_all(*spectrum, {e.tiles, e.batch, out, e.points}, from.data<T>(), per_tile.data<T>());
        spectrum->sum->sum(std::span<const T>(per_tile.data<T>(), static_cast<std::size_t>(per_tile.count())),
                           std::span<T>(waves.data<T>(), static_cast<std::size_t>(waves.count())));
      }
      const Tensor dmixed = Tensor::empty({e.batch, out, 2, dft.modes()}, z.dtype());
      dft.to_modes(e.batch * out, waves.data<T>(), dmixed.data<T>(), true);
      const kernels::ModeMixing mixing{e.batch, e.channels, out, dft.modes()};
      if (context.needs(1)) {
        back[1] = Tensor::empty(spectral.shape(), z.dtype());
        kernels::mix_modes_backward_weight(mixing, modes.data<T>(), dmixed.data<T>(), back[1].data<T>());
      }
      waves = Tensor();
      if (context.needs(0)) {
        const Tensor dmodes = Tensor::empty(modes.shape(), z.dtype()), mixer = dense(spectral);
        kernels::mix_modes_backward_input(mixing, mixer.data<T>(), dmixed.data<T>(), dmodes.data<T>());
        waves = Tensor::empty({e.batch, e.channels, rows, columns}, z.dtype());
        dft.from_modes(e.batch * e.channels, dmodes.data<T>(), waves.data<T>(), false);
        back[0] = Tensor::empty(z.shape(), z.dtype());
      }
      back[2] = Tensor::zeros(weight.shape(), z.dtype());
      back[3] = Tensor::zeros(bias.shape(), z.dtype());

      const TileMatrix matrix(weight);
      const std::int64_t block = e.channels * e.points;
      const Buffer<T> work(dft.work_size(e.channels, tile_of<T>(*spectrum, 0)));
      const Buffer<T> active(activate ? block : 0), slope(activate ? block : 0);
      BatchSum<T> dweight(e.batch, out * e.channels), dbias(e.batch, out);
      for (std::int64_t l = 0; l < e.tiles && e.batch > 0; ++l) {
        dbias.clear();
        for (std::int64_t b = 0; b < e.batch; ++b) {
          const std::int64_t at = l * e.batch + b;
          const T* dy = from.data<T>() + at * out * e.points;
          const T* a = in.data<T>() + at * block;
          if (activate) {
            kernels::gelu_with_derivative(block, a, active.data(), slope.data());
            a = active.data();
          }
          add_row_sums(out, e.points, dy, e.points, dbias.part(b));
          blas::gemm(Op::none, Op::transpose, out, e.channels, e.points, T(1), dy, e.points, a, e.points,
                     T(0), dweight.part(b), e.channels);
          if (!context.needs(0)) continue;
          T* dz = back[0].data<T>() + at * block;
          blas::gemm(Op::transpose, Op::none, e.channels, e.points, out, T(1), matrix.tile<T>(l), e.channels,
                     dy, e.points, T(0), dz, e.points);
          dft.synthesise(e.channels, tile_of<T>(*spectrum, l),
                         waves.data<T>() + b * e.channels * rows * columns, dz, work.data());
          if (activate) {
            const T* s = slope.data();
            for (std::int64_t i = 0; i < block; ++i) dz[i] *= s[i];
          }
        }
        dweight.write(back[2].data<T>() + l * out * e.channels);
        dbias.write(back[3].data<T>() + l * out);
      }
    });
    return back;
  };
  return apply_op("fourier_layer", {z, spectral, weight, bias}, y, vjp, {.cost = cost});
}

// --- the head ---

namespace {

// Points that are taken together: the hidden layer for so many stays in the second-level cache.
template <class T>
constexpr std::int64_t kHeadPoints = 1024 / static_cast<std::int64_t>(sizeof(T));

}  // namespace

Tensor projection_head_composed(const Tensor& z, const Tensor& weight1, const Tensor& bias1,
                                const Tensor& weight2, const Tensor& bias2) {
  return pointwise_linear(gelu(pointwise_linear(gelu(z), weight1, bias1)), weight2, bias2);
}

Tensor projection_head(const Tensor& z, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                       const Tensor& bias2) {
  const Extents e = extents_of(z, "projection_head");
  check_linear(z, weight1, bias1, "projection_head");
  const std::int64_t hidden = weight1.shape()[1], out = weight2.shape()[1];
  RANKINE_ASSERT(weight2.shape() == (Shape{e.tiles, out, hidden}) && bias2.shape() == (Shape{e.tiles, out}),
                 "projection_head: second weight " + weight2.shape().text());
  const Tensor in = dense(z);
  Tensor y = Tensor::empty(with_channels(z, out), z.dtype());
  dispatch_real(z.dtype(), "projection_head", [&](auto zero) {
    using T = decltype(zero);
    const TileMatrix w1(weight1), b1(bias1), w2(weight2), b2(bias2);
    const std::int64_t wide = std::min(kHeadPoints<T>, e.points);
    const Buffer<T> active(e.channels * wide), inner(hidden * wide);
    for (std::int64_t l = 0; l < e.tiles; ++l)
      for (std::int64_t b = 0; b < e.batch; ++b)
        for (std::int64_t p = 0; p < e.points; p += wide) {
          const std::int64_t n = std::min(wide, e.points - p), at = l * e.batch + b;
          const T* from = in.data<T>() + at * e.channels * e.points + p;
          for (std::int64_t c = 0; c < e.channels; ++c)
            kernels::map(kernels::Gelu{}, n, from + c * e.points, active.data() + c * n);
          fill_rows(hidden, n, b1.tile<T>(l), inner.data(), n);
          blas::gemm(Op::none, Op::none, hidden, n, e.channels, T(1), w1.tile<T>(l), e.channels,
                     active.data(), n, T(1), inner.data(), n);
          kernels::map(kernels::Gelu{}, hidden * n, inner.data(), inner.data());
          T* to = y.data<T>() + at * out * e.points + p;
          fill_rows(out, n, b2.tile<T>(l), to, e.points);
          blas::gemm(Op::none, Op::none, out, n, hidden, T(1), w2.tile<T>(l), hidden, inner.data(), n, T(1),
                     to, e.points);
        }
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
      const TileMatrix w1(weight1), b1(bias1), w2(weight2);
      if (context.needs(0)) back[0] = Tensor::empty(z.shape(), z.dtype());
      back[1] = Tensor::zeros(weight1.shape(), z.dtype());
      back[2] = Tensor::zeros(bias1.shape(), z.dtype());
      back[3] = Tensor::zeros(weight2.shape(), z.dtype());
      back[4] = Tensor::zeros(bias2.shape(), z.dtype());
      const std::int64_t wide = std::min(kHeadPoints<T>, e.points);
      const Buffer<T> active(e.channels * wide), slope(e.channels * wide), inner(hidden * wide),
          inner_slope(hidden * wide), dinner(hidden * wide);
      BatchSum<T> dweight1(e.batch, hidden * e.channels), dbias1(e.batch, hidden);
      BatchSum<T> dweight2(e.batch, out * hidden), dbias2(e.batch, out);
      for (std::int64_t l = 0; l < e.tiles && e.batch > 0; ++l) {
        for (auto* sum : {&dweight1, &dbias1, &dweight2, &dbias2}) sum->clear();
        for (std::int64_t b = 0; b < e.batch; ++b)
          for (std::int64_t p = 0; p < e.points; p += wide) {
            const std::int64_t n = std::min(wide, e.points - p), at = l * e.batch + b;
            const T* x = in.data<T>() + at * e.channels * e.points + p;
            const T* dy = from.data<T>() + at * out * e.points + p;
            for (std::int64_t c = 0; c < e.channels; ++c)
              kernels::gelu_with_derivative(n, x + c * e.points, active.data() + c * n, slope.data() + c * n);
            fill_rows(hidden, n, b1.tile<T>(l), inner.data(), n);
            blas::gemm(Op::none, Op::none, hidden, n, e.channels, T(1), w1.tile<T>(l), e.channels,
                       active.data(), n, T(1), inner.data(), n);
            kernels::gelu_with_derivative(hidden * n, inner.data(), inner.data(), inner_slope.data());
            add_row_sums(out, n, dy, e.points, dbias2.part(b));
            blas::gemm(Op::none, Op::transpose, out, hidden, n, T(1), dy, e.points, inner.data(), n, T(1),
                       dweight2.part(b), hidden);
            blas::gemm(Op::transpose, Op::none, hidden, n, out, T(1), w2.tile<T>(l), hidden, dy, e.points,
                       T(0), dinner.data(), n);
            T* d = dinner.data();
            const T* s = inner_slope.data();
            for (std::int64_t i = 0; i < hidden * n; ++i) d[i] *= s[i];
            add_row_sums(hidden, n, d, n, dbias1.part(b));
            blas::gemm(Op::none, Op::transpose, hidden, e.channels, n, T(1), d, n, active.data(), n, T(1),
                       dweight1.part(b), e.channels);
            if (!context.needs(0)) continue;
            T* dz = back[0].data<T>() + at * e.channels * e.points + p;
            blas::gemm(Op::transpose, Op::none, e.channels, n, hidden, T(1), w1.tile<T>(l), e.channels, d, n,
                       T(0), dz, e.points);
            for (std::int64_t c = 0; c < e.channels; ++c) {
              T* row = dz + c * e.points;
              const T* sc = slope.data() + c * n;
              for (std::int64_t i = 0; i < n; ++i) row[i] *= sc[i];
            }
          }
        dweight1.write(back[1].data<T>() + l * hidden * e.channels);
        dbias1.write(back[2].data<T>() + l * hidden);
        dweight2.write(back[3].data<T>() + l * out * hidden);
        dbias2.write(back[4].data<T>() + l * out);
      }
    });
    return back;
  };
  return apply_op("projection_head", {z, weight1, bias1, weight2, bias2}, y, vjp, {.cost = cost});
}

}  // namespace rankine
