// Partial discrete Fourier transform of a grid that is cut into tiles: few modes, written as products with
// small matrices on each tile. What the tiles give is added up over them; so nothing but modes travels.
//
// Global grid nt x nx, retained modes k_t = 0 .. m_t-1, -m_t .. -1 and k_x = 0 .. m_x-1:
//   X[k_t, k_x] = sum_{t,x} u[t,x] exp(-2 pi i (k_t t / nt + k_x x / nx)).
// In two steps, over real waves: rows are cos(2 pi k t / nt), k = 0 .. m_t, then sin, k = 1 .. m_t; columns
// are cos(2 pi k x / nx), k = 0 .. m_x-1, then sin. A coefficient array s [rows][columns] of the whole grid
// is turned into modes by to_modes(): with P, Q = cos rows times cos, sin columns and U, V = sin rows times
// cos, sin columns,
//   X[k, l] = (P - V) - i (Q + U),     X[-k, l] = (P + V) + i (U - Q).
//
// The inverse of NumPy's irfftn over the retained modes is synthesise(from_modes(weight * Y)) with weight
// c_l / (nt nx), c_0 = 1 and c_l = 2 (c = 1 also at the Nyquist wave): the real part is taken in column l = 0
// too, so what is not Hermitian there is dropped as irfftn drops it. from_modes is the adjoint of to_modes,
// synthesise that of analyse (the gradient of a real loss being dL/dRe + i dL/dIm), so these four and mode
// mixing are all that forward and backward need.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// The waves at the points of some tiles of one size, in device memory.
template <class T>
struct TileWaves {
  std::int64_t modes_t, modes_x;
  std::int64_t tiles, nt, nx;      // how many, and the points of each
  DevicePtr<const T> along_t;      // [tiles][rows][nt]
  DevicePtr<const T> along_x;      // [tiles][nx][columns]
  DevicePtr<const T> along_x_row;  // [tiles][columns][nx]: the transposed of each
  DevicePtr<const T> weight;       // [modes_x], of the inverse transform

  std::int64_t rows() const { return 2 * modes_t + 1; }
  std::int64_t columns() const { return 2 * modes_x; }
  /// Of a transform, in either direction.
  double flops(std::int64_t batch, std::int64_t channels) const {
    return 2.0 * static_cast<double>(tiles * batch * channels * rows()) *
           static_cast<double>(nx * (nt + columns()));
  }
  /// Complex modes of a channel: [2 modes_t][modes_x], low k_t first, then -modes_t .. -1.
  std::int64_t modes() const { return 2 * modes_t * modes_x; }
};

/// The waves of a grid. T: float or double.
template <class T>
class PartialDft {
 public:
  /// Throws InputError if 2 modes_t > nt or modes_x > nx / 2 + 1: more modes than points.
  PartialDft(std::int64_t nt, std::int64_t nx, std::int64_t modes_t, std::int64_t modes_x);

  std::int64_t rows() const { return 2 * modes_t_ + 1; }
  std::int64_t columns() const { return 2 * modes_x_; }
  std::int64_t modes() const { return 2 * modes_t_ * modes_x_; }

  /// A tile's first point in the global grid.
  struct Origin {
    std::int64_t t0, x0;
  };
  /// What tables_at() takes apart, for tiles of nt x nx points.
  std::vector<T> tables(const std::vector<Origin>& origins, std::int64_t nt, std::int64_t nx) const;
  /// The same tables in device memory, which must outlive what is returned.
  TileWaves<T> tables_at(DevicePtr<const T> tables, std::int64_t tiles, std::int64_t nt,
                         std::int64_t nx) const;

 private:
  std::int64_t nt_, nx_, modes_t_, modes_x_;
};

// Of all tiles l and samples b at once. T: float or double.

/// Elements of `work` that the next two need.
template <class T>
std::int64_t transform_work(const TileWaves<T>& waves, std::int64_t batch, std::int64_t channels) {
  return waves.tiles * batch * channels * waves.rows() * waves.nx;
}
/// u [tiles][batch][channels][nt][nx] to each tile's share of s [tiles][batch][channels][rows][columns].
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
