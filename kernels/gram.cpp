#include "kernels/gram.hpp"

#include <vector>

#include <cblas.h>

#include "kernels/blas.hpp"
#include "kernels/launch_state.hpp"

namespace rankine::kernels {

void augmented_gram(std::span<const double> jacobian, std::span<const double> rho, int n,
                    std::span<double> gram) {
  blas::use_one_thread();
  const int rows = static_cast<int>(rho.size()), m = n + 1;
  const LaunchTimer timer("gram");
  count_work("gram",
             {static_cast<double>(rows) * m * (m + 1.0), in_bytes<double>(std::int64_t(rows) * m + m * m)});
  if (rows == 0) {
    for (double& g : gram) g = 0;
    return;
  }
  // Row-major J is column-major J^T, so this syrk writes one triangle of J^T J with leading dimension n + 1.
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, n, rows, 1.0, jacobian.data(), n, 0.0, gram.data(), m);
  std::vector<double> gradient(n);
  cblas_dgemv(CblasRowMajor, CblasTrans, rows, n, 1.0, jacobian.data(), n, rho.data(), 1, 0.0,
              gradient.data(), 1);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) gram[i * m + j] = gram[j * m + i];
    gram[i * m + n] = gram[n * m + i] = gradient[i];
  }
  gram[n * m + n] = cblas_ddot(rows, rho.data(), 1, rho.data(), 1);
}

void add_transposed_product(const double* a, const double* b, long rows, int n, int m, double* c) {
  blas::use_one_thread();
  if (rows == 0) return;
  const LaunchTimer timer("transposed_product");
  count_work("transposed_product", {2.0 * static_cast<double>(rows) * n * m,
                                    in_bytes<double>(rows * (n + m) + 2 * std::int64_t(n) * m)});
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, m, static_cast<int>(rows), 1.0, a, n, b, m, 1.0, c,
              m);
}

}  // namespace rankine::kernels
