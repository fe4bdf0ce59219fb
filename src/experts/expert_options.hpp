// What the deck says about the experts: how each one's problem is solved, differentiated, and what a failure
// means.
#pragma once

#include <string>
#include <vector>

#include "solvers/least_squares.hpp"
#include "src/deck/options.hpp"

namespace rankine {

/// What happens to a sample one of whose solves did not end well.
enum class FailurePolicy {
  accept,  ///< use the iterate; the status is counted
  skip,    ///< leave the sample out of this step's gradient; the status is counted
  stop,    ///< end the run with exit code 2
};

struct SolverOptions {
  std::string method = "gauss_newton";
  std::string start = "linear";
  int max_steps = 3;
  double rtol = 0;
  double atol = 0;
  double damping = 1e-8;
  std::string reduction = "normal";
  double ridge = 0;
  std::string adjoint = "full";
  double adjoint_damping = 1e-8;
  std::string on_step_limit = "accept";
  std::string on_stall = "skip";
  std::string on_not_finite = "stop";
  std::string on_indefinite = "accept";

  void options(OptionVisitor& o);

  LeastSquaresOptions least_squares() const;
  std::unique_ptr<LeastSquaresSolver> make() const;
  AdjointMatrix adjoint_matrix() const;
  /// The deck's word on a solve that ended so; `accept` for `converged`.
  FailurePolicy policy(SolveStatus status) const;
};

/// The worst of two policies: stop over skip over accept.
FailurePolicy worse(FailurePolicy a, FailurePolicy b);

/// Statistics of the solves of one expert over a batch, for the results.
struct ExpertStatistics {
  double iterations = 0;     ///< mean over samples
  double gradient_norm = 0;  ///< largest |J^T rho| over samples
  double objective = 0;      ///< mean 1/2 |rho|^2
  double weight_norm = 0;    ///< mean |w|_2
  double status_count[solve_status_count] = {};
};

}  // namespace rankine
