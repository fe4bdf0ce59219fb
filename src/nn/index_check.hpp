// Labels and tokens that data may give wrong: kernels must not follow them, and somebody must be told.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// The message about the index `value` at `place` (row-major) of the tensor. It keeps what it needs: it may
/// be called after the caller has gone on.
using BadIndex = std::function<std::string(std::int64_t place, std::int64_t value)>;

/// The indices (i32), dense, with 0 for those outside 0 .. n - 1, of which the first one throws an InputError
/// with the text of `message`: now or, where a StepReport is open, when that is read.
Tensor checked_indices(const Tensor& indices, std::int64_t n, const BadIndex& message);

}  // namespace rankine
