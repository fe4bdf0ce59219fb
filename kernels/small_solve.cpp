#include "kernels/small_solve.hpp"

#include <cmath>

#include "kernels/launch.hpp"

namespace rankine::kernels {
namespace {

struct SolveSpd {
  std::int64_t n;
  View<const double> a, b;
  View<double> x, work;
  View<std::int64_t> ok;
  RANKINE_KERNEL void operator()(std::int64_t system) const {
    const double *matrix = a.at(system * n * n), *right = b.at(system * n);
    double *l = work.at(system * n * n), *y = x.at(system * n);
    const auto scale = [&](std::int64_t i) {
      const double size = matrix[i * n + i];
      return size == 0 ? 0.0 : 1 / sqrt(size);
    };
    bool good = true;
    for (std::int64_t i = 0; i < n; ++i) {
      const double of_row = scale(i);
      for (std::int64_t j = 0; j <= i; ++j) {
        double sum = of_row == 0 ? static_cast<double>(i == j) : matrix[i * n + j] * of_row * scale(j);
        for (std::int64_t k = 0; k < j; ++k) sum -= l[i * n + k] * l[j * n + k];
        if (i == j) {
          // Written so that a NaN fails, too.
          if (!(sum > 0)) good = false;
          l[i * n + i] = sqrt(sum);
        } else {
          l[i * n + j] = sum / l[j * n + j];
        }
      }
      double sum = right[i] * of_row;
      for (std::int64_t k = 0; k < i; ++k) sum -= l[i * n + k] * y[k];
      y[i] = sum / l[i * n + i];
    }
    for (std::int64_t i = n; i-- > 0;) {
      double sum = y[i];
      for (std::int64_t k = i + 1; k < n; ++k) sum -= l[k * n + i] * y[k];
      y[i] = sum / l[i * n + i];
    }
    for (std::int64_t i = 0; i < n; ++i) {
      y[i] *= scale(i);
      if (!(y[i] - y[i] == 0)) good = false;
    }
    ok[system] = good ? 1 : 0;
  }
};

}  // namespace

void solve_spd_systems(std::int64_t systems, std::int64_t n, DevicePtr<const double> a,
                       DevicePtr<const double> b, DevicePtr<double> x, DevicePtr<double> work,
                       DevicePtr<std::int64_t> ok) {
  const double numbers = static_cast<double>(systems * n * n);
  count_work("solve_spd_systems", {numbers * static_cast<double>(n) / 3, 2 * sizeof(double) * numbers});
  units("solve_spd_systems", systems, SolveSpd{n, a, b, x, work, ok});
}

}  // namespace rankine::kernels
