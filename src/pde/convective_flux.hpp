// What an entropy-satisfying flux adds to the central one at the faces of a grid, with exact first and second
// derivatives. Of the convective part of a flux, f(u) = F(u, 0, 0, x, t), central fluxes take f at the mean
// of both cells, which converges to wrong solutions or not at all where fronts are thinner than a cell. Here
//   F* = ( f(L) + f(R) - c ( M(R) - M(L) ) ) / 2,
// the local Lax-Friedrichs flux (V. V. Rusanov, USSR Comput. Math. Math. Phys. 1, 1961), of L and R the
// states on both sides of the face: those of the cells (`upwind`, of first order), or reconstructed with
// slopes that are limited (`limited`, MUSCL, of second order: B. van Leer, J. Comput. Phys. 32, 1979). All of
// it is smooth, so that constraints can be differentiated twice:
// - The slope of a cell from its differences a and b is van Albada's (Astron. Astrophys. 108, 1982),
//   ( a (b^2 + e) + b (a^2 + e) ) / ( a^2 + b^2 + 2 e ), e = size^2 / cells^3. So small a difference as at a
//   smooth extremum is not limited; by about that much a state may overshoot beside a shock.
// - c is the largest of (tr(A^2)^2 + s^4)^(1/4) at L, R and their mean, A = M'^-1 f', where `largest` is
//   rounded off over s, a hundredth of the typical wave speed. tr(A^2), the sum of the squared wave speeds,
//   bounds the largest one where all are real.
// - f' and M' in it are central differences over 1e-4 of an unknown's size, so that second derivatives of
//   c need no third ones of f.
// At a wall that holds the values of all unknowns these are one of the two states, so that waves leave
// through it; at any other wall the flux stays that of the wall's own value, which conserves where nothing
// may pass. Steady problems have M(u) = u here.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "src/deck/options.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// The typical convection of a PDE: what nine of ten random states do not exceed, which lie about the typical
/// state as far as the unknowns' sizes, at the middle and the ends of drawn parameters, all unknowns measured
/// in their sizes.
struct ConvectionMeasure {
  bool convects = false;  ///< F(u, 0, 0, x, t) depends on u
  double speed = 0;       ///< |dF_a/du_b / M_a'| [length / time]
  /// Per axis |dF_a/du_b / (dF_a/du_a,x)|, infinite where nothing diffuses [1 / length].
  std::array<double, max_space_axes> per_length{};
};
ConvectionMeasure measure_convection(const Pde& pde);
bool has_convection(const Pde& pde);

/// The largest cell Peclet number of any axis, |speed| dx / diffusion, and up to which one a central flux is
/// free of wiggles.
double cell_peclet(const ConvectionMeasure& measure, const Grid& grid);
constexpr double central_peclet = 2;

/// The flux that Pde::convection() means on a grid: `automatic` decided, `central` where nothing convects.
Convection convection_on(const Pde& pde, const Grid& grid);
/// Such as "limited (cell Peclet number 12 on 64 cells)"; empty where nothing convects.
std::string describe_convection(const Pde& pde, const Grid& grid);

/// The key `convection` of a PDE's options.
void convection_option(OptionVisitor& o, std::string& name);
Convection convection_named(const std::string& name);

/// Between two cells; at a wall that holds values, on the lower or upper side of the box; or to stay central.
enum class FaceKind : char { inside, lower_wall, upper_wall, central };

class ConvectiveFlux {
 public:
  /// `pde` must outlive this.
  ConvectiveFlux(const Pde& pde, const Grid& grid);

  Convection kind() const { return kind_; }
  /// Cells that a face reads, half of them on each side: 0 (central), 2 or 4.
  int cells() const { return kind_ == Convection::central ? 0 : kind_ == Convection::upwind ? 2 : 4; }
  /// F* - f(mean of both cells) at faces across an axis, and its derivatives. The arguments are those of the
  /// cells in the order of their numbers, [cell][unknown][point]. Throws NumericalError where it is not
  /// finite.
  kernels::TermValues difference(int axis, const kernels::TermPoints& at, std::span<const FaceKind> kinds,
                                 int order) const;

 private:
  const Pde& pde_;
  std::vector<int> grid_cells_;  // of the whole grid
  Convection kind_ = Convection::central;
  double rounding_ = 0;         // s
  std::vector<double> widths_;  // [unknown], of the differences for f'
};

}  // namespace rankine
