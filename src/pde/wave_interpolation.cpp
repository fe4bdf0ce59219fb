#include "src/pde/wave_interpolation.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/blas.hpp"

namespace rankine {

WaveInterpolation::WaveInterpolation(const Grid& from, const Grid& to, double first) {
  for (int axis = 0; axis < 2; ++axis) {
    const int n = from_[axis] = from.cells(axis), m = to_[axis] = to.cells(axis);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 1;
        for (int k = 1; 2 * k < std::min(n, m); ++k)
          sum += 2 * std::cos(2 * std::numbers::pi * k * ((i + first) / m - (j + 0.5) / n));
        matrix_[axis].push_back(sum / n);
      }
  }
}

std::vector<double> WaveInterpolation::operator()(const std::vector<double>& x) const {
  const auto [n0, n1] = from_;
  const auto [m0, m1] = to_;
  const long count = static_cast<long>(x.size()) / (n0 * n1);
  std::vector<double> rows(count * n0 * m1), out(count * m0 * m1);
  blas::gemm(blas::Op::none, blas::Op::transpose, count * n0, m1, n1, 1.0, x.data(), n1, matrix_[1].data(),
             n1, 0.0, rows.data(), m1);
  for (long f = 0; f < count; ++f)
    blas::gemm(blas::Op::none, blas::Op::none, m0, m1, n0, 1.0, matrix_[0].data(), n0, &rows[f * n0 * m1], m1,
               0.0, &out[f * m0 * m1], m1);
  return out;
}

std::vector<double> WaveInterpolation::transpose(const std::vector<double>& y) const {
  const auto [n0, n1] = from_;
  const auto [m0, m1] = to_;
  const long count = static_cast<long>(y.size()) / (m0 * m1);
  std::vector<double> rows(count * n0 * m1), out(count * n0 * n1);
  for (long f = 0; f < count; ++f)
    blas::gemm(blas::Op::transpose, blas::Op::none, n0, m1, m0, 1.0, matrix_[0].data(), n0, &y[f * m0 * m1],
               m1, 0.0, &rows[f * n0 * m1], m1);
  blas::gemm(blas::Op::none, blas::Op::none, count * n0, n1, m1, 1.0, rows.data(), m1, matrix_[1].data(), n1,
             0.0, out.data(), n1);
  return out;
}

}  // namespace rankine
