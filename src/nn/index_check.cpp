#include "src/nn/index_check.hpp"

#include "kernels/row_ops.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// The one place where the host waits for the device to know whether indices are right.
void check_flag(const Tensor& indices, const Tensor& first_bad, const BadIndex& message) {
  std::int64_t place = 0;
  copy_to_host(&place, first_bad.device<std::int64_t>(), 1);
  if (place >= indices.count()) return;
  std::int32_t value = 0;
  copy_to_host(&value, indices.device<std::int32_t>() + place, 1);
  throw InputError(message(place, value));
}

}  // namespace

Tensor checked_indices(const Tensor& indices, std::int64_t n, const BadIndex& message) {
  const Tensor given = dense(indices);
  const std::int64_t count = given.count();
  if (count == 0) return given;
  const Tensor safe = Tensor::empty(given.shape(), DType::i32), first_bad = Tensor::empty({1}, DType::i64),
               work = Tensor::empty({kernels::index_check_work(count)}, DType::i64);
  kernels::check_indices(count, n, given.device<std::int32_t>(), safe.device<std::int32_t>(),
                         first_bad.device<std::int64_t>(), work.device<std::int64_t>());
  check_flag(given, first_bad, message);
  return safe;
}

}  // namespace rankine
