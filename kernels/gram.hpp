// Gram matrices of tall, narrow row blocks. Host memory, row-major. Each element is one chain of fused
// multiply-adds in the order of the rows, as in kernels/blas.hpp.
#pragma once

#include <span>

namespace rankine::kernels {

/// gram <- [J rho]^T [J rho], (n+1) x (n+1) row-major and symmetric; `jacobian` is rows x n, `rho` rows.
void augmented_gram(std::span<const double> jacobian, std::span<const double> rho, int n,
                    std::span<double> gram);

/// The same of those rows of `columns` (n numbers each) and of `rho` that `rows` names, in its order.
void augmented_gram_of_rows(std::span<const double> columns, std::span<const double> rho,
                            std::span<const long> rows, int n, std::span<double> gram);

/// c (n x m) += a^T b over `rows` rows; a is rows x n, b rows x m, all row-major.
void add_transposed_product(const double* a, const double* b, long rows, int n, int m, double* c);

}  // namespace rankine::kernels
