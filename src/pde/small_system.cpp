#include "src/pde/small_system.hpp"

#include <cmath>
#include <utility>

#include "kernels/error.hpp"

namespace rankine {

void solve_small(std::vector<double> a, int m, double* x, int columns) {
  for (int k = 0; k < m; ++k) {
    int pivot = k;
    for (int i = k + 1; i < m; ++i)
      if (std::abs(a[i * m + k]) > std::abs(a[pivot * m + k])) pivot = i;
    if (a[pivot * m + k] == 0)
      throw NumericalError(
          "the storage does not increase with u: its derivative is singular, so the equation says "
          "nothing of du/dt; change pde.storage");
    for (int j = 0; j < m; ++j) std::swap(a[k * m + j], a[pivot * m + j]);
    for (int c = 0; c < columns; ++c) std::swap(x[k * columns + c], x[pivot * columns + c]);
    for (int i = k + 1; i < m; ++i) {
      const double factor = a[i * m + k] / a[k * m + k];
      for (int j = k; j < m; ++j) a[i * m + j] -= factor * a[k * m + j];
      for (int c = 0; c < columns; ++c) x[i * columns + c] -= factor * x[k * columns + c];
    }
  }
  for (int k = m - 1; k >= 0; --k)
    for (int c = 0; c < columns; ++c) {
      double sum = x[k * columns + c];
      for (int j = k + 1; j < m; ++j) sum -= a[k * m + j] * x[j * columns + c];
      x[k * columns + c] = sum / a[k * m + k];
    }
}

}  // namespace rankine
