// Fields of a periodic grid of two axes on another one, by waves.
#pragma once

#include <array>
#include <vector>

#include "src/pde/grid.hpp"

namespace rankine {

/// Values at the centres of a periodic grid from those of another one of two axes, by the waves that are less than
/// half of the cells of the coarser one.
class WaveInterpolation {
 public:
  /// `first`: where the first point of `to` lies in its cell, as a share of it.
  WaveInterpolation(const Grid& from, const Grid& to, double first = 0.5);
  /// [count][cell of from] -> [count][cell of to]
  std::vector<double> operator()(const std::vector<double>& x) const;
  std::vector<double> transpose(const std::vector<double>& y) const;

 private:
  std::array<int, 2> from_, to_;
  std::array<std::vector<double>, 2> matrix_;  // [cell of to][cell of from], by axis
};

}  // namespace rankine
