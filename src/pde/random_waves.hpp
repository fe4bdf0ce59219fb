// Random fields of two or three space axes: sums of products of waves, a factor for each axis.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "src/pde/grid.hpp"

namespace rankine {

class RandomWaves {
 public:
  /// The factors of an axis: `pairs` are 1, cos s, sin s, cos 2s, sin 2s, ...; `cosines` 1, sqrt(2) cos s,
  /// sqrt(2) cos 2s, ...; `sines` sqrt(2) sin s, sqrt(2) sin 2s, ..., with s = wave * x.
  enum class Kind { pairs, cosines, sines };
  struct Axis {
    Kind kind = Kind::pairs;
    double wave = 1;  ///< phase of the first wave [1/length unit]
    int waves = 1;    ///< the largest wave number

    int factors() const {
      return kind == Kind::pairs ? 2 * waves + 1 : kind == Kind::cosines ? waves + 1 : waves;
    }
    int wave_number(int factor) const {
      return kind == Kind::pairs ? (factor + 1) / 2 : kind == Kind::cosines ? factor : factor + 1;
    }
  };
  using Waves = std::array<int, max_space_axes>;
  static constexpr double max_numbers = 1 << 20;

  /// `weight` of the wave numbers, scaled so that the field's variance, averaged over a period, is
  /// amplitude^2 (0 where all weights are). At most max_numbers products.
  RandomWaves(std::vector<Axis> axes, const std::function<double(const Waves&)>& weight, double amplitude);

  /// Normal numbers of one field: one for each product of factors.
  std::size_t numbers() const { return weights_.size(); }
  static double numbers(const std::vector<Axis>& axes);
  /// Adds the field of `numbers` to out[point] at x [axis][point]. Where neighbouring points have their first
  /// coordinates in common, as those of a grid have, a point costs no more than the waves of the last axis. The
  /// value at a point has the same bits whichever the other points are.
  void add(std::span<const double> numbers, std::span<const double> x, std::span<double> out) const;

 private:
  std::vector<double> factors(const Axis& axis, double x) const;

  std::vector<Axis> axes_;
  std::vector<double> weights_;  // [factor of the first axis][of the second] ...
};

}  // namespace rankine
