// Lagrange interpolation from the frames and cells of a grid to other times and points.
#pragma once

#include <span>
#include <vector>

namespace rankine {

/// value = sum_a weights[a] * nodes' value[first + a].
struct LagrangeRow {
  int first = 0;
  std::vector<double> weights;
};

/// The polynomial through the four of the rising `nodes` that lie about `at` (all of them where there are
/// fewer); one-sided at the ends, where it extrapolates.
LagrangeRow lagrange_row(std::span<const double> nodes, double at);

/// Cubic Lagrange interpolation between frames, in t, or in sqrt(t), in which the front that spreads from a
/// wall is smooth.
class FrameInterpolation {
 public:
  FrameInterpolation(std::vector<double> from, std::vector<double> to, bool in_root);
  /// u [from][width] -> [to][width].
  std::vector<double> operator()(std::span<const double> u, int width) const;

 private:
  std::vector<LagrangeRow> rows_;
};

}  // namespace rankine
