// A parametric PDE of one space dimension, dM(u)/dt + dF/dx = S, written once: storage, flux, walls, initial
// states. The conservative discretisation, its march and all adjoints follow from it by generic code
// (src/experts/). Beside it stands the pointwise residual f(u, u_t, u_xx), which the paper's formulation
// uses.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/conservative_residual.hpp"

namespace rankine {

/// A pointwise residual f(u, u_t, u_xx) with first and second derivatives. Index 0: u, 1: u_t, 2: u_xx.
struct PointwiseResidual {
  double value;
  double gradient[3];
  double hessian[3][3];
};

/// Conditions at a wall in the paper's collocated form, row = value_factor u + slope_factor u_x - target.
struct WallRow {
  double value_factor, slope_factor, target;
};

class Pde {
 public:
  virtual ~Pde() = default;

  /// Extent of space [length unit] and time [time unit]; both start at 0.
  virtual double length() const = 0;
  virtual double duration() const = 0;
  virtual const char* length_unit() const = 0;
  virtual const char* time_unit() const = 0;
  virtual const char* field_name() const = 0;

  /// M, M', M'' at every entry of `u`.
  virtual void storage(std::span<const double> u, kernels::StorageFields& out) const = 0;
  /// The discretised flux difference -dF/dx on `cells` equal cells, walls included.
  virtual kernels::ThreePointOperator flux_operator(int cells) const = 0;
  /// A typical M'(u): the constant storage slope that the frozen march is linearised at.
  virtual double typical_storage_slope() const = 0;

  virtual PointwiseResidual pointwise(double u, double u_t, double u_xx) const = 0;
  virtual WallRow left_wall() const = 0;
  virtual WallRow right_wall() const = 0;

  /// Smallest and largest initial value; states are constants drawn uniformly between them.
  virtual double initial_minimum() const = 0;
  virtual double initial_maximum() const = 0;
  /// The reference solution for the initial value u0 on `cells` cells at `times`: [time][cell]. Throws
  /// NumericalError where the integrator fails.
  virtual std::vector<double> reference(double u0, int cells, std::span<const double> times) const = 0;
};

}  // namespace rankine
