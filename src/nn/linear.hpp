// The linear map of dense layers.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// y = x w^T + bias along the last axis. x [L, ..., in], w [L, out, in], bias [L, out] or undefined;
/// y [L, ..., out]. The gradients of w and bias are one for each shard.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias);

}  // namespace rankine
