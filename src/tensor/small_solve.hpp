// Many small symmetric systems side by side.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// x [..., n] with A x = b for symmetric positive definite A [..., n, n] and b [..., n] of the same leading
/// axes, in double. Systems are scaled by their diagonals first; a row whose diagonal is 0 counts as x = 0.
/// Throws NumericalError, with the number of the first system, where one is not positive definite or not
/// finite. The gradient by A is that of a matrix without symmetry, -lambda x^T with A lambda = x_bar.
Tensor solve_spd(const Tensor& a, const Tensor& b);

}  // namespace rankine
