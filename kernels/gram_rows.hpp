// Sums over rows, in their order, of products of eight neighbouring columns. Host only, kernels/ only.
#pragma once

#include "kernels/simd.hpp"

namespace rankine::kernels {

struct GramRow {
  const double *x, *y;  ///< eight numbers each
  double rho;
};

/// Each element is one chain of fused multiply-adds in the order of the rows.
struct GramOfEight {
  static constexpr int n = 8;
  double product[n][n];  ///< X^T Y
  double gradient[n];    ///< Y^T rho
  double squares;        ///< rho^T rho

  /// next() gives the rows, one after the other.
  template <class Next>
  static RANKINE_FORCEINLINE GramOfEight of_rows(std::int64_t rows, Next next) {
    constexpr int width = Simd<double>::width, vectors = n / width;
    SimdOf<double> sums[n + 1][vectors];
    double squares = 0;
    // Loops that are unrolled leave the sums in registers.
#pragma GCC unroll 16
    for (int i = 0; i <= n; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[i][v] = SimdOf<double>{};
    for (std::int64_t r = 0; r < rows; ++r) {
      const GramRow row = next();
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        const SimdOf<double> y = in_register(load(row.y + v * width));
#pragma GCC unroll 16
        for (int i = 0; i <= n; ++i)
          sums[i][v] = multiply_add_lanes<double>(broadcast(i < n ? row.x[i] : row.rho), y, sums[i][v]);
      }
      squares = multiply_add(row.rho, row.rho, squares);
    }
    GramOfEight out;
#pragma GCC unroll 16
    for (int i = 0; i <= n; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        store((i < n ? out.product[i < n ? i : 0] : out.gradient) + v * width, sums[i][v]);
    out.squares = squares;
    return out;
  }
  /// Where y is x: [X rho]^T [X rho], 9 x 9.
  void store_augmented(double* gram) const {
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) gram[i * (n + 1) + j] = product[i][j];
      gram[i * (n + 1) + n] = gram[n * (n + 1) + i] = gradient[i];
    }
    gram[n * (n + 1) + n] = squares;
  }
};

}  // namespace rankine::kernels
