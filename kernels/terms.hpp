// The terms of a PDE (storage, flux, source) at a batch of points, with derivatives. Who defines a PDE fills
// these in; the discretisation, its linearisation and all adjoints follow from them by generic code.
#pragma once

#include <span>
#include <vector>

namespace rankine::kernels {

/// The numbers that a flux reads of `unknowns` unknowns: their values, their first derivatives along each of
/// the space axes, and with one axis their second derivatives.
constexpr int flux_arguments(int axes, int unknowns) { return (axes == 1 ? 3 : 1 + axes) * unknowns; }

/// Points at which terms are evaluated. For m unknowns the arguments are u_1 .. u_m (storage, source), and
/// for the flux flux_arguments(): all u, then all u_x, then all u_y, ...
struct TermPoints {
  long size = 0;
  std::span<const double> arguments;  ///< [argument][point]
  /// Position and coefficient fields: [row][point], a row for each space axis, then one for each field.
  std::span<const double> x;
  std::span<const double> t;           ///< [point]
  std::span<const double> parameters;  ///< values of the PDE's parameters, the same at all points
  std::span<const int> learned;        ///< indices of the parameters that are learned along
};

/// Values of the terms, one result an unknown, with derivatives by the arguments. Learned parameters count as
/// further arguments, after the others.
struct TermValues {
  int results = 0, arguments = 0, order = 0;
  long size = 0;
  std::vector<double> value;     ///< [result][point]
  std::vector<double> gradient;  ///< [result][argument][point], order >= 1
  std::vector<double> hessian;   ///< [result][argument][argument][point], symmetric and full, order >= 2

  /// Sets the shape; everything is zero afterwards.
  void reset(int results_, int arguments_, int order_, long size_) {
    results = results_;
    arguments = arguments_;
    order = order_;
    size = size_;
    value.assign(results * size, 0.0);
    gradient.assign(order >= 1 ? results * arguments * size : 0, 0.0);
    hessian.assign(order >= 2 ? static_cast<long>(results) * arguments * arguments * size : 0, 0.0);
  }
  double* at(int result) { return &value[result * size]; }
  double* by(int result, int a) { return &gradient[(static_cast<long>(result) * arguments + a) * size]; }
  double* by(int result, int a, int b) {
    return &hessian[((static_cast<long>(result) * arguments + a) * arguments + b) * size];
  }
  const double* at(int result) const { return &value[result * size]; }
  const double* by(int result, int a) const {
    return &gradient[(static_cast<long>(result) * arguments + a) * size];
  }
  const double* by(int result, int a, int b) const {
    return &hessian[((static_cast<long>(result) * arguments + a) * arguments + b) * size];
  }
};

}  // namespace rankine::kernels
