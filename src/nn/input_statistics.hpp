// Moments of what weights are multiplied with in some passes: collected by layers where Pass::inputs asks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// Of the inputs of one weight, over samples, positions and time steps; one entry for each feature (a channel,
/// of convolutions).
struct InputMoments {
  std::vector<double> sums, squares;  ///< of x and x^2
  double count = 0;                   ///< values of each feature
  bool transposed = false;            ///< the weight's first axis is the input's

  double mean(std::size_t feature) const { return sums[feature] / count; }
  double variance(std::size_t feature) const;
  /// The root of the sum of squares.
  double norm(std::size_t feature) const;
  /// The feature that each entry of a weight of this shape multiplies: [out, in], [out, in / groups, taps...],
  /// or [in, ...] if transposed.
  std::vector<std::size_t> features(const Shape& weight) const;
};

class InputStatistics {
 public:
  /// Adds x, whose features lie along `axis`, to the inputs of the weight of this name. Off the tape.
  void see(const std::string& weight, const Tensor& x, int axis, bool transposed = false);
  /// Null: no pass has multiplied this weight.
  const InputMoments* find(const std::string& weight) const;

 private:
  std::map<std::string, InputMoments> moments_;
};

}  // namespace rankine
