// The residual of a conservative scheme whose flux is linear, for many samples at once: one unknown, walls,
// cells that read their two neighbours. No Kokkos here.
//   r[j,i] = ( M(u[j,i]) - M(u[j-1,i]) - now_j G(u_j)_i - before_j G(u_{j-1})_i ) / scale
//   G(u)_i = constant_i + sum_{s = -1..1} stencil[i][s] u_{i+s}
// States u, M(u) and M'(u) are [sample][frames + 1][cell] with the initial frame, which is data; residuals
// are [frame][cell][sample], as the march takes them. What an element is made of does not depend on how many
// samples there are, so that its bits are those of a sample alone.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"
#include "kernels/inline.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine::kernels {

struct LinearScheme {
  int frames = 0, cells = 0;
  double scale = 1;
  DevicePtr<const double> stencil, constant;  ///< [cell][3], [cell]
  DevicePtr<const double> now, before;        ///< [frame]
};

void linear_residual(const LinearScheme& scheme, std::int64_t samples, DevicePtr<const double> u,
                     DevicePtr<const double> storage, DevicePtr<double> r);
/// out [sample][frame][cell] = r'(u)^T s, without the initial frame; `slope` is M'(u).
void linear_residual_transposed(const LinearScheme& scheme, std::int64_t samples,
                                DevicePtr<const double> slope, DevicePtr<const double> s,
                                DevicePtr<double> out);

/// length[c] = |x_c|_2 of the columns of x [row][column], squares added in order, and inverse[c] = 1 / |x_c|,
/// 0 of columns without a length.
void column_lengths(std::int64_t rows, std::int64_t columns, DevicePtr<const double> x,
                    DevicePtr<double> length, DevicePtr<double> inverse);

/// A storage with Freundlich's isotherm: M'(u) = 1 + c (u + eps)^(n - 1), M(0) = 0; M' is constant below u =
/// 0.
struct Freundlich {
  double sorption;        ///< c
  double exponent;        ///< n
  double regularisation;  ///< eps

  struct Storage {
    double value, slope, curvature;  ///< M(u), M'(u), M''(u)
  };
  /// u + eps, or eps where u is negative.
  RANKINE_FORCEINLINE double shifted(double u) const { return (u > 0 ? u : 0) + regularisation; }
  /// `power` is shifted(u)^n and `least` eps^n, which callers compute for many points at once.
  RANKINE_FORCEINLINE Storage storage(double u, double power, double least) const {
    const double c = sorption, n = exponent, v = shifted(u);
    const double slope = 1 + c * power / v;
    if (u <= 0) return {u * slope, slope, 0};
    return {multiply_add(c / n, power - least, u), slope, c * (n - 1) * power / (v * v)};
  }
};
/// M(u), M'(u) and, where `curvature` is not null, M''(u) of n values.
void freundlich_storage(const Freundlich& law, std::int64_t n, DevicePtr<const double> u,
                        DevicePtr<double> value, DevicePtr<double> slope, DevicePtr<double> curvature = {});

}  // namespace rankine::kernels
