#include "kernels/gram.hpp"

#include <algorithm>
#include <cstdint>

#include "kernels/blas.hpp"
#include "kernels/gram_rows.hpp"
#include "kernels/launch_state.hpp"

namespace rankine::kernels {
namespace {

void count_gram(std::int64_t rows, int n) {
  const int m = n + 1;
  count_work("gram", {static_cast<double>(rows) * m * (m + 1.0), in_bytes<double>(rows * m + m * m)});
}

}  // namespace

void augmented_gram(std::span<const double> jacobian, std::span<const double> rho, int n,
                    std::span<double> gram) {
  const auto rows = static_cast<std::int64_t>(rho.size());
  const LaunchTimer timer("gram");
  count_gram(rows, n);
  std::int64_t r = 0;
  const auto next = [&] {
    const double* const x = jacobian.data() + r * n;
    return GramRow{x, x, rho[r++]};
  };
  if (n == GramOfEight::n) return GramOfEight::of_rows(rows, next).store_augmented(gram.data());
  const double* const j = jacobian.data();
  const int m = n + 1;
  blas::gemm(blas::Op::transpose, blas::Op::none, n, n, rows, 1, j, n, j, n, 0, gram.data(), m);
  blas::gemm(blas::Op::transpose, blas::Op::none, n, 1, rows, 1, j, n, rho.data(), 1, 0, &gram[n], m);
  double squares = 0;
  for (const double r : rho) squares = multiply_add(r, r, squares);
  for (int i = 0; i < n; ++i) gram[n * m + i] = gram[i * m + n];
  gram[n * m + n] = squares;
}

void augmented_gram_of_rows(std::span<const double> columns, std::span<const double> rho,
                            std::span<const long> rows, int n, std::span<double> gram) {
  const LaunchTimer timer("gram");
  count_gram(static_cast<std::int64_t>(rows.size()), n);
  auto row = rows.begin();
  const auto next = [&] {
    const double* const x = &columns[*row * n];
    return GramRow{x, x, rho[*row++]};
  };
  if (n == GramOfEight::n)
    return GramOfEight::of_rows(static_cast<std::int64_t>(rows.size()), next).store_augmented(gram.data());
  const int m = n + 1;
  std::fill(gram.begin(), gram.end(), 0.0);
  while (row != rows.end()) {
    const auto [x, same, value] = next();
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < m; ++j) {
        double& sum = gram[i * m + j];
        sum = multiply_add(i < n ? x[i] : value, j < n ? x[j] : value, sum);
      }
  }
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
