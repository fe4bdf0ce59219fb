#include "kernels/lapack.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/blas.hpp"
#include "kernels/error.hpp"
#include "kernels/launch_state.hpp"

// LAPACK's Fortran interface: every LAPACK has it, LAPACKE is a package of its own.
extern "C" {
void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work,
             const int* lwork, int* info);
void dsytrf_(const char* uplo, const int* n, double* a, const int* lda, int* ipiv, double* work,
             const int* lwork, int* info);
void dsytrs_(const char* uplo, const int* n, const int* nrhs, const double* a, const int* lda,
             const int* ipiv, double* b, const int* ldb, int* info);
void dsyev_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w,
            double* work, const int* lwork, int* info);
void dposv_(const char* uplo, const int* n, const int* nrhs, double* a, const int* lda, double* b,
            const int* ldb, int* info);
void dgbtrf_(const int* m, const int* n, const int* kl, const int* ku, double* ab, const int* ldab, int* ipiv,
             int* info);
void dgetrf_(const int* m, const int* n, double* a, const int* lda, int* ipiv, int* info);
void dgetri_(const int* n, double* a, const int* lda, const int* ipiv, double* work, const int* lwork,
             int* info);
void dgelsy_(const int* m, const int* n, const int* nrhs, double* a, const int* lda, double* b,
             const int* ldb, int* jpvt, const double* rcond, int* rank, double* work, const int* lwork,
             int* info);
}

namespace rankine::lapack {
namespace {

void check_info(const char* routine, int info) {
  RANKINE_ASSERT(info >= 0, std::string(routine) + ": argument " + std::to_string(-info) + " is illegal");
}

std::vector<double> transposed(std::span<const double> a, long rows, int columns) {
  std::vector<double> out;
  out.reserve(static_cast<size_t>(rows) * (columns + 1));  // room for a right-hand side
  out.resize(static_cast<size_t>(rows) * columns);
  constexpr long block = 64;  // rows read while they are in cache, written in whole cache lines
  for (long first = 0; first < rows; first += block) {
    const long last = std::min(first + block, rows);
    for (int c = 0; c < columns; ++c)
      for (long r = first; r < last; ++r) out[c * rows + r] = a[r * columns + c];
  }
  return out;
}

/// Of a symmetric system: the factorisation, and one right-hand side.
Cost solve_cost(int n) { return {n * (n * (n / 3.0 + 2.0)), kernels::in_bytes<double>(std::int64_t(n) * n)}; }

/// Negative eigenvalues of the block diagonal D that dsytrf (upper) left in `a` (column-major).
int negative_pivots(const std::vector<double>& a, int n, const std::vector<int>& pivots) {
  int negative = 0;
  for (int k = n - 1; k >= 0;) {
    const double d = a[k + static_cast<size_t>(k) * n];
    if (pivots[k] > 0) {
      negative += d < 0;
      --k;
    } else {  // a 2 x 2 block of Bunch-Kaufman is indefinite: one eigenvalue of each sign
      ++negative;
      k -= 2;
    }
  }
  return negative;
}

}  // namespace

namespace {

void qr_triangle_of_columns(std::vector<double>& columns, long m, int n, std::span<double> triangle) {
  blas::use_one_thread();
  const int rows = static_cast<int>(m), reflectors = std::min(rows, n);
  const kernels::LaunchTimer timer("qr_triangle");
  // Golub and Van Loan, Matrix Computations, algorithm 5.2.1.
  kernels::count_work("qr_triangle", {2.0 * reflectors * reflectors * (std::max(rows, n) - reflectors / 3.0),
                                      kernels::in_bytes<double>(2 * m * n)});
  std::vector<double> tau(std::max(1, reflectors));
  std::vector<double> work(std::max(1, n) * 64);
  const int lwork = static_cast<int>(work.size()), lda = std::max(1, rows);
  int info = 0;
  if (rows > 0) dgeqrf_(&rows, &n, columns.data(), &lda, tau.data(), work.data(), &lwork, &info);
  check_info("dgeqrf", info);
  std::fill(triangle.begin(), triangle.end(), 0.0);
  for (int r = 0; r < reflectors; ++r)
    for (int c = r; c < n; ++c) triangle[r * n + c] = columns[static_cast<size_t>(c) * rows + r];
}

}  // namespace

void qr_triangle(std::span<double> a, long m, int n, std::span<double> triangle) {
  std::vector<double> columns = transposed(a, m, n);
  qr_triangle_of_columns(columns, m, n, triangle);
}

void qr_triangle(std::span<const double> jacobian, std::span<const double> rho, int n,
                 std::span<double> triangle) {
  std::vector<double> columns = transposed(jacobian, static_cast<long>(rho.size()), n);
  columns.insert(columns.end(), rho.begin(), rho.end());
  qr_triangle_of_columns(columns, static_cast<long>(rho.size()), n + 1, triangle);
}

int solve_symmetric(std::span<double> a, int n, std::span<double> b) {
  blas::use_one_thread();
  const kernels::LaunchTimer timer("solve_symmetric");
  kernels::count_work("solve_symmetric", solve_cost(n));
  std::vector<double> factor(a.begin(), a.end());  // symmetric: row-major and column-major agree
  std::vector<int> pivots(n);
  std::vector<double> work(static_cast<size_t>(std::max(1, n)) * 32);
  const int lwork = static_cast<int>(work.size()), one = 1;
  int info = 0;
  for (double x : factor)
    if (!std::isfinite(x)) return -1;
  dsytrf_("U", &n, factor.data(), &n, pivots.data(), work.data(), &lwork, &info);
  check_info("dsytrf", info);
  if (info > 0) return -1;
  dsytrs_("U", &n, &one, factor.data(), &n, pivots.data(), b.data(), &n, &info);
  check_info("dsytrs", info);
  return negative_pivots(factor, n, pivots);
}

std::vector<double> symmetric_eigenvalues(std::span<double> a, int n) {
  if (!std::all_of(a.begin(), a.end(), [](double x) { return std::isfinite(x); })) return {};
  blas::use_one_thread();
  std::vector<double> values(n), work(std::max(1, 66 * n));
  const int lwork = static_cast<int>(work.size());
  int info = 0;
  dsyev_("N", "U", &n, a.data(), &n, values.data(), work.data(), &lwork, &info);
  check_info("dsyev", info);
  return info == 0 ? values : std::vector<double>();
}

void factor_band(std::span<double> band, int n, int lower, int upper, std::span<int> pivots) {
  blas::use_one_thread();
  const int stride = 2 * lower + upper + 1;
  int info = 0;
  RANKINE_ASSERT(band.size() == static_cast<size_t>(n) * stride && pivots.size() == static_cast<size_t>(n),
                 "a band matrix of the wrong size");
  dgbtrf_(&n, &n, &lower, &upper, band.data(), &stride, pivots.data(), &info);
  check_info("dgbtrf", info);
  for (int& pivot : pivots) --pivot;
}

bool invert(std::span<double> a, int n) {
  blas::use_one_thread();
  RANKINE_ASSERT(a.size() == static_cast<size_t>(n) * n, "a square matrix of the wrong size");
  // LAPACK sees the transpose, whose columns are our rows and whose inverse is the transpose of ours.
  std::vector<double> row_size(n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) row_size[i] += std::abs(a[static_cast<size_t>(i) * n + j]);
  std::vector<int> pivots(n);
  int info = 0;
  dgetrf_(&n, &n, a.data(), &n, pivots.data(), &info);
  check_info("dgetrf", info);
  // Written so that a NaN fails too.
  for (int i = 0; i < n; ++i)
    if (!(std::abs(a[static_cast<size_t>(i) * n + i]) > 1e-14 * row_size[i])) return false;
  const int size = 64 * n;
  std::vector<double> work(size);
  dgetri_(&n, a.data(), &n, pivots.data(), work.data(), &size, &info);
  check_info("dgetri", info);
  return true;
}

bool solve_spd(std::span<double> a, int n, std::span<double> b) {
  blas::use_one_thread();
  const kernels::LaunchTimer timer("solve_spd");
  kernels::count_work("solve_spd", solve_cost(n));
  const int one = 1;
  int info = 0;
  std::vector<double> x(b.begin(), b.begin() + n);
  dposv_("U", &n, &one, a.data(), &n, x.data(), &n, &info);
  check_info("dposv", info);
  if (info != 0) return false;
  std::copy(x.begin(), x.end(), b.begin());
  return true;
}

int least_squares(std::span<double> a, long m, int n, std::span<double> b, double rcond) {
  blas::use_one_thread();
  const kernels::LaunchTimer timer("least_squares");
  kernels::count_work("least_squares", {2.0 * n * n * (static_cast<double>(m) - n / 3.0),
                                        kernels::in_bytes<double>(2 * m * n)});
  std::vector<double> columns = transposed(a, m, n);
  const int rows = static_cast<int>(m), one = 1, lda = std::max(1, rows),
            ldb = std::max(1, std::max(rows, n));
  std::vector<int> pivots(n, 0);
  std::vector<double> work(static_cast<size_t>(std::max(1, n)) * 64 + 3 * n + rows + 1);
  const int lwork = static_cast<int>(work.size());
  int rank = 0, info = 0;
  dgelsy_(&rows, &n, &one, columns.data(), &lda, b.data(), &ldb, pivots.data(), &rcond, &rank, work.data(),
          &lwork, &info);
  check_info("dgelsy", info);
  return rank;
}

}  // namespace rankine::lapack
