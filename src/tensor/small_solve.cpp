#include "src/tensor/small_solve.hpp"

#include <algorithm>
#include <string>

#include "kernels/error.hpp"
#include "kernels/small_solve.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

Tensor solve_spd(const Tensor& a, const Tensor& b) {
  const std::int64_t n = b.extent(b.rank() - 1), systems = b.count() / n;
  RANKINE_ASSERT(a.rank() == b.rank() + 1 && a.count() == systems * n * n && a.dtype() == DType::f64,
                 "a matrix in double for each right-hand side");
  const Tensor matrices = dense(a), right = dense(b), x = Tensor::empty(b.shape(), DType::f64),
               work = Tensor::empty(a.shape(), DType::f64), ok = Tensor::empty({systems}, DType::i64);
  kernels::solve_spd_systems(systems, n, matrices.data<double>(), right.data<double>(), x.data<double>(),
                             work.data<double>(), ok.data<std::int64_t>());
  const std::vector<double> good = ok.to_vector();
  const auto bad = std::find(good.begin(), good.end(), 0.0);
  if (bad != good.end())
    throw NumericalError("the small system " + std::to_string(bad - good.begin()) + " of " +
                         std::to_string(systems) + " is not positive definite to rounding, or not finite");
  OpTraits traits;
  traits.save_outputs = true;
  return apply_op(
      "solve_spd", {a, b}, x,
      [a](const std::vector<Tensor>& bar, const VjpContext& context) {
        const Tensor lambda = solve_spd(a, bar[0]), solution = context.output(0);
        Shape column = lambda.shape(), row = lambda.shape();
        column.push_back(1);
        row.insert(row.rank() - 1, 1);
        return std::vector<Tensor>{neg(mul(reshape(lambda, column), reshape(solution, row))), lambda};
      },
      traits);
}

}  // namespace rankine
