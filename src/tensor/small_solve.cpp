#include "src/tensor/small_solve.hpp"

#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

namespace {

/// b becomes the solution.
bool solve_one(const double* a, std::int64_t n, double* b) {
  std::vector<double> scale(n), matrix(n * n), x(n);
  for (std::int64_t i = 0; i < n; ++i) scale[i] = a[i * n + i] == 0 ? 0 : 1 / std::sqrt(a[i * n + i]);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) matrix[i * n + j] = a[i * n + j] * scale[i] * scale[j];
    if (scale[i] == 0) matrix[i * n + i] = 1;
    x[i] = b[i] * scale[i];
    if (!std::isfinite(x[i])) return false;
  }
  if (!lapack::solve_spd(matrix, static_cast<int>(n), x)) return false;
  for (std::int64_t i = 0; i < n; ++i) {
    b[i] = x[i] * scale[i];
    if (!std::isfinite(b[i])) return false;
  }
  return true;
}

}  // namespace

Tensor solve_spd(const Tensor& a, const Tensor& b) {
  const std::int64_t n = b.extent(b.rank() - 1), systems = b.count() / n;
  RANKINE_ASSERT(a.rank() == b.rank() + 1 && a.count() == systems * n * n && a.dtype() == DType::f64,
                 "a matrix in double for each right-hand side");
  HostArray<double> x(b.shape());
  {
    const Tensor matrices = dense(a), rhs = dense(b);
    const HostRead<double> from(matrices), to(rhs);
    std::copy_n(to.get(), b.count(), x.data());
    for (std::int64_t s = 0; s < systems; ++s)
      if (!solve_one(from.get() + s * n * n, n, x.data() + s * n))
        throw NumericalError("the small system " + std::to_string(s) + " of " + std::to_string(systems) +
                             " is not positive definite to rounding, or not finite");
  }
  OpTraits traits;
  traits.save_outputs = true;
  return apply_op(
      "solve_spd", {a, b}, x.to_device(),
      [a](const std::vector<Tensor>& bar, const VjpContext& context) {
        const Tensor lambda = solve_spd(a, bar[0]), x = context.output(0);
        Shape column = lambda.shape(), row = lambda.shape();
        column.push_back(1);
        row.insert(row.rank() - 1, 1);
        return std::vector<Tensor>{neg(mul(reshape(lambda, column), reshape(x, row))), lambda};
      },
      traits);
}

}  // namespace rankine
