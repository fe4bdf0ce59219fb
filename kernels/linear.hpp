// What a linear layer needs beside its products (kernels/blas.hpp): the bias in every row, and its adjoint.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rankine::kernels {

/// y[r, :] = row.
template <class T>
void repeat_row(std::int64_t rows, std::int64_t n, const T* row, T* y) {
  for (std::int64_t r = 0; r < rows; ++r) std::copy(row, row + n, y + r * n);
}

/// sums[i] = sum_r x[r, i], four rows at a time, in order.
template <class T>
void column_sums(std::int64_t rows, std::int64_t n, const T* x, T* sums) {
  std::fill(sums, sums + n, T(0));
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += 4 * n)
    for (std::int64_t i = 0; i < n; ++i)
      sums[i] = sums[i] + ((x[i] + x[n + i]) + (x[2 * n + i] + x[3 * n + i]));
  for (; r < rows; ++r, x += n)
    for (std::int64_t i = 0; i < n; ++i) sums[i] = sums[i] + x[i];
}

}  // namespace rankine::kernels
