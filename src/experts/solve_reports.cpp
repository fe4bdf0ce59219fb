#include "src/experts/solve_reports.hpp"

#include <algorithm>

#include "src/core/statistics.hpp"

namespace rankine {

PackedReport pack(const SolveReport& report, std::span<const double> coefficients) {
  return {static_cast<double>(report.status), static_cast<double>(report.iterations), report.objective,
          report.gradient_norm, norm(coefficients)};
}

BatchStatistics summarise(const std::vector<PackedReport>& reports, int solves) {
  BatchStatistics out(solves);
  const double samples = static_cast<double>(reports.size()) / std::max(solves, 1);
  for (size_t i = 0; i < reports.size(); ++i) {
    ExpertStatistics& s = out[i % solves];
    const PackedReport& r = reports[i];
    s.iterations += r.iterations / samples;
    s.objective += r.objective / samples;
    s.weight_norm += r.weight_norm / samples;
    s.gradient_norm = std::max(s.gradient_norm, r.gradient_norm);
    s.status_count[static_cast<int>(r.status)] += 1;
  }
  return out;
}

void stop_if_told(const Communicator& communicator, const SolverOptions& solver, const PdeBatch& batch,
                  long first_sample, const std::vector<std::vector<SolveReport>>& reports) {
  std::string complaint;
  bool fault = false;
  for (size_t s = 0; s < reports.size(); ++s)
    for (size_t k = 0; k < reports[s].size() && complaint.empty(); ++k)
      if (solver.policy(reports[s][k].status) == FailurePolicy::stop) {
        fault = reports[s][k].status == SolveStatus::not_finite;
        complaint = "step " + std::to_string(batch.step) + ", sample " +
                    std::to_string(batch.ids[first_sample + s]) + ", expert " + std::to_string(k) +
                    ": the solve ended as " + to_string(reports[s][k].status) + " after " +
                    std::to_string(reports[s][k].iterations) + " steps (" + reports[s][k].reason +
                    "), for which the deck says stop; formulation.solver.on_... may say skip";
      }
  try {
    communicator.together([&] {
      if (!complaint.empty()) throw NumericalError(complaint);
    });
  } catch (const SharedNumericalError& error) {
    if (communicator.any(fault)) throw;
    throw SolverStop(error.what());
  }
}

std::optional<BadSolve> first_not_finite(const std::vector<std::vector<SolveReport>>& reports,
                                         const PdeBatch& batch, long first_sample) {
  for (size_t s = 0; s < reports.size(); ++s)
    for (size_t k = 0; k < reports[s].size(); ++k)
      if (reports[s][k].status == SolveStatus::not_finite)
        return BadSolve{batch.ids[first_sample + s], static_cast<int>(k), reports[s][k].reason};
  return std::nullopt;
}

bool skipped(const SolverOptions& solver, const std::vector<SolveReport>& reports) {
  return std::any_of(reports.begin(), reports.end(),
                     [&](const SolveReport& r) { return solver.policy(r.status) != FailurePolicy::accept; });
}

}  // namespace rankine
