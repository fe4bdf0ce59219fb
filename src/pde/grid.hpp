// An equal grid of cells on a box of one to three space axes.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace rankine {

/// x, y, z.
constexpr int max_space_axes = 3;
/// A point in space; coordinates beyond the axes of a problem are 0.
using Place = std::array<double, max_space_axes>;

constexpr char space_name(int axis) { return "xyz"[axis]; }

/// Cells per axis of a box that begins at 0 on each axis. Cells are numbered row-major, the last axis fastest.
/// A grid may also be a part of another one, whose sides within that grid are cuts.
class Grid {
 public:
  /// As many numbers as axes, all positive. Throws InputError for more than 2^24 cells.
  Grid(std::vector<int> cells, std::vector<double> lengths);

  /// The part with `cells` cells from `begin` on along each axis. A part of a ring may begin before its first
  /// cell and end after its last one; elsewhere it lies in the grid. `rings`: which axes are. The grid is not
  /// a part itself.
  Grid part(const std::vector<int>& begin, const std::vector<int>& cells,
            const std::vector<bool>& rings) const;
  /// Whether a side of the part, upper or lower, lies within the whole grid.
  bool cut(int axis, bool upper) const { return cuts_[axis][upper]; }
  /// Cells fewer than `reach` cells away from a cut, rising.
  std::vector<int> near_cuts(int reach) const;
  /// Cells along an axis of the grid that this is a part of.
  int whole_cells(int axis) const { return whole_cells_[axis]; }

  int axes() const { return static_cast<int>(cells_.size()); }
  int cells() const { return total_; }  ///< of the box
  int cells(int axis) const { return cells_[axis]; }
  const std::vector<int>& cells_by_axis() const { return cells_; }
  double length(int axis) const { return lengths_[axis]; }  ///< of the whole grid
  double spacing(int axis) const { return lengths_[axis] / whole_cells_[axis]; }
  /// How far the numbers of neighbours along `axis` are apart.
  int stride(int axis) const { return strides_[axis]; }
  /// Index of a cell along an axis.
  int index(int cell, int axis) const { return cell / strides_[axis] % cells_[axis]; }
  Place centre(int cell) const;
  /// Where the face below the cell of this index lies along an axis; the index may be one beyond the last.
  double face(int axis, int index) const;
  /// Centres of all cells, [axis][cell].
  std::vector<double> centres() const;
  /// The grid with `ratio` times as many cells along each axis.
  Grid refined(int ratio) const;
  /// A place in words, such as "x = 0.5, y = 0.25".
  std::string place(const Place& at) const;
  /// Such as "64 x 32".
  std::string describe() const;
  bool operator==(const Grid&) const = default;

 private:
  /// Of a cell of this part in the whole grid.
  int whole_index(int axis, int index) const;

  std::vector<int> cells_, strides_, whole_cells_, begin_;
  std::vector<std::array<bool, 2>> cuts_;
  std::vector<double> lengths_;
  int total_ = 1;
};

}  // namespace rankine
