#include "kernels/fourier.hpp"

#include <algorithm>

#include "kernels/elementwise.hpp"
#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/pointwise.hpp"
#include "kernels/product.hpp"
#include "kernels/reduce.hpp"

namespace rankine::kernels {
namespace {

using blas::Op;

template <class T>
struct Elements {
  View<const T> x;
  RANKINE_ELEMENT T operator()(std::int64_t i) const { return x[i]; }
};
template <class T>
void row_sums(const char* name, std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> sums,
              DevicePtr<T> work) {
  count_work(name, {static_cast<double>(rows * n), in_bytes<T>(rows * (n + 1))});
  reduce<Sum<T>>(name, Elements<T>{x}, rows, n, sums, work);
}

/// y = weight x + bias.
template <class T>
void at_points(const char* name, const PointwiseShape& s, DevicePtr<const T> x, const TileValues<T>& weight,
               const TileValues<T>& bias, DevicePtr<T> y) {
  product(Product{.name = name,
                  .m = s.out,
                  .n = s.points,
                  .k = s.in,
                  .lda = s.in,
                  .ldb = s.points,
                  .ldc = s.points,
                  .batch = {s.tiles, s.batch, 1},
                  .a_step = {weight.step, 0, 0},
                  .b_step = {s.batch * s.in * s.points, s.in * s.points, 0},
                  .c_step = {s.batch * s.out * s.points, s.out * s.points, 0}},
          weight.values, x, Bias<T>{bias.values, Bias<T>::To::columns, {bias.step, 0, 0}}, y);
}
/// dx = weight^T dy.
template <class T>
void at_points_transposed(const char* name, const PointwiseShape& s, DevicePtr<const T> dy,
                          const TileValues<T>& weight, DevicePtr<T> dx) {
  product(Product{.name = name,
                  .op_a = Op::transpose,
                  .m = s.in,
                  .n = s.points,
                  .k = s.out,
                  .lda = s.in,
                  .ldb = s.points,
                  .ldc = s.points,
                  .batch = {s.tiles, s.batch, 1},
                  .a_step = {weight.step, 0, 0},
                  .b_step = {s.batch * s.out * s.points, s.out * s.points, 0},
                  .c_step = {s.batch * s.in * s.points, s.in * s.points, 0}},
          T(1), weight.values, dy, T(0), dx);
}
/// parts = dy x^T, for each tile and sample.
template <class T>
void weight_parts(const char* name, const PointwiseShape& s, DevicePtr<const T> dy, DevicePtr<const T> x,
                  DevicePtr<T> parts) {
  product(Product{.name = name,
                  .op_b = Op::transpose,
                  .m = s.out,
                  .n = s.in,
                  .k = s.points,
                  .lda = s.points,
                  .ldb = s.points,
                  .ldc = s.in,
                  .batch = {s.tiles, s.batch, 1},
                  .a_step = {s.batch * s.out * s.points, s.out * s.points, 0},
                  .b_step = {s.batch * s.in * s.points, s.in * s.points, 0},
                  .c_step = {s.batch * s.out * s.in, s.out * s.in, 0}},
          T(1), dy, x, T(0), parts);
}
template <class T>
void scale_by(const char* name, std::int64_t n, DevicePtr<T> y, DevicePtr<const T> factor) {
  map(name, Multiply{}, n, y, DevicePtr<const T>(y), factor);
}

/// The three forms are one: y(u, v) = sum over s < terms of a(u, s) x(v, s), or conj(a) x. Rows of numbers
/// [2][modes] lie so far apart.
struct MixShape {
  std::int64_t results, columns, terms, modes;  // of u, v and s
  std::int64_t a_u, a_s, x_v, x_s, y_u, y_v;
};

/// One mode of a y(u, v): for each part one chain, the product with re a first.
template <bool kConjugate, class T>
struct MixElement {
  MixShape m;
  View<const T> a, x;
  View<T> y;
  RANKINE_KERNEL void operator()(std::int64_t e) const {
    const std::int64_t k = e % m.modes, v = e / m.modes % m.columns, u = e / m.modes / m.columns;
    const T* p = a.at(u * m.a_u + k);
    const T* q = x.at(v * m.x_v + k);
    T re = 0, im = 0;
    for (std::int64_t s = 0; s < m.terms; ++s, p += m.a_s, q += m.x_s) {
      const T i = kConjugate ? -p[m.modes] : p[m.modes];
      re = multiply_add(*p, *q, re);
      re = multiply_add(-i, q[m.modes], re);
      im = multiply_add(*p, q[m.modes], im);
      im = multiply_add(i, *q, im);
    }
    T* const to = y.at(u * m.y_u + v * m.y_v + k);
    to[0] = re;
    to[m.modes] = im;
  }
};

template <bool kConjugate, class T>
void mix_elements(const char* name, const MixShape& m, DevicePtr<const T> a, DevicePtr<const T> x,
                  DevicePtr<T> y) {
  units(name, m.results * m.columns * m.modes, MixElement<kConjugate, T>{m, a, x, y});
}

MixShape mix_forward(const ModeMixing& shape) {
  const std::int64_t row = 2 * shape.modes;
  return {shape.out,       shape.batch,    shape.in, shape.modes, row,
          shape.out * row, shape.in * row, row,      row,         shape.out * row};
}
MixShape mix_backward_input(const ModeMixing& shape) {
  const std::int64_t row = 2 * shape.modes;
  return {shape.in, shape.batch,     shape.out, shape.modes, shape.out * row,
          row,      shape.out * row, row,       row,         shape.in * row};
}
MixShape mix_backward_weight(const ModeMixing& shape) {
  const std::int64_t row = 2 * shape.modes;
  return {shape.in,       shape.out, shape.batch,     shape.modes,     row,
          shape.in * row, row,       shape.out * row, shape.out * row, row};
}

#if !RANKINE_ON_DEVICE
/// The results of a channel at a time.
template <class T>
using HostMixing = void (*)(const ModeMixing&, std::int64_t, std::int64_t, const T*, const T*, T*);
template <class T, HostMixing<T> mix>
struct MixChannel {
  ModeMixing shape;
  View<const T> a, x;
  View<T> y;
  inline void operator()(std::int64_t channel) const { mix(shape, channel, 1, a.at(0), x.at(0), y.at(0)); }
};
#endif

#if !RANKINE_ON_DEVICE
/// Waves added at the points of one tile and sample.
template <class T>
struct SynthesisUnit {
  View<const T> waves, along[kGridAxes - 1], last_row;
  std::int64_t batch, channels;
  WaveShape shape{};

  SynthesisUnit(DevicePtr<const T> of, const TileWaves<T>& transform, std::int64_t samples,
                std::int64_t width)
      : waves(of), batch(samples), channels(width) {
    if (!of) return;
    shape = transform;
    last_row = transform.last_row;
    for (int a = 0; a < shape.axes - 1; ++a) along[a] = transform.along[a];
  }
  std::int64_t scratch() const { return channels * shape.all_between(); }
  inline void add(std::int64_t unit, T* points, T* memory) const {
    const int last = shape.axes - 1;
    const std::int64_t l = unit / batch, b = unit % batch, columns = shape.columns(), nx = shape.n[last],
                       all_rows = channels * shape.rows();
    blas::gemm(Op::none, Op::none, all_rows, nx, columns, T(1), waves.at(b * all_rows * columns), columns,
               last_row.at(l * columns * nx), nx, T(last == 0 ? 1 : 0), last == 0 ? points : memory, nx);
    for (int a = last - 1; a >= 0; --a) {
      const std::int64_t rows = shape.rows(a), n = shape.n[a], behind = shape.points_behind(a);
      const T* const from = memory;
      memory += channels * shape.between(a);
      T* const to = a == 0 ? points : memory;
      for (std::int64_t c = 0; c < channels * shape.rows_before(a); ++c)
        blas::gemm(Op::transpose, Op::none, n, behind, rows, T(1), along[a].at(l * rows * n), n,
                   from + c * rows * behind, behind, T(a == 0 ? 1 : 0), to + c * n * behind, behind);
    }
  }
};

/// One tile and sample of the forward pass at a time.
template <class T>
struct PointwiseForwardUnit {
  PointwiseShape s;
  View<const T> x, weight, bias;
  std::int64_t weight_step, bias_step;
  SynthesisUnit<T> synthesis;
  View<T> y, work;

  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t l = unit / s.batch;
    const T* const offset = bias.at(l * bias_step);
    T* const to = y.at(unit * s.out * s.points);
    for (std::int64_t i = 0; i < s.out; ++i) std::fill_n(to + i * s.points, s.points, offset[i]);
    blas::gemm(Op::none, Op::none, s.out, s.points, s.in, T(1), weight.at(l * weight_step), s.in,
               x.at(unit * s.in * s.points), s.points, T(1), to, s.points);
    synthesis.add(unit, to, work.at(worker * synthesis.scratch()));
  }
};

/// One tile and sample of the backward pass at a time.
template <class T>
struct PointwiseBackwardUnit {
  PointwiseShape s;
  bool activate;
  View<const T> z, dy, weight;
  std::int64_t weight_step;
  SynthesisUnit<T> synthesis;
  View<T> dz, weight_parts, bias_parts, work;

  std::int64_t scratch() const { return (activate ? 2 * s.in * s.points : 0) + synthesis.scratch(); }
  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t block = s.in * s.points, l = unit / s.batch;
    const T* const from = dy.at(unit * s.out * s.points);
    const T* a = z.at(unit * block);
    T* memory = work.at(worker * scratch());
    T* const slope = memory + block;
    if (activate) {
      gelu_with_derivative(block, a, memory, slope);
      a = memory;
      memory += 2 * block;
    }
    for (std::int64_t i = 0; i < s.out; ++i)
      bias_parts[unit * s.out + i] = tree_sum(s.points, from + i * s.points);
    blas::gemm(Op::none, Op::transpose, s.out, s.in, s.points, T(1), from, s.points, a, s.points, T(0),
               weight_parts.at(unit * s.out * s.in), s.in);
    if (!dz.defined()) return;
    T* const to = dz.at(unit * block);
    blas::gemm(Op::transpose, Op::none, s.in, s.points, s.out, T(1), weight.at(l * weight_step), s.in, from,
               s.points, T(0), to, s.points);
    if (synthesis.waves.defined()) synthesis.add(unit, to, memory);
    if (activate)
      for (std::int64_t i = 0; i < block; ++i) to[i] *= slope[i];
  }
};
template <class T>
PointwiseBackwardUnit<T> unit_of(const PointwiseBackward<T>& b, const TileWaves<T>& transform,
                                 DevicePtr<T> work) {
  return {b.shape,
          b.activate,
          b.z,
          b.dy,
          b.weight.values,
          b.weight.step,
          SynthesisUnit<T>(b.waves, transform, b.shape.batch, b.shape.in),
          b.dz,
          b.weight_parts,
          b.bias_parts,
          work};
}
/// Points that are taken together: the hidden layer for so many stays in the second-level cache.
template <class T>
constexpr std::int64_t kHeadPoints = 1024 / static_cast<std::int64_t>(sizeof(T));

/// The head's numbers and operands inside kernels.
template <class T>
struct HeadViews {
  std::int64_t batch, in, hidden, out, points, wide;
  View<const T> z, weight1, bias1, weight2, bias2;
  std::int64_t weight1_step, bias1_step, weight2_step, bias2_step;

  explicit HeadViews(const Head<T>& h)
      : batch(h.batch),
        in(h.in),
        hidden(h.hidden),
        out(h.out),
        points(h.points),
        wide(std::min(kHeadPoints<T>, h.points)),
        z(h.z),
        weight1(h.weight1.values),
        bias1(h.bias1.values),
        weight2(h.weight2.values),
        bias2(h.bias2.values),
        weight1_step(h.weight1.step),
        bias1_step(h.bias1.step),
        weight2_step(h.weight2.step),
        bias2_step(h.bias2.step) {}
  std::int64_t blocks() const { return points == 0 ? 0 : (points + wide - 1) / wide; }

  /// inner [hidden][n] = weight1 active + bias1, active [in][n].
  inline void first(std::int64_t l, std::int64_t n, const T* active, T* inner) const {
    const T* const bias = bias1.at(l * bias1_step);
    for (std::int64_t i = 0; i < hidden; ++i) std::fill_n(inner + i * n, n, bias[i]);
    blas::gemm(Op::none, Op::none, hidden, n, in, T(1), weight1.at(l * weight1_step), in, active, n, T(1),
               inner, n);
  }
};

/// Some points of one tile and sample at a time.
template <class T>
struct HeadForwardUnit {
  HeadViews<T> h;
  View<T> y, work;

  std::int64_t scratch() const { return (h.in + h.hidden) * h.wide; }
  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t at = unit / h.blocks(), l = at / h.batch, p = unit % h.blocks() * h.wide;
    const std::int64_t n = std::min(h.wide, h.points - p);
    T* const active = work.at(worker * scratch());
    T* const inner = active + h.in * h.wide;
    const T* const from = h.z.at(at * h.in * h.points + p);
    for (std::int64_t c = 0; c < h.in; ++c)
      map_flat<Gelu, T, T>(Gelu{}, n, active + c * n, from + c * h.points);
    h.first(l, n, active, inner);
    map_flat<Gelu, T, T>(Gelu{}, h.hidden * n, inner, inner);
    T* const to = y.at(at * h.out * h.points + p);
    const T* const bias = h.bias2.at(l * h.bias2_step);
    for (std::int64_t i = 0; i < h.out; ++i) std::fill_n(to + i * h.points, n, bias[i]);
    blas::gemm(Op::none, Op::none, h.out, n, h.hidden, T(1), h.weight2.at(l * h.weight2_step), h.hidden,
               inner, n, T(1), to, h.points);
  }
};

/// One tile and sample at a time, its points in blocks, in order.
template <class T>
struct HeadBackwardUnit {
  HeadViews<T> h;
  View<const T> dy;
  View<T> dz, weight1_parts, bias1_parts, weight2_parts, bias2_parts, work;

  std::int64_t scratch() const { return (2 * h.in + 3 * h.hidden) * h.wide; }
  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t l = unit / h.batch;
    T* const active = work.at(worker * scratch());
    T* const slope = active + h.in * h.wide;
    T* const inner = slope + h.in * h.wide;
    T* const inner_slope = inner + h.hidden * h.wide;
    T* const dinner = inner_slope + h.hidden * h.wide;
    for (std::int64_t p = 0; p < h.points; p += h.wide) {
      const std::int64_t n = std::min(h.wide, h.points - p);
      const T keep = p == 0 ? T(0) : T(1);
      const T* const x = h.z.at(unit * h.in * h.points + p);
      const T* const from = dy.at(unit * h.out * h.points + p);
      for (std::int64_t c = 0; c < h.in; ++c)
        gelu_with_derivative(n, x + c * h.points, active + c * n, slope + c * n);
      h.first(l, n, active, inner);
      gelu_with_derivative(h.hidden * n, inner, inner, inner_slope);
      add_sums(p == 0, h.out, n, from, h.points, bias2_parts.at(unit * h.out));
      blas::gemm(Op::none, Op::transpose, h.out, h.hidden, n, T(1), from, h.points, inner, n, keep,
                 weight2_parts.at(unit * h.out * h.hidden), h.hidden);
      blas::gemm(Op::transpose, Op::none, h.hidden, n, h.out, T(1), h.weight2.at(l * h.weight2_step),
                 h.hidden, from, h.points, T(0), dinner, n);
      for (std::int64_t i = 0; i < h.hidden * n; ++i) dinner[i] *= inner_slope[i];
      add_sums(p == 0, h.hidden, n, dinner, n, bias1_parts.at(unit * h.hidden));
      blas::gemm(Op::none, Op::transpose, h.hidden, h.in, n, T(1), dinner, n, active, n, keep,
                 weight1_parts.at(unit * h.hidden * h.in), h.in);
      if (!dz.defined()) continue;
      T* const to = dz.at(unit * h.in * h.points + p);
      blas::gemm(Op::transpose, Op::none, h.in, n, h.hidden, T(1), h.weight1.at(l * h.weight1_step), h.in,
                 dinner, n, T(0), to, h.points);
      for (std::int64_t c = 0; c < h.in; ++c) {
        T* const row = to + c * h.points;
        const T* const s = slope + c * n;
        for (std::int64_t i = 0; i < n; ++i) row[i] *= s[i];
      }
    }
  }
  static inline void add_sums(bool first, std::int64_t rows, std::int64_t n, const T* x, std::int64_t ld,
                              T* sums) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const T sum = tree_sum(n, x + i * ld);
      sums[i] = first ? sum : sums[i] + sum;
    }
  }
};
#endif

/// Elements of a parameter whose tiles have `count` each.
template <class T>
std::int64_t elements_of(const TileValues<T>& parameter, std::int64_t tiles, std::int64_t count) {
  return parameter.step == 0 ? count : tiles * count;
}
[[maybe_unused]] double product_flops(const PointwiseShape& s) {
  return 2 * static_cast<double>(s.tiles * s.batch * s.points) * static_cast<double>(s.in * s.out);
}

/// Sets `n` elements of work memory apart.
template <class T>
DevicePtr<T> take(DevicePtr<T>& work, std::int64_t n) {
  const DevicePtr<T> here = work;
  work = work + n;
  return here;
}

}  // namespace

template <class T>
void gelu(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y) {
  map("fourier.gelu", Gelu{}, n, y, x);
}

template <class T>
static Cost mixing_work(const ModeMixing& s) {
  return {8.0 * static_cast<double>(s.batch * s.in * s.out * s.modes),
          in_bytes<T>(2 * s.modes * (s.in * s.out + s.batch * (s.in + s.out)))};
}
template <class T>
void mix_modes(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> x, DevicePtr<T> y) {
  count_work("fourier.mix_modes", mixing_work<T>(shape));
  if (runs_portable(Tuned::mix_modes)) return mix_modes_portable(shape, w, x, y);
#if !RANKINE_ON_DEVICE
  host_blocks("fourier.mix_modes", shape.out, MixChannel<T, mix_modes<T>>{shape, w, x, y});
#endif
}
template <class T>
void mix_modes_portable(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> x, DevicePtr<T> y) {
  mix_elements<false>("fourier.mix_modes", mix_forward(shape), w, x, y);
}
template <class T>
void mix_modes_backward_input(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> dy,
                              DevicePtr<T> dx) {
  count_work("fourier.mix_modes_backward_input", mixing_work<T>(shape));
  if (runs_portable(Tuned::mix_modes_backward_input))
    return mix_modes_backward_input_portable(shape, w, dy, dx);
#if !RANKINE_ON_DEVICE
  host_blocks("fourier.mix_modes_backward_input", shape.in,
              MixChannel<T, mix_modes_backward_input<T>>{shape, w, dy, dx});
#endif
}
template <class T>
void mix_modes_backward_input_portable(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> dy,
                                       DevicePtr<T> dx) {
  mix_elements<true>("fourier.mix_modes_backward_input", mix_backward_input(shape), w, dy, dx);
}
template <class T>
void mix_modes_backward_weight(const ModeMixing& shape, DevicePtr<const T> x, DevicePtr<const T> dy,
                               DevicePtr<T> dw) {
  count_work("fourier.mix_modes_backward_weight", mixing_work<T>(shape));
  if (runs_portable(Tuned::mix_modes_backward_weight))
    return mix_modes_backward_weight_portable(shape, x, dy, dw);
#if !RANKINE_ON_DEVICE
  host_blocks("fourier.mix_modes_backward_weight", shape.in,
              MixChannel<T, mix_modes_backward_weight<T>>{shape, x, dy, dw});
#endif
}
template <class T>
void mix_modes_backward_weight_portable(const ModeMixing& shape, DevicePtr<const T> x, DevicePtr<const T> dy,
                                        DevicePtr<T> dw) {
  mix_elements<true>("fourier.mix_modes_backward_weight", mix_backward_weight(shape), x, dy, dw);
}

template <class T>
std::int64_t pointwise_forward_portable_work(const PointwiseForward<T>& f, const TileWaves<T>& transform) {
  return f.waves ? transform_work(transform, f.shape.batch, f.shape.out) : 0;
}
template <class T>
void pointwise_forward_portable(const PointwiseForward<T>& f, const TileWaves<T>& transform,
                                DevicePtr<T> work) {
  at_points("fourier.pointwise", f.shape, f.x, f.weight, f.bias, f.y);
  if (f.waves) synthesise(transform, f.shape.batch, f.shape.out, f.waves, 0, T(1), f.y, work);
}

template <class T>
std::int64_t pointwise_backward_portable_work(const PointwiseBackward<T>& b, const TileWaves<T>& transform) {
  const PointwiseShape& s = b.shape;
  const std::int64_t units = s.tiles * s.batch;
  return (b.activate ? 2 * units * s.in * s.points : 0) +
         (b.waves ? transform_work(transform, s.batch, s.in) : 0) + reduce_workspace(units * s.out, s.points);
}
template <class T>
void pointwise_backward_portable(const PointwiseBackward<T>& b, const TileWaves<T>& transform,
                                 DevicePtr<T> work) {
  const PointwiseShape& s = b.shape;
  const std::int64_t units = s.tiles * s.batch, all = units * s.in * s.points;
  DevicePtr<const T> a = b.z, slope;
  if (b.activate) {
    const DevicePtr<T> active = take(work, all), its_slope = take(work, all);
    gelu_with_derivative(all, b.z, active, its_slope);
    a = active;
    slope = its_slope;
  }
  const DevicePtr<T> transformed = take(work, b.waves ? transform_work(transform, s.batch, s.in) : 0);
  row_sums("fourier.bias_parts", units * s.out, s.points, b.dy, b.bias_parts, work);
  weight_parts("fourier.weight_parts", s, b.dy, a, b.weight_parts);
  if (!b.dz) return;
  at_points_transposed("fourier.pointwise_backward", s, b.dy, b.weight, b.dz);
  if (b.waves) synthesise(transform, s.batch, s.in, b.waves, 0, T(1), b.dz, transformed);
  if (b.activate) scale_by("fourier.gelu_backward", all, b.dz, slope);
}

template <class T>
std::int64_t head_forward_portable_work(const Head<T>& h) {
  return h.tiles * h.batch * (h.in + h.hidden) * h.points;
}
template <class T>
void head_forward_portable(const Head<T>& h, DevicePtr<T> y, DevicePtr<T> work) {
  const PointwiseShape first{h.tiles, h.batch, h.in, h.hidden, h.points},
      second{h.tiles, h.batch, h.hidden, h.out, h.points};
  const std::int64_t units = h.tiles * h.batch;
  const DevicePtr<T> active = take(work, units * h.in * h.points);
  const DevicePtr<T> inner = take(work, units * h.hidden * h.points);
  map("head.gelu", Gelu{}, units * h.in * h.points, active, h.z);
  at_points("head.first", first, DevicePtr<const T>(active), h.weight1, h.bias1, inner);
  map("head.gelu", Gelu{}, units * h.hidden * h.points, inner, DevicePtr<const T>(inner));
  at_points("head.second", second, DevicePtr<const T>(inner), h.weight2, h.bias2, y);
}

template <class T>
std::int64_t head_backward_portable_work(const HeadBackward<T>& b) {
  const Head<T>& h = b.head;
  const std::int64_t units = h.tiles * h.batch;
  return units * (2 * h.in + 3 * h.hidden) * h.points +
         std::max(reduce_workspace(units * h.out, h.points), reduce_workspace(units * h.hidden, h.points));
}
template <class T>
void head_backward_portable(const HeadBackward<T>& b, DevicePtr<T> work) {
  const Head<T>& h = b.head;
  const PointwiseShape first{h.tiles, h.batch, h.in, h.hidden, h.points},
      second{h.tiles, h.batch, h.hidden, h.out, h.points};
  const std::int64_t units = h.tiles * h.batch, outer = units * h.in * h.points,
                     hidden = units * h.hidden * h.points;
  const DevicePtr<T> active = take(work, outer), slope = take(work, outer), inner = take(work, hidden),
                     inner_slope = take(work, hidden), dinner = take(work, hidden);
  gelu_with_derivative(outer, h.z, active, slope);
  at_points("head.first", first, DevicePtr<const T>(active), h.weight1, h.bias1, inner);
  gelu_with_derivative(hidden, DevicePtr<const T>(inner), inner, inner_slope);
  row_sums("head.bias2_parts", units * h.out, h.points, b.dy, b.bias2_parts, work);
  weight_parts("head.weight2_parts", second, b.dy, DevicePtr<const T>(inner), b.weight2_parts);
  at_points_transposed("head.second_backward", second, b.dy, h.weight2, dinner);
  scale_by("head.gelu_backward", hidden, dinner, DevicePtr<const T>(inner_slope));
  row_sums("head.bias1_parts", units * h.hidden, h.points, DevicePtr<const T>(dinner), b.bias1_parts, work);
  weight_parts("head.weight1_parts", first, DevicePtr<const T>(dinner), DevicePtr<const T>(active),
               b.weight1_parts);
  if (!b.dz) return;
  at_points_transposed("head.first_backward", first, DevicePtr<const T>(dinner), h.weight1, b.dz);
  scale_by("head.gelu_backward", outer, b.dz, DevicePtr<const T>(slope));
}

namespace {

/// Forward there are one product with weight1 and one with weight2; backward two with weight2, and `products`
/// with weight1: three, or two where dz is not wanted.
template <class T>
Cost head_cost(const Head<T>& h, int products) {
  const bool backward = products > 1;
  const std::int64_t units = h.tiles * h.batch, points = units * h.points,
                     weights = h.hidden * (h.in + h.out + 1) + h.out;
  const double chains =
      static_cast<double>(products * h.in * h.hidden + (backward ? 2 : 1) * h.hidden * h.out);
  const double curves = backward ? GeluBackward::kFlops : Gelu::kFlops;
  return {static_cast<double>(points) * (2 * chains + curves * static_cast<double>(h.in + h.hidden)),
          in_bytes<T>(points * ((products == 3 ? 2 : 1) * h.in + h.out) + (backward ? units * weights : 0) +
                      elements_of(h.weight1, h.tiles, weights))};
}

/// Whether a tile and sample at a time keeps all threads busy. The bits are the same either way.
bool enough_units(const PointwiseShape& s) { return s.tiles * s.batch >= backend_concurrency(); }

template <class T>
bool forward_is_portable(const PointwiseForward<T>& f) {
  return runs_portable(Tuned::pointwise_forward) || !f.waves || !enough_units(f.shape);
}
template <class T>
bool backward_is_portable(const PointwiseBackward<T>& b) {
  return runs_portable(Tuned::pointwise_backward) || !enough_units(b.shape);
}

}  // namespace

template <class T>
std::int64_t pointwise_forward_work(const PointwiseForward<T>& f, const TileWaves<T>& transform) {
#if !RANKINE_ON_DEVICE
  const PointwiseShape& s = f.shape;
  if (!forward_is_portable(f))
    return worker_count(s.tiles * s.batch) * SynthesisUnit<T>(f.waves, transform, s.batch, s.out).scratch();
#endif
  return pointwise_forward_portable_work(f, transform);
}
template <class T>
void pointwise_forward(const PointwiseForward<T>& f, const TileWaves<T>& transform, DevicePtr<T> work) {
  if (forward_is_portable(f)) return pointwise_forward_portable(f, transform, work);
#if !RANKINE_ON_DEVICE
  const PointwiseShape& s = f.shape;
  const std::int64_t units = s.tiles * s.batch;
  const PointwiseForwardUnit<T> body{s,
                                     f.x,
                                     f.weight.values,
                                     f.bias.values,
                                     f.weight.step,
                                     f.bias.step,
                                     SynthesisUnit<T>(f.waves, transform, s.batch, s.out),
                                     f.y,
                                     work};
  count_work(
      "fourier.pointwise_forward",
      {product_flops(s) + transform.flops(s.batch, s.out),
       in_bytes<T>(units * s.points * (s.in + s.out) +
                   s.batch * s.out * transform.rows() * transform.columns() +
                   elements_of(f.weight, s.tiles, s.in * s.out) + elements_of(f.bias, s.tiles, s.out))});
  worker_units("fourier.pointwise_forward", units, worker_count(units), body);
#endif
}
template <class T>
std::int64_t pointwise_backward_work(const PointwiseBackward<T>& b, const TileWaves<T>& transform) {
#if !RANKINE_ON_DEVICE
  if (!backward_is_portable(b))
    return worker_count(b.shape.tiles * b.shape.batch) * unit_of(b, transform, DevicePtr<T>()).scratch();
#endif
  return pointwise_backward_portable_work(b, transform);
}
template <class T>
void pointwise_backward(const PointwiseBackward<T>& b, const TileWaves<T>& transform, DevicePtr<T> work) {
  if (backward_is_portable(b)) return pointwise_backward_portable(b, transform, work);
#if !RANKINE_ON_DEVICE
  const PointwiseShape& s = b.shape;
  const std::int64_t units = s.tiles * s.batch, inputs = units * s.in * s.points,
                     outputs = units * s.out * s.points;
  Cost cost{product_flops(s) + static_cast<double>(outputs) +
                (b.activate ? GeluBackward::kFlops * static_cast<double>(inputs) : 0),
            in_bytes<T>(inputs + outputs + units * s.out * (s.in + 1))};
  if (b.dz) cost += {product_flops(s), in_bytes<T>(inputs + elements_of(b.weight, s.tiles, s.in * s.out))};
  if (b.dz && b.waves)
    cost += {transform.flops(s.batch, s.in),
             in_bytes<T>(s.batch * s.in * transform.rows() * transform.columns())};
  count_work("fourier.pointwise_backward", cost);
  worker_units("fourier.pointwise_backward", units, worker_count(units), unit_of(b, transform, work));
#endif
}
template <class T>
std::int64_t head_forward_work(const Head<T>& head) {
#if !RANKINE_ON_DEVICE
  const HeadForwardUnit<T> body{HeadViews<T>(head), {}, {}};
  if (!runs_portable(Tuned::head_forward))
    return worker_count(head.tiles * head.batch * body.h.blocks()) * body.scratch();
#endif
  return head_forward_portable_work(head);
}
template <class T>
void head_forward(const Head<T>& head, DevicePtr<T> y, DevicePtr<T> work) {
  if (runs_portable(Tuned::head_forward)) return head_forward_portable(head, y, work);
#if !RANKINE_ON_DEVICE
  const HeadForwardUnit<T> body{HeadViews<T>(head), y, work};
  count_work("head.forward", head_cost(head, 1));
  const std::int64_t units = head.tiles * head.batch * body.h.blocks();
  worker_units("head.forward", units, worker_count(units), body);
#endif
}
template <class T>
std::int64_t head_backward_work(const HeadBackward<T>& b) {
#if !RANKINE_ON_DEVICE
  const HeadBackwardUnit<T> body{HeadViews<T>(b.head), {}, {}, {}, {}, {}, {}, {}};
  if (!runs_portable(Tuned::head_backward)) return worker_count(b.head.tiles * b.head.batch) * body.scratch();
#endif
  return head_backward_portable_work(b);
}
template <class T>
void head_backward(const HeadBackward<T>& b, DevicePtr<T> work) {
  if (runs_portable(Tuned::head_backward)) return head_backward_portable(b, work);
#if !RANKINE_ON_DEVICE
  const HeadBackwardUnit<T> body{HeadViews<T>(b.head), b.dy,          b.dz, b.weight1_parts, b.bias1_parts,
                                 b.weight2_parts,      b.bias2_parts, work};
  count_work("head.backward", head_cost(b.head, b.dz ? 3 : 2));
  const std::int64_t units = b.head.tiles * b.head.batch;
  worker_units("head.backward", units, worker_count(units), body);
#endif
}

#define RANKINE_FOURIER(T)                                                                                   \
  template void gelu(std::int64_t, DevicePtr<const T>, DevicePtr<T>);                                        \
  template std::int64_t pointwise_forward_work(const PointwiseForward<T>&, const TileWaves<T>&);             \
  template void pointwise_forward(const PointwiseForward<T>&, const TileWaves<T>&, DevicePtr<T>);            \
  template std::int64_t pointwise_forward_portable_work(const PointwiseForward<T>&, const TileWaves<T>&);    \
  template void pointwise_forward_portable(const PointwiseForward<T>&, const TileWaves<T>&, DevicePtr<T>);   \
  template std::int64_t pointwise_backward_work(const PointwiseBackward<T>&, const TileWaves<T>&);           \
  template void pointwise_backward(const PointwiseBackward<T>&, const TileWaves<T>&, DevicePtr<T>);          \
  template std::int64_t head_forward_work(const Head<T>&);                                                   \
  template void head_forward(const Head<T>&, DevicePtr<T>, DevicePtr<T>);                                    \
  template std::int64_t head_backward_work(const HeadBackward<T>&);                                          \
  template void head_backward(const HeadBackward<T>&, DevicePtr<T>);                                         \
  template std::int64_t pointwise_backward_portable_work(const PointwiseBackward<T>&, const TileWaves<T>&);  \
  template void pointwise_backward_portable(const PointwiseBackward<T>&, const TileWaves<T>&, DevicePtr<T>); \
  template std::int64_t head_forward_portable_work(const Head<T>&);                                          \
  template void head_forward_portable(const Head<T>&, DevicePtr<T>, DevicePtr<T>);                           \
  template std::int64_t head_backward_portable_work(const HeadBackward<T>&);                                 \
  template void head_backward_portable(const HeadBackward<T>&, DevicePtr<T>);
#define RANKINE_MIX(T, function)                                                                   \
  template void function(const ModeMixing&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>); \
  template void function##_portable(const ModeMixing&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>);
RANKINE_FOURIER(float)
RANKINE_FOURIER(double)
RANKINE_MIX(float, mix_modes)
RANKINE_MIX(double, mix_modes)
RANKINE_MIX(float, mix_modes_backward_input)
RANKINE_MIX(double, mix_modes_backward_input)
RANKINE_MIX(float, mix_modes_backward_weight)
RANKINE_MIX(double, mix_modes_backward_weight)

}  // namespace rankine::kernels
