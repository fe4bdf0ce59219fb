// The convective part of a flux, F(u, 0, 0, x, t), by a second-order scheme that satisfies the entropy
// condition: MUSCL reconstruction with van Leer's limiter (J. Comput. Phys. 32, 1979) and the local
// Lax-Friedrichs flux
//   F* = ( F(L) + F(R) - c ( M(R) - M(L) ) ) / 2,   c = the largest |eigenvalue of M'^-1 F'| between L and R.
// Central fluxes need no such care where the grid resolves all fronts, and converge to wrong solutions or not
// at all where it does not: references with a central flux are checked by this one. It is independent of the
// smooth fluxes that a PDE may choose (src/pde/convective_flux.hpp), and evaluates F between L and R only.
#pragma once

#include <span>
#include <vector>

#include "src/pde/conservative_scheme.hpp"

namespace rankine {

/// What the limited flux adds to the central one, for one SpatialOperator. The faces at walls keep the
/// central flux, which is that of the wall's own value.
class LimitedFlux {
 public:
  /// `space` must outlive this.
  explicit LimitedFlux(const SpatialOperator& space) : space_(space) {}
  /// f [cell][unknown] += G with limited flux - G with central flux, at the state u [cell][unknown].
  void add_difference(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                      std::span<double> f) const;
  /// out (frame 0) += the Jacobian of the dissipation -c (M(R) - M(L)) / 2 at first order, with c held fixed.
  void add_jacobian(double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u,
                    kernels::StencilFrames& out) const;

 private:
  struct Faces {
    std::vector<double> difference;  ///< [face][unknown]
    std::vector<double> speed;       ///< c [face]
  };
  Faces faces(int axis, double t, const SpatialOperator::Ghosts& ghosts, std::span<const double> u) const;

  const SpatialOperator& space_;
};

}  // namespace rankine
