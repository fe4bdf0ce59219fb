// Partial discrete Fourier transform of a grid that is cut into tiles: few modes, written as products with
// small matrices on each tile. What the tiles give is added up over them; so nothing but modes travels.
//
// A grid has points along t and up to three axes of space, the last one fastest. Retained are the modes
// k = 0 .. m-1 along the last axis and k = 0 .. m-1, -m .. -1 along each other; on a grid nt x nx
//   X[k_t, k_x] = sum_{t,x} u[t,x] exp(-2 pi i (k_t t / nt + k_x x / nx)).
// In two steps, over real waves. Along the last axis there are columns: cos(2 pi k x / nx), k = 0 .. m-1,
// then sin. Along each other there are rows: cos(2 pi k t / nt), k = 0 .. m, then sin, k = 1 .. m. A
// coefficient array s [rows of all axes][columns] of the whole grid is turned into modes by to_modes(): with
// c and s what the cosines and the sines along t give, each a complex number for each l from the two columns,
//   X[k, l] = c - i s,     X[-k, l] = c + i s,
// and so along each other axis in turn.
//
// The inverse of NumPy's irfftn over the retained modes is synthesise(from_modes(weight * Y)) with weight
// c_l / (number of points), c_0 = 1 and c_l = 2 (c = 1 also at the Nyquist wave): the real part is taken in
// column l = 0 too, so what is not Hermitian there is dropped as irfftn drops it. from_modes is the adjoint of
// to_modes, synthesise that of analyse (the gradient of a real loss being dL/dRe + i dL/dIm), so these four
// and mode mixing are all that forward and backward need.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device.hpp"

namespace rankine::kernels {

inline constexpr int kGridAxes = 4;

/// The retained modes and the points of a tile along each axis.
struct WaveShape {
  int axes;
  std::int64_t m[kGridAxes], n[kGridAxes];

  std::int64_t rows(int axis) const { return 2 * m[axis] + 1; }
  /// Rows of the axes before `axis`, and points of those behind it: what lies around it halfway.
  std::int64_t rows_before(int axis) const {
    std::int64_t all = 1;
    for (int a = 0; a < axis; ++a) all *= rows(a);
    return all;
  }
  std::int64_t points_behind(int axis) const {
    std::int64_t all = 1;
    for (int a = axis + 1; a < axes; ++a) all *= n[a];
    return all;
  }
  /// Values of a channel between the transform along `axis` and that along the next one.
  std::int64_t between(int axis) const { return rows_before(axis + 1) * points_behind(axis); }
  std::int64_t all_between() const {
    std::int64_t all = 0;
    for (int a = 0; a < axes - 1; ++a) all += between(a);
    return all;
  }

  std::int64_t rows() const { return rows_before(axes - 1); }
  std::int64_t columns() const { return 2 * m[axes - 1]; }
  std::int64_t points() const { return points_behind(-1); }
  /// Complex modes of a channel: [2 m of each axis before the last][m], low ones first, then -m .. -1.
  std::int64_t modes() const {
    std::int64_t all = m[axes - 1];
    for (int a = 0; a < axes - 1; ++a) all *= 2 * m[a];
    return all;
  }
};

/// The waves at the points of some tiles of one size, in device memory.
template <class T>
struct TileWaves : WaveShape {
  std::int64_t tiles;
  DevicePtr<const T> along[kGridAxes - 1];  // [tiles][rows][points], of each axis but the last
  DevicePtr<const T> last;                  // [tiles][points][columns], of the last
  DevicePtr<const T> last_row;              // [tiles][columns][points]: the transposed of each
  DevicePtr<const T> weight;                // [m of the last axis], of the inverse transform

  /// Of a transform, in either direction.
  double flops(std::int64_t batch, std::int64_t channels) const {
    std::int64_t products = rows() * n[axes - 1] * columns();
    for (int a = 0; a < axes - 1; ++a) products += between(a) * n[a];
    return 2.0 * static_cast<double>(tiles * batch * channels) * static_cast<double>(products);
  }
};

/// The waves of a grid. T: float or double.
template <class T>
class PartialDft {
 public:
  using PerAxis = std::vector<std::int64_t>;
  /// The points of the grid and the modes along each axis: one to four, 2 m <= n, at the last one
  /// m <= n / 2 + 1.
  PartialDft(PerAxis points, PerAxis modes);

  /// What tables_at() takes apart, for tiles of so many points whose first ones are the origins in the grid.
  std::vector<T> tables(const std::vector<PerAxis>& origins, const PerAxis& tile) const;
  /// The same tables in device memory, which must outlive what is returned.
  TileWaves<T> tables_at(DevicePtr<const T> tables, std::int64_t tiles, const PerAxis& tile) const;

 private:
  PerAxis points_, modes_;
};

// Of all tiles l and samples b at once. T: float or double.

/// Elements of `work` that the next two need.
template <class T>
std::int64_t transform_work(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels) {
  return waves.tiles * batch * channels * waves.all_between();
}
/// u [tiles][batch][channels][points] to each tile's share of s [tiles][batch][channels][rows][columns].
template <class T>
void analyse(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> u,
             DevicePtr<T> s, DevicePtr<T> work);
/// The adjoint: u = synthesis + beta u. The coefficients of tile l begin l tile_step behind s: 0 where all
/// tiles have the same.
template <class T>
void synthesise(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels, DevicePtr<const T> s,
                std::int64_t tile_step, T beta, DevicePtr<T> u, DevicePtr<T> work);

/// s [channels][rows][columns] to modes [channels][2][modes()], real parts first; times the weights of the
/// inverse transform if `weighted`.
template <class T>
void to_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> s, DevicePtr<T> modes,
              bool weighted);
/// The adjoint; overwrites s.
template <class T>
void from_modes(const TileWaves<T>& waves, std::int64_t channels, DevicePtr<const T> modes, DevicePtr<T> s,
                bool weighted);

}  // namespace rankine::kernels
