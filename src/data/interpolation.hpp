// Lagrange interpolation from the times and cells of a grid to other times and points.
#pragma once

#include <span>
#include <vector>

namespace rankine {

/// The weights of an interpolated value: value = sum_a weights[a] * value of node first + a.
struct LagrangeRow {
  int first = 0;
  std::vector<double> weights;
};

/// The weights of the polynomial through the four of the ascending `nodes` that surround `at`, or through all
/// nodes if there are fewer. Near the ends it is one-sided, and beyond them it extrapolates.
LagrangeRow lagrange_row(std::span<const double> nodes, double at);

/// Cubic Lagrange interpolation between frames, in t or in sqrt(t). A front that spreads from a wall is
/// smooth as a function of sqrt(t).
class FrameInterpolation {
 public:
  FrameInterpolation(std::vector<double> from, std::vector<double> to, bool in_root);
  /// u [from][width] -> [to][width].
  std::vector<double> operator()(std::span<const double> u, int width) const;

 private:
  std::vector<LagrangeRow> rows_;
};

}  // namespace rankine
