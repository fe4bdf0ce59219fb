// Convergence diagnostics of chains, and standard errors of their means (Vehtari, Gelman, Simpson, Carpenter
// and Buerkner, "Rank-normalization, folding, and localization: an improved R-hat", Bayesian Analysis 16,
// 2021).
#pragma once

#include <cstdint>
#include <span>

namespace rankine {

struct ChainDiagnosis {
  double mean = 0;
  double standard_error = 0;  ///< of the mean: deviation / sqrt(ess)
  double ess = 0;    ///< effective number of draws for the mean (eqs. 10 to 13, Geyer's monotone sums)
  double r_hat = 0;  ///< larger one of the rank-normalised and the folded R-hat, of split chains
};

/// Diagnoses `draws` [chains][draws of a chain]. All results but the mean are NaN for fewer than four draws a
/// chain, or if all draws are equal.
ChainDiagnosis diagnose(std::span<const double> draws, std::int64_t chains);

}  // namespace rankine
