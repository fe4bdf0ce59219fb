// Unconstrained minimisation of a smooth function of many unknowns.
#pragma once

#include <functional>
#include <span>

#include "solvers/least_squares.hpp"

namespace rankine {

struct MinimiseOptions {
  int max_iterations = 20;
  int history = 10;     ///< pairs of steps and changes of the gradient that the Hessian is estimated from
  double rtol = 1e-10;  ///< converged where the gradient's norm has fallen by this factor
  double atol = 0;      ///< or is below this
};

/// What a minimisation did. `objective` and `gradient_norm` are those at the point returned.
struct MinimiseReport : SolveReport {
  int evaluations = 0;
  double first_objective = 0, first_gradient_norm = 0;  ///< at the start
};

/// Returns f(x) and fills its gradient, which has the size of x.
using Objective = std::function<double(std::span<const double> x, std::span<double> gradient)>;

/// min f(x) from x, by TAO's limited-memory BFGS (bqnls: Broyden, Fletcher, Goldfarb, Shanno's update of the
/// last `history` pairs; Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35,
/// 1980) with More and Thuente's line search. Options below the prefix minimise_ reach TAO. f never grows;
/// where f or its gradient is not finite at the start, x is left as it was. Several processes may call it
/// with functions that give all of them the same numbers.
MinimiseReport minimise_lbfgs(const Objective& f, std::span<double> x, const MinimiseOptions& options);

}  // namespace rankine
