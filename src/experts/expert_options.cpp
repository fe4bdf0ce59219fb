#include "src/experts/expert_options.hpp"

#include <algorithm>
#include <memory>

#include "kernels/error.hpp"

namespace rankine {
namespace {

FailurePolicy policy_named(const std::string& name) {
  if (name == "accept") return FailurePolicy::accept;
  if (name == "skip") return FailurePolicy::skip;
  RANKINE_ASSERT(name == "stop", "unknown policy " + name);
  return FailurePolicy::stop;
}

}  // namespace

void SolverOptions::options(OptionVisitor& o) {
  const std::vector<std::string> policies{"accept", "skip", "stop"};
  o("method", method,
    {.help = "least-squares solver of one expert",
     .choices = {"gauss_newton", "levenberg_marquardt", "tao_brgn"}});
  o("start", start,
    {.help = "first coefficients: solution of the linear problem with frozen storage, ones or zeros",
     .choices = {"linear", "ones", "zeros"}});
  o("max_steps", max_steps,
    {.help = "step budget of a solve; using it up is the status step_limit", .min = 0});
  o("rtol", rtol, {.help = "relative stopping tolerance (see `rankine describe` of the method)", .min = 0});
  o("atol", atol, {.help = "absolute stopping tolerance", .min = 0});
  o("damping", damping,
    {.help = "first damping (mu of Gauss-Newton, lambda of Levenberg-Marquardt)", .min = 0});
  o("reduction", reduction,
    {.help = "how rows are reduced: QR, or normal equations", .choices = {"qr", "normal"}});
  o("ridge", ridge, {.help = "rows ridge * w that keep the coefficients bounded", .min = 0});
  o("adjoint", adjoint,
    {.help = "matrix of the implicit gradient", .choices = {"full", "gauss_newton", "full_if_spd"}});
  o("adjoint_damping", adjoint_damping,
    {.help = "added to the adjoint's matrix, relative to its Gauss-Newton diagonal", .min = 0});
  o("on_step_limit", on_step_limit, {.help = "a solve that used up its budget", .choices = policies});
  o("on_stall", on_stall, {.help = "a solve that no damping lets go on", .choices = policies});
  o("on_not_finite", on_not_finite,
    {.help = "a solve that met a NaN or an infinity", .choices = {"skip", "stop"}});
  o("on_indefinite", on_indefinite,
    {.help = "a solution whose Hessian is not positive definite", .choices = policies});
}

LeastSquaresOptions SolverOptions::least_squares() const {
  return {.max_steps = max_steps,
          .rtol = rtol,
          .atol = atol,
          .damping = damping,
          .reduction = reduction == "qr" ? Reduction::qr : Reduction::normal};
}

std::unique_ptr<LeastSquaresSolver> SolverOptions::make() const {
  if (method == "gauss_newton") return make_gauss_newton();
  if (method == "levenberg_marquardt") return make_levenberg_marquardt();
  RANKINE_ASSERT(method == "tao_brgn", "unknown solver " + method);
  return make_tao_brgn();
}

AdjointMatrix SolverOptions::adjoint_matrix() const {
  if (adjoint == "full") return AdjointMatrix::full;
  return adjoint == "gauss_newton" ? AdjointMatrix::gauss_newton : AdjointMatrix::full_if_spd;
}

FailurePolicy SolverOptions::policy(SolveStatus status) const {
  switch (status) {
    case SolveStatus::converged:
      return FailurePolicy::accept;
    case SolveStatus::step_limit:
      return policy_named(on_step_limit);
    case SolveStatus::stalled:
      return policy_named(on_stall);
    case SolveStatus::not_finite:
      return policy_named(on_not_finite);
    case SolveStatus::not_a_minimum:
      return policy_named(on_indefinite);
  }
  return FailurePolicy::stop;
}

FailurePolicy worse(FailurePolicy a, FailurePolicy b) { return std::max(a, b); }

}  // namespace rankine
