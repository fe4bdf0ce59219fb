// The shape of an elementwise kernel: extents, and for each operand a step along each axis. No Kokkos here.
#pragma once

#include <cstdint>

namespace rankine::kernels {

inline constexpr int kMaxAxes = 8;

/// K operands of one shape; operand 0 is what is written. A step of 0 repeats an operand along an axis.
template <int K>
struct Strided {
  int rank = 0;
  std::int64_t extent[kMaxAxes] = {};
  std::int64_t step[K][kMaxAxes] = {};

  /// n elements, side by side in all operands.
  static Strided flat(std::int64_t n) {
    Strided s;
    s.rank = 1;
    s.extent[0] = n;
    for (auto& operand : s.step) operand[0] = 1;
    return s;
  }
  /// Adds an innermost axis. Extents of 1 are left out, and an axis is merged with the one before where all
  /// operands allow it.
  void append(std::int64_t n, const std::int64_t (&steps)[K]) {
    if (n == 1) return;
    bool merged = rank > 0;
    for (int k = 0; merged && k < K; ++k) merged = step[k][rank - 1] == steps[k] * n;
    if (!merged) ++rank;
    extent[rank - 1] = merged ? extent[rank - 1] * n : n;
    for (int k = 0; k < K; ++k) step[k][rank - 1] = steps[k];
  }
  /// The number of elements.
  std::int64_t count() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank; ++axis) product *= extent[axis];
    return product;
  }
  /// The number of different elements that operand k has along its axes.
  std::int64_t distinct(int k) const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank; ++axis)
      if (step[k][axis] != 0) product *= extent[axis];
    return product;
  }
};

}  // namespace rankine::kernels
