#include "src/nn/index_check.hpp"

#include "kernels/row_ops.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/step_report.hpp"

namespace rankine {

Tensor checked_indices(const Tensor& indices, std::int64_t n, const BadIndex& message) {
  const Tensor given = dense(indices);
  const std::int64_t count = given.count();
  if (count == 0) return given;
  const CheckFlag flag;
  const Tensor safe = Tensor::empty(given.shape(), DType::i32),
               work = Tensor::empty({kernels::index_check_work(count)}, DType::i64);
  kernels::check_indices(count, n, given.data<std::int32_t>(), safe.data<std::int32_t>(), flag.device(),
                         work.data<std::int64_t>());
  check_flag(flag, [given, message](std::int64_t found) {
    std::int32_t value = 0;
    copy_to_host(&value, given.data<std::int32_t>() + (found - 1), 1);
    throw InputError(message(found - 1, value));
  });
  return safe;
}

}  // namespace rankine
