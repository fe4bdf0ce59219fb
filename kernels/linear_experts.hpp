// Least-squares problems of many samples and experts on one linear scheme (linear_scheme.hpp), in device
// memory. Problem k fits u = B w in the fields B of its sample so that the weighed residual Q r(u) is least in
// the rows of its expert's box. No Kokkos here.
//
// `count` problems are worked on at a time. States are [problem][frames + 1][cell] with the initial frame,
// residuals [frame][cell][problem], as the march takes them; what is computed of a problem does not depend on
// which others stand beside it. Sums over rows are chains of fused multiply-adds in the order of the rows.
#pragma once

#include "kernels/linear_scheme.hpp"
#include "kernels/tridiagonal_march.hpp"

namespace rankine::kernels {

struct LinearExperts {
  LinearScheme scheme;
  DevicePtr<const double> now_rows, before_rows;  ///< [frame][cell][3]: -now G / scale and before G / scale
  int experts = 0, basis = 0;
  DevicePtr<const std::int32_t> boxes;  ///< [expert][4]: first frame, last + 1, first cell, last + 1
  DevicePtr<const std::int32_t> owner;  ///< [frame][cell]: the expert whose box it lies in
  DevicePtr<const double> fields;       ///< B: [sample][frame][cell][basis]
  std::int64_t count = 0;
  DevicePtr<const std::int32_t> samples, expert;  ///< [count]: the sample and the expert of each problem
};

/// u = B w after the frame of `initial` [sample][cell], or after zeros where that is null; w is
/// [problem][basis].
void expert_states(const LinearExperts& e, DevicePtr<const double> initial, DevicePtr<const double> w,
                   DevicePtr<double> u);

/// 1/2 |Q r|^2 in each problem's rows, of weighed residuals.
void expert_objectives(const LinearExperts& e, DevicePtr<const double> weighed, DevicePtr<double> out);

/// [J rho]^T [J rho] of each problem, (basis + 1) x (basis + 1): J = Q r'(u) B with the storage slopes `slope`
/// (as states), rho the weighed residual. `work`: expert_work() numbers.
void expert_systems(const LinearExperts& e, const TridiagonalMarchOnDevice& march,
                    DevicePtr<const double> slope, DevicePtr<const double> weighed, DevicePtr<double> work,
                    DevicePtr<double> out);
std::int64_t expert_work(const LinearExperts& e);

/// [B t]^T [B t] in each problem's rows; `target` t is [frame][cell][sample], `samples` of them.
void expert_starts(const LinearExperts& e, std::int64_t samples, DevicePtr<const double> target,
                   DevicePtr<double> out);

/// The weighed residual in a problem's rows, zero elsewhere.
void expert_rows(const LinearExperts& e, DevicePtr<const double> weighed, DevicePtr<double> out);

/// B^T diag(h) B of each problem, where h = <p, r''(u)[., .]> for p as residuals: `curvature` is M''(u).
void expert_curvatures(const LinearExperts& e, DevicePtr<const double> curvature, DevicePtr<const double> p,
                       DevicePtr<double> out);

/// out = r'(u) v, a residual of each problem, for v as states, zero in the initial frame.
void expert_directions(const LinearExperts& e, DevicePtr<const double> slope, DevicePtr<const double> v,
                       DevicePtr<double> out);

/// gradient [problem][frame][cell] += <p, r''(u)[v, .]>.
void expert_second(const LinearExperts& e, DevicePtr<const double> curvature, DevicePtr<const double> p,
                   DevicePtr<const double> v, DevicePtr<double> gradient);

// Of all problems at once: count = samples * experts, in order.

/// The assembled solution [sample][frame][cell]: at each point the state of its owner.
void expert_solution(const LinearExperts& e, DevicePtr<const double> u, DevicePtr<double> out);

/// fields_bar = the gradient of <u_bar, u> by B at fixed w, and w_bar [problem][basis] by w; u_bar is
/// [sample][frame][cell].
void expert_direct_gradients(const LinearExperts& e, DevicePtr<const double> w, DevicePtr<const double> u_bar,
                             DevicePtr<double> fields_bar, DevicePtr<double> w_bar);
/// fields_bar -= sum over a sample's experts of w by_solution + lambda by_direction.
void expert_implicit_gradients(const LinearExperts& e, DevicePtr<const double> w,
                               DevicePtr<const double> lambda, DevicePtr<const double> by_solution,
                               DevicePtr<const double> by_direction, DevicePtr<double> fields_bar);

}  // namespace rankine::kernels
