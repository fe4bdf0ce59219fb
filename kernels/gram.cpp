#include "kernels/gram.hpp"

#include <cstdint>

#include "kernels/blas.hpp"
#include "kernels/gram_rows.hpp"
#include "kernels/launch_state.hpp"

namespace rankine::kernels {

void augmented_gram(std::span<const double> jacobian, std::span<const double> rho, int n,
                    std::span<double> gram) {
  const auto rows = static_cast<std::int64_t>(rho.size());
  const int m = n + 1;
  const LaunchTimer timer("gram");
  count_work("gram", {static_cast<double>(rows) * m * (m + 1.0), in_bytes<double>(rows * m + m * m)});
  if (n == GramOfEight::n) {
    std::int64_t r = 0;
    const auto next = [&] {
      const double* const x = jacobian.data() + r * GramOfEight::n;
      return GramRow{x, x, rho[r++]};
    };
    return GramOfEight::of_rows(rows, next).store_augmented(gram.data());
  }
  const double* const j = jacobian.data();
  blas::gemm(blas::Op::transpose, blas::Op::none, n, n, rows, 1, j, n, j, n, 0, gram.data(), m);
  blas::gemm(blas::Op::transpose, blas::Op::none, n, 1, rows, 1, j, n, rho.data(), 1, 0, &gram[n], m);
  double squares = 0;
  for (const double r : rho) squares = multiply_add(r, r, squares);
  for (int i = 0; i < n; ++i) gram[n * m + i] = gram[i * m + n];
  gram[n * m + n] = squares;
}

void add_transposed_product(const double* a, const double* b, long rows, int n, int m, double* c) {
  const LaunchTimer timer("transposed_product");
  count_work("transposed_product", {2.0 * static_cast<double>(rows) * n * m,
                                    in_bytes<double>(rows * (n + m) + 2 * std::int64_t(n) * m)});
  if (n == GramOfEight::n && m == n) {
    const GramOfEight sums = GramOfEight::of_rows(rows, [&] {
      const GramRow row{a, b, 0};
      a += n;
      b += n;
      return row;
    });
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) c[i * n + j] += sums.product[i][j];
    return;
  }
  blas::gemm(blas::Op::transpose, blas::Op::none, n, m, rows, 1, a, n, b, m, 1, c, m);
}

}  // namespace rankine::kernels
