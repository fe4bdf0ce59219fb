// Shapes of elementwise kernels over tensors.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/strided.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// `shape` for an elementwise kernel; strides of its result, then of what it reads.
template <std::size_t K>
kernels::Strided<static_cast<int>(K)> strided(const Shape& shape, const std::array<Shape, K>& strides) {
  kernels::Strided<static_cast<int>(K)> s;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    std::int64_t steps[K];
    for (std::size_t k = 0; k < K; ++k) steps[k] = strides[k][axis];
    s.append(shape[axis], steps);
  }
  return s;
}

}  // namespace rankine
