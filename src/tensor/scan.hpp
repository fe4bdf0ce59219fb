// Linear recurrences along an axis.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// h[t] = a[t] h[t-1] + b[t] along `axis`, elementwise, h before the first step being 0; from the last step
/// to the first if `reverse`. Real or complex; a broadcasts to the shape of b (a constant factor has extent 1
/// along the axis). An initial state h enters as a[0] h added to b[0].
Tensor diagonal_scan(const Tensor& a, const Tensor& b, int axis, bool reverse = false);

}  // namespace rankine
