// How the experts' solves of a batch ended: their statistics, and what the deck says of those that failed.
#pragma once

#include "src/experts/constraint_layer.hpp"

namespace rankine {

/// A report as numbers that travel between ranks.
struct PackedReport {
  double status, iterations, objective, gradient_norm, weight_norm;
};
PackedReport pack(const SolveReport& report, std::span<const double> coefficients);

/// `reports` [sample][solve] of all ranks.
BatchStatistics summarise(const std::vector<PackedReport>& reports, int solves);

/// Throws on all ranks if a solve of any rank ended in a way for which the deck says stop: SolverStop, or
/// what a fault throws where the solve met a NaN or an infinity. `reports` [local sample][solve], of which
/// the first is that of the batch's sample `first_sample`. Collective.
void stop_if_told(const Communicator& communicator, const SolverOptions& solver, const PdeBatch& batch,
                  long first_sample, const std::vector<std::vector<SolveReport>>& reports);

std::optional<BadSolve> first_not_finite(const std::vector<std::vector<SolveReport>>& reports,
                                         const PdeBatch& batch, long first_sample);

/// Whether one of a sample's solves ended in a way for which the deck leaves the sample out.
bool skipped(const SolverOptions& solver, const std::vector<SolveReport>& reports);

}  // namespace rankine
