#include "src/experts/discrete_problem.hpp"

#include <cmath>

#include "kernels/error.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine {

const char* to_string(CorrectionStatus status) {
  switch (status) {
    case CorrectionStatus::converged:
      return "converged";
    case CorrectionStatus::step_limit:
      return "step_limit";
    case CorrectionStatus::diverged:
      return "diverged";
  }
  return "";
}

void CorrectionOptions::options(OptionVisitor& o) {
  o("steps", steps,
    {.help = "march corrections u - P(u)^-1 r(u) applied to every prediction", .min = 0, .max = 50});
  o("rtol", rtol,
    {.help = "a correction stops where the residual has fallen to this part of its start", .min = 0});
  o("state", state,
    {.help = "what P is linearised about: the prediction (Newton's method), or a constant typical state",
     .choices = {"prediction", "frozen"}});
  o("train", train, {.help = "train through the corrections (all `steps` of them, whatever rtol)"});
}

CorrectionReport DiscreteProblem::correct(std::vector<double>& u, const CorrectionOptions& options) const {
  const auto length = [&](const std::vector<double>& r) {
    double sum = 0;  // in the order and with the rounding of kernels::column_lengths()
    for (const double x : r) sum += kernels::rounded_product(x, x);
    return std::sqrt(sum) / std::sqrt(static_cast<double>(points()));
  };
  CorrectionReport report;
  std::vector<double> r = evaluate(u);
  report.residual_before = report.residual_after = length(r);
  // Against an infinite residual any other would be small.
  if (!std::isfinite(report.residual_before)) {
    report.status = CorrectionStatus::diverged;
    return report;
  }
  while (true) {
    if (report.residual_after <= options.rtol * report.residual_before) {
      report.status = CorrectionStatus::converged;
      return report;
    }
    if (report.steps == options.steps) return report;
    const std::vector<double> error = error_of(u, std::move(r), options);
    std::vector<double> next(u);
    for (long p = 0; p < points(); ++p) next[width() + p] -= error[p];
    double after = NAN;
    try {
      r = evaluate(next);
      after = length(r);
    } catch (const NumericalError&) {
      // A term that is not finite there: the step went too far.
    }
    if (!(after <= 2 * report.residual_after)) {
      report.status = CorrectionStatus::diverged;
      return report;
    }
    u = std::move(next);
    report.residual_after = after;
    ++report.steps;
  }
}

}  // namespace rankine
