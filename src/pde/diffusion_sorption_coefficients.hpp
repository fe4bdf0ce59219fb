// Material law of the diffusion-sorption problem (PDEBench, Takamoto et al. 2022, appendix D.3): a solute
// that diffuses through a porous medium and sticks to it by a Freundlich isotherm.
//   dM(u)/dt = D u_xx,   M'(u) = R(u) = 1 + (1 - phi)/phi rho_s k n_f (u + eps)^(n_f - 1),   R(u) = R(0) for
//   u < 0
#pragma once

#include <cmath>

#include "kernels/portability.hpp"

namespace rankine {

struct DiffusionSorptionCoefficients {
  double diffusion = 5e-4;       ///< D [length^2 / time], effective diffusion coefficient
  double porosity = 0.29;        ///< phi [-]
  double density = 2880;         ///< rho_s [mass / length^3], bulk density
  double freundlich = 3.5e-4;    ///< k, Freundlich's parameter
  double exponent = 0.874;       ///< n_f [-], Freundlich's exponent
  double regularisation = 1e-6;  ///< eps, keeps R finite at u = 0

  /// (1 - phi)/phi rho_s k n_f: 2.15691 for the defaults.
  KOKKOS_INLINE_FUNCTION double sorption() const {
    return (1 - porosity) / porosity * density * freundlich * exponent;
  }

  /// Storage and its derivatives at one point.
  struct Storage {
    double value, slope, curvature;  ///< M(u), M'(u) = R(u), M''(u)
  };

  KOKKOS_INLINE_FUNCTION Storage storage(double u) const {
    using std::pow;
    const double c = sorption(), n = exponent, v = (u > 0 ? u : 0) + regularisation, power = pow(v, n);
    const double slope = 1 + c * power / v;
    if (u <= 0) return {u * slope, slope, 0};
    return {u + c / n * (power - pow(regularisation, n)), slope, c * (n - 1) * power / (v * v)};
  }

  /// Retardation factor R and its derivatives; constant below u = 0.
  struct Retardation {
    double value, slope, curvature;  ///< R(u), R'(u), R''(u)
  };

  KOKKOS_INLINE_FUNCTION Retardation retardation(double u) const {
    using std::pow;
    const double c = sorption(), n = exponent, v = (u > 0 ? u : 0) + regularisation;
    const double power = c * pow(v, n - 1);
    if (u <= 0) return {1 + power, 0, 0};
    return {1 + power, (n - 1) * power / v, (n - 1) * (n - 2) * power / (v * v)};
  }
};

}  // namespace rankine
