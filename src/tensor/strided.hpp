// Walks several arrays of one shape and different strides together.
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

/// Calls row(n, start, step) for each run along the innermost axis: operand k's elements are start[k] + i *
/// step[k], i < n. Neighbouring axes are merged where all operands allow it. The order of rows is row-major.
template <std::size_t K, class Row>
void for_each_strided(const Shape& shape, const std::array<Shape, K>& strides, Row&& row) {
  if (shape.count() == 0) return;
  Shape extents;
  std::array<Shape, K> steps;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == 1) continue;
    bool merged = extents.rank() > 0;
    for (std::size_t k = 0; merged && k < K; ++k)
      merged = steps[k][extents.rank() - 1] == strides[k][axis] * shape[axis];
    if (merged) {
      extents[extents.rank() - 1] *= shape[axis];
      for (std::size_t k = 0; k < K; ++k) steps[k][extents.rank() - 1] = strides[k][axis];
    } else {
      extents.push_back(shape[axis]);
      for (std::size_t k = 0; k < K; ++k) steps[k].push_back(strides[k][axis]);
    }
  }
  if (extents.rank() == 0) {
    extents.push_back(1);
    for (std::size_t k = 0; k < K; ++k) steps[k].push_back(1);
  }
  const int inner = extents.rank() - 1;
  std::array<std::int64_t, K> step{}, start{};
  for (std::size_t k = 0; k < K; ++k) step[k] = steps[k][inner];
  std::array<std::int64_t, kMaxRank> index{};
  for (;;) {
    row(extents[inner], start, step);
    int axis = inner - 1;
    for (; axis >= 0; --axis) {
      auto& i = index[static_cast<std::size_t>(axis)];
      for (std::size_t k = 0; k < K; ++k) start[k] += steps[k][axis];
      if (++i < extents[axis]) break;
      for (std::size_t k = 0; k < K; ++k) start[k] -= steps[k][axis] * extents[axis];
      i = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace rankine
