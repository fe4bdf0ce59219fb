// A solve inside a network: what solves a system of equations, differentiated through the equations and not
// through the solver.
#pragma once

#include <functional>

#include "src/tensor/ops.hpp"

namespace rankine {

/// The solution x for the inputs; called off the tape.
using ImplicitSolve = std::function<Tensor(const std::vector<Tensor>& inputs)>;
/// r(x, inputs), of the shape of x and zero at the solution, made of ops.
using ImplicitResidual = std::function<Tensor(const Tensor& x, const std::vector<Tensor>& inputs)>;

struct ImplicitOptions {
  /// Leading axes of x along which systems stand side by side and do not depend on each other; they are
  /// solved on their own, so that what stands beside one does not change its bits.
  int independent_axes = 0;
  double tolerance = 1e-12;  ///< of the adjoint system's residual, relative to its right-hand side
  int iterations = 200;      ///< at most, of the adjoint system's Krylov method
};

/// x with r(x, inputs) = 0. Its cotangent g gives -(dr/d inputs)^T lambda with (dr/dx)^T lambda = g, solved
/// by GMRES with products that the tape gives; second derivatives follow in the same way. Throws
/// NumericalError where that does not converge.
Tensor implicit(const ImplicitSolve& solve, const ImplicitResidual& residual,
                const std::vector<Tensor>& inputs, const ImplicitOptions& options = {});

}  // namespace rankine
