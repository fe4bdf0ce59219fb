// The few dense factorisations that small systems need (n up to some hundreds), on LAPACK. Host memory,
// row-major.
#pragma once

#include <span>
#include <vector>

namespace rankine::lapack {

/// Overwrites `triangle` (n x n, row-major, upper; zeros below) with R of the QR factorisation of `a` (m x n
/// row-major, destroyed). m may be smaller than n: the missing rows of R are zero.
void qr_triangle(std::span<double> a, long m, int n, std::span<double> triangle);
/// The same of [jacobian rho], (n + 1) x (n + 1); jacobian: m x n, rho: m, both kept.
void qr_triangle(std::span<const double> jacobian, std::span<const double> rho, int n,
                 std::span<double> triangle);

/// Solves the symmetric system `a` x = b (n x n row-major, only one triangle need be right; destroyed) by
/// Bunch-Kaufman LDL^T; `b` becomes x. Returns the number of negative eigenvalues of `a` (its inertia), or -1
/// where `a` is singular to working precision or holds a NaN; then `b` is left as it was.
int solve_symmetric(std::span<double> a, int n, std::span<double> b);

/// The eigenvalues, in ascending order, of the symmetric matrix `a` (n x n row-major, destroyed). Empty where
/// it holds a NaN or an infinity, or the iteration does not converge.
std::vector<double> symmetric_eigenvalues(std::span<double> a, int n);

/// LU factorisation with partial pivoting of a square band matrix, in LAPACK's layout (dgbtrf): column-major,
/// entry (i, j) at band[j * (2 lower + upper + 1) + lower + upper + i - j], the first `lower` rows of a
/// column free for fill-in. `pivots` (n) become the rows exchanged, from 0 on. An exact zero on U's diagonal
/// is left there.
void factor_band(std::span<double> band, int n, int lower, int upper, std::span<int> pivots);

/// Overwrites the square matrix `a` (n x n row-major) with its inverse, by LU with partial pivoting. False where
/// a pivot vanishes beside its row's entries; then `a` is destroyed.
bool invert(std::span<double> a, int n);

/// Solves the symmetric positive definite system by Cholesky; `b` (n) becomes x. False where `a` is not
/// positive definite.
bool solve_spd(std::span<double> a, int n, std::span<double> b);

/// Least squares min |A x - b| by QR with column pivoting and rank decision at `rcond`; `a` (m x n row-major)
/// and `b` (max(m, n)) are destroyed; x stands in the first n of `b`. Returns the rank.
int least_squares(std::span<double> a, long m, int n, std::span<double> b, double rcond);

}  // namespace rankine::lapack
