// Material law of the diffusion-sorption problem (PDEBench, Takamoto et al. 2022, appendix D.3): a solute
// that diffuses through a porous medium and sticks to it by a Freundlich isotherm.
//   dM(u)/dt = D u_xx,   M'(u) = R(u) = 1 + (1 - phi)/phi rho_s k n_f (u + eps)^(n_f - 1),   R(u) = R(0) for
//   u < 0
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "kernels/linear_scheme.hpp"
#include "kernels/pointwise.hpp"

namespace rankine {

struct DiffusionSorptionCoefficients {
  double diffusion = 5e-4;       ///< D [length^2 / time], effective diffusion coefficient
  double porosity = 0.29;        ///< phi [-]
  double density = 2880;         ///< rho_s [mass / length^3], bulk density
  double freundlich = 3.5e-4;    ///< k, Freundlich's parameter
  double exponent = 0.874;       ///< n_f [-], Freundlich's exponent
  double regularisation = 1e-6;  ///< eps, keeps R finite at u = 0

  /// (1 - phi)/phi rho_s k n_f: 2.15691 for the defaults.
  RANKINE_INLINE double sorption() const {
    return (1 - porosity) / porosity * density * freundlich * exponent;
  }

  RANKINE_INLINE kernels::Freundlich law() const { return {sorption(), exponent, regularisation}; }
  /// u + eps, or eps where u is negative.
  RANKINE_INLINE double shifted(double u) const { return law().shifted(u); }

  /// Storage and its derivatives at one point.
  using Storage = kernels::Freundlich::Storage;
  RANKINE_INLINE Storage storage(double u) const {
    using std::pow;
    return law().storage(u, pow(shifted(u), exponent), pow(regularisation, exponent));
  }

  /// Retardation factor R and its derivatives; constant below u = 0.
  struct Retardation {
    double value, slope, curvature;  ///< R(u), R'(u), R''(u)
  };

  /// `power` is shifted(u)^(n_f - 1).
  RANKINE_INLINE Retardation retardation(double u, double power) const {
    const double n = exponent, v = shifted(u), sorbed = sorption() * power;
    if (u <= 0) return {1 + sorbed, 0, 0};
    return {1 + sorbed, (n - 1) * sorbed / v, (n - 1) * (n - 2) * sorbed / (v * v)};
  }
  RANKINE_INLINE Retardation retardation(double u) const {
    using std::pow;
    return retardation(u, pow(shifted(u), exponent - 1));
  }
};

/// (u_i + eps)^exponent of many points, eps^exponent where u_i is negative.
inline std::vector<double> shifted_powers(const DiffusionSorptionCoefficients& c, double exponent,
                                          std::span<const double> u) {
  std::vector<double> power(u.size());
  for (size_t i = 0; i < u.size(); ++i) power[i] = c.shifted(u[i]);
  kernels::map(kernels::Power{exponent}, static_cast<std::int64_t>(u.size()), power.data(), power.data());
  return power;
}

}  // namespace rankine
