// The linear map with a bias as one op.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// y = x W^T + b along the last axis: x [L, ..., in], weight [L, out, in], bias [L, out] or undefined; y
/// [L, ..., out]. Parameters usually have stride 0 along L.
Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace rankine
