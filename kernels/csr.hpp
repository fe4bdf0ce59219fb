// Products with sparse matrices by rows, and the gradient to their values.
#pragma once

#include <cstdint>

namespace rankine::kernels {

/// y[i, :] = sum_e values[e] x[column(e), :] over the entries e of row i; y [rows][width] is overwritten.
template <class T>
void csr_product(std::int64_t rows, const std::int64_t* offsets, const std::int64_t* columns, const T* values,
                 std::int64_t width, const T* x, T* y) {
  for (std::int64_t i = 0; i < rows; ++i) {
    T* to = y + i * width;
    for (std::int64_t f = 0; f < width; ++f) to[f] = T(0);
    for (std::int64_t e = offsets[i]; e < offsets[i + 1]; ++e) {
      const T* from = x + columns[e] * width;
      const T value = values[e];
      for (std::int64_t f = 0; f < width; ++f) to[f] += value * from[f];
    }
  }
}

/// The product with the transposed matrix; adds to y [columns][width].
template <class T>
void csr_transposed_product(std::int64_t rows, const std::int64_t* offsets, const std::int64_t* columns,
                            const T* values, std::int64_t width, const T* x, T* y) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t e = offsets[i]; e < offsets[i + 1]; ++e) {
      T* to = y + columns[e] * width;
      const T* from = x + i * width;
      const T value = values[e];
      for (std::int64_t f = 0; f < width; ++f) to[f] += value * from[f];
    }
}

/// z[e] = a[row(e), :] . b[column(e), :].
template <class T>
void csr_sampled_product(std::int64_t rows, const std::int64_t* offsets, const std::int64_t* columns,
                         std::int64_t width, const T* a, const T* b, T* z) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t e = offsets[i]; e < offsets[i + 1]; ++e) {
      const T *from = a + i * width, *with = b + columns[e] * width;
      T lanes[8] = {};
      std::int64_t f = 0;
      for (; f + 8 <= width; f += 8)
        for (int j = 0; j < 8; ++j) lanes[j] += from[f + j] * with[f + j];
      for (int j = 0; f < width; ++f, ++j) lanes[j] += from[f] * with[f];
      for (int half = 4; half > 0; half /= 2)
        for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
      z[e] = lanes[0];
    }
}

}  // namespace rankine::kernels
