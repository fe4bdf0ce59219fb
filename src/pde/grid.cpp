#include "src/pde/grid.hpp"

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {

Grid::Grid(std::vector<int> cells, std::vector<double> lengths)
    : cells_(std::move(cells)), strides_(cells_.size()), lengths_(std::move(lengths)) {
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

Place Grid::centre(int cell) const {
  Place at{};
  for (int axis = 0; axis < axes(); ++axis) at[axis] = (index(cell, axis) + 0.5) * spacing(axis);
  return at;
}

std::vector<double> Grid::centres() const {
  std::vector<double> all(static_cast<size_t>(axes()) * total_);
  for (int axis = 0; axis < axes(); ++axis)
    for (int cell = 0; cell < total_; ++cell)
      all[static_cast<size_t>(axis) * total_ + cell] = (index(cell, axis) + 0.5) * spacing(axis);
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
