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

namespace rankine::kernels {

/// T: float or double.
template <class T>
class PartialDft {
 public:
  /// Throws InputError if 2 modes_t > nt or modes_x > nx / 2 + 1: more modes than points.
  PartialDft(std::int64_t nt, std::int64_t nx, std::int64_t modes_t, std::int64_t modes_x);

  std::int64_t nt() const { return nt_; }
  std::int64_t nx() const { return nx_; }
  std::int64_t rows() const { return 2 * modes_t_ + 1; }
  std::int64_t columns() const { return 2 * modes_x_; }
  /// Complex modes of a channel: [2 modes_t][modes_x], low k_t first, then -modes_t .. -1.
  std::int64_t modes() const { return 2 * modes_t_ * modes_x_; }

  /// A tile's points [t0, t0 + nt) x [x0, x0 + nx) of the global grid.
  struct Tile {
    std::int64_t t0, x0, nt, nx;
  };
  /// Elements of `work` that the next two need for a tile.
  std::int64_t work_size(std::int64_t channels, const Tile& tile) const {
    return channels * rows() * tile.nx;
  }
  /// u [channels][tile.nt][tile.nx] to this tile's share of s [channels][rows][columns], overwritten.
  void analyse(std::int64_t channels, const Tile& tile, const T* u, T* s, T* work) const;
  /// The adjoint: adds to u.
  void synthesise(std::int64_t channels, const Tile& tile, const T* s, T* u, T* work) const;

  /// s [channels][rows][columns] to modes [channels][2][modes()], real parts first; times the weights of the
  /// inverse transform if `weighted`.
  void to_modes(std::int64_t channels, const T* s, T* modes, bool weighted) const;
  /// The adjoint; overwrites s.
  void from_modes(std::int64_t channels, const T* modes, T* s, bool weighted) const;

 private:
  std::int64_t nt_, nx_, modes_t_, modes_x_;
  std::vector<T> waves_t_;              // [rows][nt]
  std::vector<T> waves_x_, waves_x_t_;  // [nx][columns] and its transpose
  std::vector<T> weight_;               // [modes_x]
};

}  // namespace rankine::kernels
