// Matrices of a stencil with one or several unknowns per cell, one matrix per frame. With one axis
//   (A_j x)[i][a] = sum_{s = -reach .. reach} sum_b A_j[i][s][a][b] x[i + s][b].
// On a periodic domain i + s wraps round; elsewhere entries that point outside are zero. With several axes a
// layout says which cell a row reads at each s.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace rankine::kernels {

/// The cells that rows of a stencil read on a grid of several axes, row-major with the last axis fastest.
class StencilLayout {
 public:
  /// Offsets in cells along each axis; those beyond the axes are 0.
  using Offset = std::array<int, 3>;

  /// Cells up to `along` steps away along each axis and, with `diagonals`, those one cell off along two axes.
  StencilLayout(std::vector<int> cells, std::vector<bool> periodic, bool diagonals, int along = 1);

  int axes() const { return axes_; }
  int cells() const { return static_cast<int>(place_.size()); }
  /// Points are numbered s = -reach .. reach, so that -s is the opposite of s and 0 the cell itself.
  int reach() const { return (static_cast<int>(offsets_.size()) - 1) / 2; }
  /// The number of the point at this offset, which must be one of the stencil's.
  int point(const Offset& offset) const;
  int neighbour(int cell, int s) const {
    return neighbours_[static_cast<size_t>(cell) * offsets_.size() + s + reach()];
  }
  bool periodic() const;  ///< along any axis
  /// An order of the cells, [cell], in which neighbours are near: the longest axis slowest, periodic axes
  /// folded so that both ends meet.
  const std::vector<int>& place() const { return place_; }

 private:
  int axes_;
  std::vector<bool> periodic_;
  std::vector<Offset> offsets_;
  std::vector<int> neighbours_, place_;
};

struct StencilFrames {
  int frames = 0, cells = 0, unknowns = 1, reach = 1;
  bool periodic = false;
  std::shared_ptr<const StencilLayout> layout;  ///< null with one axis
  std::vector<double> values;                   ///< [frame][cell][2 reach + 1][row a][column b]

  StencilFrames() = default;
  /// All zero.
  StencilFrames(int frames_, int cells_, int unknowns_ = 1, int reach_ = 1, bool periodic_ = false)
      : frames(frames_), cells(cells_), unknowns(unknowns_), reach(reach_), periodic(periodic_) {
    values.assign(frame_size() * frames, 0.0);
  }

  /// On a grid of several axes, all zero.
  StencilFrames(int frames_, std::shared_ptr<const StencilLayout> layout_, int unknowns_)
      : StencilFrames(frames_, layout_->cells(), unknowns_, layout_->reach(), layout_->periodic()) {
    layout = std::move(layout_);
  }
  /// The same shape with so many frames, all zero.
  StencilFrames shaped(int frames_) const {
    StencilFrames out(frames_, cells, unknowns, reach, periodic);
    out.layout = layout;
    return out;
  }
  /// The same cells and unknowns, of which each row reads its own cell only.
  StencilFrames diagonal(int frames_) const { return {frames_, cells, unknowns, 0, periodic}; }

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
    if (layout) return layout->neighbour(cell, offset);
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
