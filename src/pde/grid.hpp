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
class Grid {
 public:
  /// As many numbers as axes, all positive. Throws InputError for more than 2^24 cells.
  Grid(std::vector<int> cells, std::vector<double> lengths);

  int axes() const { return static_cast<int>(cells_.size()); }
  int cells() const { return total_; }  ///< of the box
  int cells(int axis) const { return cells_[axis]; }
  const std::vector<int>& cells_by_axis() const { return cells_; }
  double length(int axis) const { return lengths_[axis]; }
  double spacing(int axis) const { return lengths_[axis] / cells_[axis]; }
  /// How far the numbers of neighbours along `axis` are apart.
  int stride(int axis) const { return strides_[axis]; }
  /// Index of a cell along an axis.
  int index(int cell, int axis) const { return cell / strides_[axis] % cells_[axis]; }
  Place centre(int cell) const;
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
  std::vector<int> cells_, strides_;
  std::vector<double> lengths_;
  int total_ = 1;
};

}  // namespace rankine
