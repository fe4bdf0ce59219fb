#include "kernels/dft.hpp"

#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/product.hpp"
#include "kernels/rows.hpp"

namespace rankine::kernels {
namespace {

// cos and sin of 2 pi k i / n, with the angle reduced in integers so that it is exact for any grid.
struct Wave {
  double cosine, sine;
};
Wave wave(std::int64_t k, std::int64_t i, std::int64_t n) {
  const double angle = 2 * std::numbers::pi * static_cast<double>(k * i % n) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

}  // namespace

template <class T>
PartialDft<T>::PartialDft(PerAxis points, PerAxis modes)
    : points_(std::move(points)), modes_(std::move(modes)) {
  RANKINE_ASSERT(
      !points_.empty() && points_.size() <= kGridAxes && modes_.size() == points_.size(),
      "modes along " + std::to_string(modes_.size()) + " of " + std::to_string(points_.size()) + " axes");
  for (std::size_t a = 0; a < points_.size(); ++a) {
    const std::int64_t most = a + 1 < points_.size() ? points_[a] / 2 : points_[a] / 2 + 1;
    RANKINE_ASSERT(modes_[a] >= 1 && modes_[a] <= most, std::to_string(modes_[a]) + " modes along axis " +
                                                            std::to_string(a) + " of " +
                                                            std::to_string(points_[a]) + " points");
  }
}

template <class T>
std::vector<T> PartialDft<T>::tables(const std::vector<PerAxis>& origins, const PerAxis& tile) const {
  std::vector<T> out;
  const auto add = [&out](double value) { out.push_back(static_cast<T>(value)); };
  const std::size_t last = points_.size() - 1;
  for (std::size_t a = 0; a < last; ++a)
    for (const PerAxis& origin : origins)
      for (std::int64_t row = 0; row < 2 * modes_[a] + 1; ++row)
        for (std::int64_t t = origin[a]; t < origin[a] + tile[a]; ++t)
          add(row <= modes_[a] ? wave(row, t, points_[a]).cosine : wave(row - modes_[a], t, points_[a]).sine);
  const std::int64_t m = modes_[last], n = points_[last], columns = 2 * m;
  const auto along_last = [m, n](std::int64_t column, std::int64_t x) {
    return column < m ? wave(column, x, n).cosine : wave(column - m, x, n).sine;
  };
  for (const PerAxis& origin : origins)
    for (std::int64_t x = origin[last]; x < origin[last] + tile[last]; ++x)
      for (std::int64_t column = 0; column < columns; ++column) add(along_last(column, x));
  for (const PerAxis& origin : origins)
    for (std::int64_t column = 0; column < columns; ++column)
      for (std::int64_t x = origin[last]; x < origin[last] + tile[last]; ++x) add(along_last(column, x));
  double all = 1;
  for (const std::int64_t points : points_) all *= static_cast<double>(points);
  for (std::int64_t k = 0; k < m; ++k) {
    const bool alone = k == 0 || 2 * k == n;  // its own mirror image
    add((alone ? 1.0 : 2.0) / all);
  }
  return out;
}

template <class T>
TileWaves<T> PartialDft<T>::tables_at(DevicePtr<const T> tables, std::int64_t tiles,
                                      const PerAxis& tile) const {
  TileWaves<T> waves{};
  waves.axes = static_cast<int>(points_.size());
  waves.tiles = tiles;
  for (std::size_t a = 0; a < points_.size(); ++a) {
    waves.m[a] = modes_[a];
    waves.n[a] = tile[a];
  }
  const int last = waves.axes - 1;
  for (int a = 0; a < last; ++a) {
    waves.along[a] = tables;
    tables = tables + tiles * waves.rows(a) * waves.n[a];
  }
  const std::int64_t of_last = tiles * waves.columns() * waves.n[last];
  waves.last = tables;
  waves.last_row = tables + of_last;
  waves.weight = waves.last_row + of_last;
  return waves;
}

template class PartialDft<float>;
template class PartialDft<double>;

namespace {
#if !RANKINE_ON_DEVICE
/// The products of one tile and sample, so that what is between them stays in the caches.
template <class T>
struct AnalyseUnit {
  std::int64_t batch, channels;
  WaveShape shape;
  View<const T> along[kGridAxes - 1], last, u;
  View<T> s, work;

  AnalyseUnit(const TileWaves<T>& waves, std::int64_t samples, std::int64_t width, DevicePtr<const T> from,
              DevicePtr<T> to, DevicePtr<T> memory)
      : batch(samples), channels(width), shape(waves), last(waves.last), u(from), s(to), work(memory) {
    for (int a = 0; a < shape.axes - 1; ++a) along[a] = waves.along[a];
  }
  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t l = unit / batch, columns = shape.columns(), nx = shape.n[shape.axes - 1];
    const T* from = u.at(unit * channels * shape.points());
    T* to = work.at(worker * channels * shape.all_between());
    for (int a = 0; a < shape.axes - 1; ++a) {
      const std::int64_t rows = shape.rows(a), n = shape.n[a], behind = shape.points_behind(a);
      for (std::int64_t c = 0; c < channels * shape.rows_before(a); ++c)
        blas::gemm(blas::Op::none, blas::Op::none, rows, behind, n, T(1), along[a].at(l * rows * n), n,
                   from + c * n * behind, behind, T(0), to + c * rows * behind, behind);
      from = to;
      to += channels * shape.between(a);
    }
    blas::gemm(blas::Op::none, blas::Op::none, channels * shape.rows(), columns, nx, T(1), from, nx,
               last.at(l * nx * columns), columns, T(0), s.at(unit * channels * shape.rows() * columns),
               columns);
  }
};
#endif

constexpr const char* kAnalyse[] = {"fourier.analyse_0", "fourier.analyse_1", "fourier.analyse_2"};
constexpr const char* kSynthesise[] = {"fourier.synthesise_0", "fourier.synthesise_1",
                                       "fourier.synthesise_2"};
}  // namespace

template <class T>
void analyse(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> u,
             DevicePtr<T> s, DevicePtr<T> work) {
  const int last = waves.axes - 1;
  const std::int64_t columns = waves.columns(), units = waves.tiles * batch;
#if !RANKINE_ON_DEVICE
  if (units >= backend_concurrency() && !runs_portable(Tuned::analyse)) {
    count_work("fourier.analyse",
               {waves.flops(batch, channels),
                in_bytes<T>(units * channels * (waves.points() + waves.rows() * columns))});
    worker_units("fourier.analyse", units, worker_count(units),
                 AnalyseUnit<T>(waves, batch, channels, u, s, work));
    return;
  }
#endif
  for (int a = 0; a < last; ++a) {
    const std::int64_t rows = waves.rows(a), n = waves.n[a], behind = waves.points_behind(a),
                       blocks = channels * waves.rows_before(a);
    product(Product{.name = kAnalyse[a],
                    .m = rows,
                    .n = behind,
                    .k = n,
                    .lda = n,
                    .ldb = behind,
                    .ldc = behind,
                    .batch = {waves.tiles, batch, blocks},
                    .a_step = {rows * n, 0, 0},
                    .b_step = {batch * blocks * n * behind, blocks * n * behind, n * behind},
                    .c_step = {batch * blocks * rows * behind, blocks * rows * behind, rows * behind}},
            T(1), waves.along[a], u, T(0), work);
    u = work;
    work = work + units * channels * waves.between(a);
  }
  const std::int64_t rows = channels * waves.rows(), nx = waves.n[last];
  product(Product{.name = "fourier.analyse_last",
                  .m = rows,
                  .n = columns,
                  .k = nx,
                  .lda = nx,
                  .ldb = columns,
                  .ldc = columns,
                  .batch = {waves.tiles, batch, 1},
                  .a_step = {batch * rows * nx, rows * nx, 0},
                  .b_step = {nx * columns, 0, 0},
                  .c_step = {batch * rows * columns, rows * columns, 0}},
          T(1), u, waves.last, T(0), s);
}

template <class T>
void synthesise(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> s,
                std::int64_t tile_step, T beta, DevicePtr<T> u, DevicePtr<T> work) {
  const int last = waves.axes - 1;
  const std::int64_t columns = waves.columns(), all_rows = channels * waves.rows(), nx = waves.n[last];
  product(Product{.name = "fourier.synthesise_last",
                  .m = all_rows,
                  .n = nx,
                  .k = columns,
                  .lda = columns,
                  .ldb = nx,
                  .ldc = nx,
                  .batch = {waves.tiles, batch, 1},
                  .a_step = {tile_step, all_rows * columns, 0},
                  .b_step = {columns * nx, 0, 0},
                  .c_step = {batch * all_rows * nx, all_rows * nx, 0}},
          T(1), s, waves.last_row, last == 0 ? beta : T(0), last == 0 ? u : work);
  for (int a = last - 1; a >= 0; --a) {
    const DevicePtr<const T> from = work;
    work = work + waves.tiles * batch * channels * waves.between(a);
    const std::int64_t rows = waves.rows(a), n = waves.n[a], behind = waves.points_behind(a),
                       blocks = channels * waves.rows_before(a);
    product(Product{.name = kSynthesise[a],
                    .op_a = blas::Op::transpose,
                    .m = n,
                    .n = behind,
                    .k = rows,
                    .lda = n,
                    .ldb = behind,
                    .ldc = behind,
                    .batch = {waves.tiles, batch, blocks},
                    .a_step = {rows * n, 0, 0},
                    .b_step = {batch * blocks * rows * behind, blocks * rows * behind, rows * behind},
                    .c_step = {batch * blocks * n * behind, blocks * n * behind, n * behind}},
            T(1), waves.along[a], from, a == 0 ? beta : T(0), a == 0 ? u : work);
  }
}

namespace {

/// Frequencies 0 .. m of D axes together: their waves, a cosine or a sine along each axis, and their modes, of
/// one sign or the other. Bit d of an index says which along axis d. There is no sine of 0, no mode -0 and no
/// mode m; their rows are those of something else, so that they can be read.
template <int D>
struct Frequencies {
  static constexpr int kCount = 1 << D;
  std::int64_t wave[kCount], mode[kCount];
  bool has_wave[kCount], has_mode[kCount];
  KOKKOS_FORCEINLINE_FUNCTION Frequencies(const List<std::int64_t, kGridAxes>& m, std::int64_t at) {
    for (int b = 0; b < kCount; ++b) {
      wave[b] = mode[b] = 0;
      has_wave[b] = has_mode[b] = true;
    }
    std::int64_t wave_step = 1, mode_step = 1;
    for (int d = D - 1; d >= 0; --d) {
      const std::int64_t k = at % (m[d] + 1);
      at /= m[d] + 1;
      for (int b = 0; b < kCount; ++b) {
        const bool second = ((b >> d) & 1) != 0;
        wave[b] += wave_step * (second && k > 0 ? m[d] + k : k);
        has_wave[b] = has_wave[b] && (!second || k > 0);
        mode[b] += mode_step * (second && k > 0 ? 2 * m[d] - k : k < m[d] ? k : 0);
        has_mode[b] = has_mode[b] && (second ? k > 0 : k < m[d]);
      }
      wave_step *= 2 * m[d] + 1;
      mode_step *= 2 * m[d];
    }
  }
};

/// Of the frequencies of all axes before the last; a worker on the host takes all of a channel.
struct ModeMap {
  List<std::int64_t, kGridAxes> m;
  std::int64_t rows, width, mode_rows, frequencies;  // width: modes of the last axis

  explicit ModeMap(const WaveShape& shape)
      : m{},
        rows(shape.rows()),
        width(shape.columns() / 2),
        mode_rows(shape.modes() / width),
        frequencies(1) {
    for (int a = 0; a < shape.axes - 1; ++a) {
      m[a] = shape.m[a];
      frequencies *= m[a] + 1;
    }
  }
  KOKKOS_FORCEINLINE_FUNCTION std::int64_t together() const { return RANKINE_ON_DEVICE ? 1 : frequencies; }
  KOKKOS_FORCEINLINE_FUNCTION std::int64_t groups() const { return RANKINE_ON_DEVICE ? frequencies : 1; }
};

/// z: what cosines and sines give, becomes modes, an axis after the other.
template <class T, int D>
struct ToModes {
  ModeMap map;
  bool weighted;
  View<const T> weight, s;
  View<T> modes;
  RANKINE_KERNEL void operator()(std::int64_t unit, const Columns& all) const {
    constexpr int kCount = 1 << D;
    const std::int64_t c = unit / map.groups(), begin = unit % map.groups(), width = map.width;
    const T* const in = s.at(c * map.rows * 2 * width);
    T* const out = modes.at(c * map.mode_rows * 2 * width);
    for (std::int64_t at = begin; at < begin + map.together(); ++at) {
      const Frequencies<D> f(map.m, at);
      all.each([&](std::int64_t l) {
        T re[kCount], im[kCount];
        for (int b = 0; b < kCount; ++b) {
          const T* const row = in + f.wave[b] * 2 * width;
          re[b] = f.has_wave[b] ? row[l] : T(0);
          im[b] = f.has_wave[b] ? -row[width + l] : T(0);
        }
        for (int axis = 1; axis < kCount; axis *= 2)
          for (int b = 0; b < kCount; ++b) {
            if ((b & axis) != 0) continue;
            const T p = re[b], q = im[b], u = re[b + axis], v = im[b + axis];
            re[b] = p + v;
            im[b] = q - u;
            re[b + axis] = p - v;
            im[b + axis] = q + u;
          }
        const T w = weighted ? weight[l] : T(1);
        for (int b = 0; b < kCount; ++b) {
          if (!f.has_mode[b]) continue;
          T* const row = out + f.mode[b] * width;
          row[l] = w * re[b];
          row[map.mode_rows * width + l] = w * im[b];
        }
      });
    }
  }
};

/// The adjoint.
template <class T, int D>
struct FromModes {
  ModeMap map;
  bool weighted;
  View<const T> weight, modes;
  View<T> s;
  RANKINE_KERNEL void operator()(std::int64_t unit, const Columns& all) const {
    constexpr int kCount = 1 << D;
    const std::int64_t c = unit / map.groups(), begin = unit % map.groups(), width = map.width;
    T* const out = s.at(c * map.rows * 2 * width);
    const T* const in = modes.at(c * map.mode_rows * 2 * width);
    for (std::int64_t at = begin; at < begin + map.together(); ++at) {
      const Frequencies<D> f(map.m, at);
      all.each([&](std::int64_t l) {
        T re[kCount], im[kCount];
        for (int b = 0; b < kCount; ++b) {
          const T* const row = in + f.mode[b] * width;
          re[b] = f.has_mode[b] ? row[l] : T(0);
          im[b] = f.has_mode[b] ? row[map.mode_rows * width + l] : T(0);
        }
        for (int axis = 1; axis < kCount; axis *= 2)
          for (int b = 0; b < kCount; ++b) {
            if ((b & axis) != 0) continue;
            const T p = re[b], q = im[b], u = re[b + axis], v = im[b + axis];
            re[b] = p + u;
            im[b] = q + v;
            re[b + axis] = v - q;
            im[b + axis] = p - u;
          }
        const T w = weighted ? weight[l] : T(1);
        for (int b = 0; b < kCount; ++b) {
          if (!f.has_wave[b]) continue;
          T* const row = out + f.wave[b] * 2 * width;
          row[l] = w * re[b];
          row[width + l] = w * -im[b];
        }
      });
    }
  }
};

/// Additions for each axis and a weight for each number.
template <class T>
Cost mode_work(const TileWaves<T>& waves, std::int64_t channels) {
  const std::int64_t numbers = channels * 2 * waves.modes();
  return {static_cast<double>(waves.axes * numbers),
          in_bytes<T>(numbers + channels * waves.rows() * waves.columns())};
}

/// A body for the number of axes before the last, on all channels.
template <template <class, int> class Body, class T>
void over_frequencies(const char* name, const TileWaves<T>& waves, std::int64_t channels, bool weighted,
                      DevicePtr<const T> from, DevicePtr<T> to) {
  const ModeMap map(waves);
  count_work(name, mode_work(waves, channels));
  const auto start = [&](const auto& body) { columns(name, channels * map.groups(), map.width, body); };
  switch (waves.axes) {
    case 1:
      return start(Body<T, 0>{map, weighted, waves.weight, from, to});
    case 2:
      return start(Body<T, 1>{map, weighted, waves.weight, from, to});
    case 3:
      return start(Body<T, 2>{map, weighted, waves.weight, from, to});
    default:
      return start(Body<T, 3>{map, weighted, waves.weight, from, to});
  }
}

}  // namespace

template <class T>
void to_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> s, DevicePtr<T> modes,
              bool weighted) {
  over_frequencies<ToModes>("fourier.to_modes", waves, channels, weighted, s, modes);
}

template <class T>
void from_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> modes, DevicePtr<T> s,
                bool weighted) {
  over_frequencies<FromModes>("fourier.from_modes", waves, channels, weighted, modes, s);
}

#define RANKINE_TRANSFORM(T)                                                                               \
  template void analyse(const TileWaves<T>&, std::int64_t, std::int64_t, DevicePtr<const T>, DevicePtr<T>, \
                        DevicePtr<T>);                                                                     \
  template void synthesise(const TileWaves<T>&, std::int64_t, std::int64_t, DevicePtr<const T>,            \
                           std::int64_t, T, DevicePtr<T>, DevicePtr<T>);                                   \
  template void to_modes(const TileWaves<T>&, std::int64_t, DevicePtr<const T>, DevicePtr<T>, bool);       \
  template void from_modes(const TileWaves<T>&, std::int64_t, DevicePtr<const T>, DevicePtr<T>, bool);
RANKINE_TRANSFORM(float)
RANKINE_TRANSFORM(double)

}  // namespace rankine::kernels
