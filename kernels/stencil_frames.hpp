// Matrices of a one-dimensional stencil with one or several unknowns per cell, one matrix per frame:
//   (A_j x)[i][a] = sum_{s = -reach .. reach} sum_b A_j[i][s][a][b] x[i + s][b].
// On a periodic domain i + s wraps round; elsewhere entries that point outside are zero.
#pragma once

#include <cstddef>
#include <vector>

namespace rankine::kernels {

struct StencilFrames {
  int frames = 0, cells = 0, unknowns = 1, reach = 1;
  bool periodic = false;
  std::vector<double> values;  ///< [frame][cell][2 reach + 1][row a][column b]

  StencilFrames() = default;
  /// All zero.
  StencilFrames(int frames_, int cells_, int unknowns_ = 1, int reach_ = 1, bool periodic_ = false)
      : frames(frames_), cells(cells_), unknowns(unknowns_), reach(reach_), periodic(periodic_) {
    values.assign(frame_size() * frames, 0.0);
  }

  int width() const { return cells * unknowns; }  ///< rows of a matrix
  int points() const { return 2 * reach + 1; }    ///< cells that a row reads
  size_t block() const { return static_cast<size_t>(unknowns) * unknowns; }
  size_t frame_size() const { return static_cast<size_t>(cells) * points() * block(); }
  /// The block [a][b] that couples `cell` with cell + offset, |offset| <= reach.
  double* at(int frame, int cell, int offset) {
    return &values[frame * frame_size() + (static_cast<size_t>(cell) * points() + offset + reach) * block()];
  }
  const double* at(int frame, int cell, int offset) const {
    return &values[frame * frame_size() + (static_cast<size_t>(cell) * points() + offset + reach) * block()];
  }
  /// The cell that row `cell` reads at `offset`, or -1 outside the domain.
  int neighbour(int cell, int offset) const {
    const int at = cell + offset;
    if (at >= 0 && at < cells) return at;
    return periodic ? (at % cells + cells) % cells : -1;
  }

  /// y[i][a][c] += factor * (A_frame x)[i][a][c] for `columns` columns; x and y are [cell][unknown][column].
  void add_product(int frame, double factor, const double* x, int columns, double* y) const;
  /// y += factor * A_frame^T x.
  void add_transposed_product(int frame, double factor, const double* x, int columns, double* y) const;
};

/// What a march solves, the product of an implicit time stepper's matrices:
///   y_j = A_j x_j - B_j x_{j-1},   j = 0 .. frames - 1,   x_{-1} = 0,
/// with A = implicit and B = *previous, which may be missing. x and y are [frame][cell][unknown][column] and
/// disjoint. A column has the same bits whatever columns stand beside it.
void march_product(const StencilFrames& implicit, const StencilFrames* previous, const double* x, int columns,
                   double* y);
/// Its transpose: y_j = A_j^T x_j - B_{j+1}^T x_{j+1},   x_frames = 0.
void march_transposed_product(const StencilFrames& implicit, const StencilFrames* previous, const double* x,
                              int columns, double* y);

}  // namespace rankine::kernels
