#include "kernels/dft.hpp"

#include <cmath>
#include <numbers>
#include <string>

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
PartialDft<T>::PartialDft(std::int64_t nt, std::int64_t nx, std::int64_t modes_t, std::int64_t modes_x)
    : nt_(nt), nx_(nx), modes_t_(modes_t), modes_x_(modes_x) {
  if (modes_t < 1 || 2 * modes_t > nt)
    throw InputError(std::to_string(modes_t) + " modes of both signs in t on " + std::to_string(nt) +
                     " points; allowed are 1 to " + std::to_string(nt / 2));
  if (modes_x < 1 || modes_x > nx / 2 + 1)
    throw InputError(std::to_string(modes_x) + " modes in x on " + std::to_string(nx) +
                     " points; allowed are 1 to " + std::to_string(nx / 2 + 1));
}

template <class T>
std::vector<T> PartialDft<T>::tables(const std::vector<Origin>& origins, std::int64_t nt,
                                     std::int64_t nx) const {
  std::vector<T> out;
  const auto add = [&out](double value) { out.push_back(static_cast<T>(value)); };
  for (const Origin& origin : origins)
    for (std::int64_t row = 0; row < rows(); ++row)
      for (std::int64_t t = origin.t0; t < origin.t0 + nt; ++t)
        add(row <= modes_t_ ? wave(row, t, nt_).cosine : wave(row - modes_t_, t, nt_).sine);
  const auto along_x = [this](std::int64_t column, std::int64_t x) {
    return column < modes_x_ ? wave(column, x, nx_).cosine : wave(column - modes_x_, x, nx_).sine;
  };
  for (const Origin& origin : origins)
    for (std::int64_t x = origin.x0; x < origin.x0 + nx; ++x)
      for (std::int64_t column = 0; column < columns(); ++column) add(along_x(column, x));
  for (const Origin& origin : origins)
    for (std::int64_t column = 0; column < columns(); ++column)
      for (std::int64_t x = origin.x0; x < origin.x0 + nx; ++x) add(along_x(column, x));
  for (std::int64_t k = 0; k < modes_x_; ++k) {
    const bool alone = k == 0 || 2 * k == nx_;  // its own mirror image
    add((alone ? 1.0 : 2.0) / (static_cast<double>(nt_) * static_cast<double>(nx_)));
  }
  return out;
}

template <class T>
TileWaves<T> PartialDft<T>::tables_at(DevicePtr<const T> tables, std::int64_t tiles, std::int64_t nt,
                                      std::int64_t nx) const {
  const DevicePtr<const T> along_x = tables + tiles * rows() * nt,
                           along_x_row = along_x + tiles * nx * columns();
  return {
      modes_t_, modes_x_, tiles, nt, nx, tables, along_x, along_x_row, along_x_row + tiles * columns() * nx};
}

template class PartialDft<float>;
template class PartialDft<double>;

namespace {
#if !RANKINE_ON_DEVICE
/// The two products of one tile and sample, so that what is between them stays in the caches.
template <class T>
struct AnalyseUnit {
  std::int64_t batch, channels, rows, columns, nt, nx;
  View<const T> along_t, along_x, u;
  View<T> s, work;
  inline void operator()(std::int64_t worker, std::int64_t unit) const {
    const std::int64_t l = unit / batch;
    const T* const from = u.at(unit * channels * nt * nx);
    T* const half = work.at(worker * channels * rows * nx);
    for (std::int64_t c = 0; c < channels; ++c)
      blas::gemm(blas::Op::none, blas::Op::none, rows, nx, nt, T(1), along_t.at(l * rows * nt), nt,
                 from + c * nt * nx, nx, T(0), half + c * rows * nx, nx);
    blas::gemm(blas::Op::none, blas::Op::none, channels * rows, columns, nx, T(1), half, nx,
               along_x.at(l * nx * columns), columns, T(0), s.at(unit * channels * rows * columns), columns);
  }
};
#endif
}  // namespace

template <class T>
void analyse(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> u,
             DevicePtr<T> s, DevicePtr<T> work) {
  const std::int64_t rows = waves.rows(), columns = waves.columns(), nt = waves.nt, nx = waves.nx;
#if !RANKINE_ON_DEVICE
  const std::int64_t units = waves.tiles * batch;
  if (units >= backend_concurrency() && !runs_portable(Tuned::analyse)) {
    const AnalyseUnit<T> body{batch,         channels,      rows, columns, nt,  nx,
                              waves.along_t, waves.along_x, u,    s,       work};
    count_work("fourier.analyse",
               {waves.flops(batch, channels), in_bytes<T>(units * channels * (nt * nx + rows * columns))});
    worker_units("fourier.analyse", units, worker_count(units), body);
    return;
  }
#endif
  product(Product{.name = "fourier.analyse_t",
                  .m = rows,
                  .n = nx,
                  .k = nt,
                  .lda = nt,
                  .ldb = nx,
                  .ldc = nx,
                  .batch = {waves.tiles, batch, channels},
                  .a_step = {rows * nt, 0, 0},
                  .b_step = {batch * channels * nt * nx, channels * nt * nx, nt * nx},
                  .c_step = {batch * channels * rows * nx, channels * rows * nx, rows * nx}},
          T(1), waves.along_t, u, T(0), work);
  product(Product{.name = "fourier.analyse_x",
                  .m = channels * rows,
                  .n = columns,
                  .k = nx,
                  .lda = nx,
                  .ldb = columns,
                  .ldc = columns,
                  .batch = {waves.tiles, batch, 1},
                  .a_step = {batch * channels * rows * nx, channels * rows * nx, 0},
                  .b_step = {nx * columns, 0, 0},
                  .c_step = {batch * channels * rows * columns, channels * rows * columns, 0}},
          T(1), DevicePtr<const T>(work), waves.along_x, T(0), s);
}

template <class T>
void synthesise(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> s,
                std::int64_t tile_step, T beta, DevicePtr<T> u, DevicePtr<T> work) {
  const std::int64_t rows = waves.rows(), columns = waves.columns(), nt = waves.nt, nx = waves.nx;
  product(Product{.name = "fourier.synthesise_x",
                  .m = channels * rows,
                  .n = nx,
                  .k = columns,
                  .lda = columns,
                  .ldb = nx,
                  .ldc = nx,
                  .batch = {waves.tiles, batch, 1},
                  .a_step = {tile_step, channels * rows * columns, 0},
                  .b_step = {columns * nx, 0, 0},
                  .c_step = {batch * channels * rows * nx, channels * rows * nx, 0}},
          T(1), s, waves.along_x_row, T(0), work);
  product(Product{.name = "fourier.synthesise_t",
                  .op_a = blas::Op::transpose,
                  .m = nt,
                  .n = nx,
                  .k = rows,
                  .lda = nt,
                  .ldb = nx,
                  .ldc = nx,
                  .batch = {waves.tiles, batch, channels},
                  .a_step = {rows * nt, 0, 0},
                  .b_step = {batch * channels * rows * nx, channels * rows * nx, rows * nx},
                  .c_step = {batch * channels * nt * nx, channels * nt * nx, nt * nx}},
          T(1), waves.along_t, DevicePtr<const T>(work), beta, u);
}

namespace {

/// Rows k of cosines that a worker of the next two kernels takes: all of a channel on the host.
KOKKOS_FORCEINLINE_FUNCTION std::int64_t rows_together(std::int64_t modes_t) {
  return RANKINE_ON_DEVICE ? 1 : modes_t + 1;
}

template <class T>
struct ToModes {
  std::int64_t m, width;  // modes_t, modes_x
  bool weighted;
  View<const T> weight, s;
  View<T> modes;
  RANKINE_KERNEL void operator()(std::int64_t unit, const Columns& all) const {
    const std::int64_t together = rows_together(m), groups = (m + together) / together;
    const std::int64_t c = unit / groups, begin = unit % groups * together;
    const T* const in = s.at(c * (2 * m + 1) * 2 * width);
    T* const re = modes.at(c * 4 * m * width);
    T* const im = re + 2 * m * width;
    for (std::int64_t k = begin; k < begin + together; ++k) {
      const T* const cosines = in + k * 2 * width;
      const T* const sines = in + (m + k) * 2 * width;  // not read for k = 0: its row does not exist
      all.each([&](std::int64_t l) {
        const T p = cosines[l], q = cosines[width + l];
        const T u = k > 0 ? sines[l] : T(0), v = k > 0 ? sines[width + l] : T(0);
        const T w = weighted ? weight[l] : T(1);
        if (k < m) {
          re[k * width + l] = w * (p - v);
          im[k * width + l] = w * -(q + u);
        }
        if (k > 0) {
          re[(2 * m - k) * width + l] = w * (p + v);
          im[(2 * m - k) * width + l] = w * (u - q);
        }
      });
    }
  }
};

template <class T>
struct FromModes {
  std::int64_t m, width;
  bool weighted;
  View<const T> weight, modes;
  View<T> s;
  RANKINE_KERNEL void operator()(std::int64_t unit, const Columns& all) const {
    const std::int64_t together = rows_together(m), groups = (m + together) / together;
    const std::int64_t c = unit / groups, begin = unit % groups * together;
    T* const out = s.at(c * (2 * m + 1) * 2 * width);
    const T* const re = modes.at(c * 4 * m * width);
    const T* const im = re + 2 * m * width;
    for (std::int64_t k = begin; k < begin + together; ++k) {
      T* const cosines = out + k * 2 * width;
      T* const sines = out + (m + k) * 2 * width;
      all.each([&](std::int64_t l) {
        const T w = weighted ? weight[l] : T(1);
        const T a = k < m ? re[k * width + l] : T(0), b = k < m ? im[k * width + l] : T(0);
        const T e = k > 0 ? re[(2 * m - k) * width + l] : T(0);
        const T f = k > 0 ? im[(2 * m - k) * width + l] : T(0);
        cosines[l] = w * (a + e);
        cosines[width + l] = w * -(b + f);
        if (k > 0) {
          sines[l] = w * (f - b);
          sines[width + l] = w * (e - a);
        }
      });
    }
  }
};

/// Two additions and a weight for each number.
template <class T>
Cost mode_work(const TileWaves<T>& waves, std::int64_t channels) {
  const std::int64_t numbers = channels * 2 * waves.modes();
  return {2.0 * static_cast<double>(numbers),
          in_bytes<T>(numbers + channels * waves.rows() * waves.columns())};
}

}  // namespace

template <class T>
void to_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> s, DevicePtr<T> modes,
              bool weighted) {
  const std::int64_t together = rows_together(waves.modes_t), groups = (waves.modes_t + together) / together;
  count_work("fourier.to_modes", mode_work(waves, channels));
  columns("fourier.to_modes", channels * groups, waves.modes_x,
          ToModes<T>{waves.modes_t, waves.modes_x, weighted, waves.weight, s, modes});
}

template <class T>
void from_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> modes, DevicePtr<T> s,
                bool weighted) {
  const std::int64_t together = rows_together(waves.modes_t), groups = (waves.modes_t + together) / together;
  count_work("fourier.from_modes", mode_work(waves, channels));
  columns("fourier.from_modes", channels * groups, waves.modes_x,
          FromModes<T>{waves.modes_t, waves.modes_x, weighted, waves.weight, modes, s});
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
