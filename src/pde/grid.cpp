#include "src/pde/grid.hpp"

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {

Grid::Grid(std::vector<int> cells, std::vector<double> lengths)
    : cells_(std::move(cells)),
      strides_(cells_.size()),
      whole_cells_(cells_),
      begin_(cells_.size()),
      cuts_(cells_.size(), {false, false}),
      lengths_(std::move(lengths)) {
  RANKINE_ASSERT(!cells_.empty() && cells_.size() <= max_space_axes && lengths_.size() == cells_.size(),
                 "a grid has one to three axes, each with cells and a length");
  for (int axis = axes() - 1; axis >= 0; --axis) {
    RANKINE_ASSERT(cells_[axis] > 0 && lengths_[axis] > 0, "cells and lengths are positive");
    strides_[axis] = total_;
    constexpr long most = 1L << 24;
    if (static_cast<long>(total_) * cells_[axis] > most)
      throw InputError("a grid of " + describe() + " cells has more than " + std::to_string(most) +
                       "; take fewer along an axis");
    total_ *= cells_[axis];
  }
}

Grid Grid::part(const std::vector<int>& begin, const std::vector<int>& cells,
                const std::vector<bool>& rings) const {
  RANKINE_ASSERT(whole_cells_ == cells_ && begin.size() == cells_.size(), "a part of a whole grid");
  Grid out(cells, lengths_);
  out.whole_cells_ = cells_;
  out.begin_ = begin;
  for (int axis = 0; axis < axes(); ++axis) {
    RANKINE_ASSERT(cells[axis] <= cells_[axis], "a part with more cells than the grid has");
    // A part that has all of an axis is not cut there: a ring stays closed.
    if (cells[axis] == cells_[axis]) continue;
    out.cuts_[axis] = {rings[axis] || begin[axis] != 0,
                       rings[axis] || begin[axis] + cells[axis] != cells_[axis]};
  }
  return out;
}

std::vector<int> Grid::near_cuts(int reach) const {
  std::vector<int> near;
  for (int cell = 0; cell < total_; ++cell)
    for (int axis = 0; axis < axes(); ++axis) {
      const int i = index(cell, axis);
      if ((cuts_[axis][0] && i < reach) || (cuts_[axis][1] && i >= cells_[axis] - reach)) {
        near.push_back(cell);
        break;
      }
    }
  return near;
}

int Grid::whole_index(int axis, int index) const {
  const int n = whole_cells_[axis], i = begin_[axis] + index;
  return i < 0 ? i + n : i >= n ? i - n : i;
}

Place Grid::centre(int cell) const {
  Place at{};
  for (int axis = 0; axis < axes(); ++axis)
    at[axis] = (whole_index(axis, index(cell, axis)) + 0.5) * spacing(axis);
  return at;
}

double Grid::face(int axis, int index) const {
  const bool beyond = index == cells_[axis];
  return (whole_index(axis, beyond ? index - 1 : index) + beyond) * spacing(axis);
}

std::vector<double> Grid::centres() const {
  std::vector<double> all(static_cast<size_t>(axes()) * total_);
  for (int axis = 0; axis < axes(); ++axis)
    for (int cell = 0; cell < total_; ++cell)
      all[static_cast<size_t>(axis) * total_ + cell] =
          (whole_index(axis, index(cell, axis)) + 0.5) * spacing(axis);
  return all;
}

Grid Grid::refined(int ratio) const {
  std::vector<int> cells;
  for (const int n : cells_) cells.push_back(n * ratio);
  return {cells, lengths_};
}

std::string Grid::place(const Place& at) const {
  std::string text;
  for (int axis = 0; axis < axes(); ++axis)
    text += (axis > 0 ? ", " : "") + std::string(1, space_name(axis)) + " = " + shortest(at[axis]);
  return text;
}

std::string Grid::describe() const {
  std::string text;
  for (const int n : cells_) text += (text.empty() ? "" : " x ") + std::to_string(n);
  return text;
}

}  // namespace rankine
