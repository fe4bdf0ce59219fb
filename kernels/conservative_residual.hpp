// The residual of a conservation law in storage form on a space-time grid, with its derivatives. Frame j
// = 1..J, cell i = 0..n-1, frame 0 is the initial state:
//   r[j,i] = ( M(u[j,i]) - M(u[j-1,i]) - dt_j ( th_j G(u_j)_i + (1 - th_j) G(u_{j-1})_i ) ) / scale
// where G(u)_i = lower_i u_{i-1} + diagonal_i u_i + upper_i u_{i+1} + constant_i is the discretised flux
// difference, walls included (ghost cells are affine in their neighbour). A field of columns is laid out
// [frame][cell][column], frames 1..J.
//   forward    (r'(u) b)[j]   = ( M'_j b_j - M'_{j-1} b_{j-1} - dt_j ( th_j G b_j + (1 - th_j) G b_{j-1} ) )
//   / scale,  b_0 = 0 backward   (r'(u)^T s)[j] = ( M'_j (s_j - s_{j+1}) - G^T ( dt_j th_j s_j + dt_{j+1} (1
//   - th_{j+1}) s_{j+1} ) ) / scale curvature  <p, r''(u)[v, .]>[j] = M''_j v_j (p_j - p_{j+1}) / scale
#pragma once

#include <span>
#include <vector>

namespace rankine::kernels {

/// A three-point operator with an affine part: n entries each; lower[0] and upper[n-1] are 0.
struct ThreePointOperator {
  std::vector<double> lower, diagonal, upper, constant;
  int size() const { return static_cast<int>(diagonal.size()); }
};

/// Weights of the two-level time discretisation: dt[j-1], theta[j-1] belong to the step into frame j.
struct TimeLevels {
  std::vector<double> dt, theta;
  int frames() const { return static_cast<int>(dt.size()); }
};

/// Storage at every frame and cell ([frames + 1][n], frame 0 included): values and derivatives.
struct StorageFields {
  std::vector<double> value, slope, curvature;
};

struct ConservativeResidual {
  ThreePointOperator flux;
  TimeLevels time;
  double scale = 1;

  int frames() const { return time.frames(); }
  int cells() const { return flux.size(); }
  long points() const { return static_cast<long>(frames()) * cells(); }

  /// r[frames][cells] of u[frames + 1][cells].
  void evaluate(const StorageFields& storage, std::span<const double> u, std::span<double> r) const;
  /// r'(u) applied to columns: b and out are [frames][cells][columns].
  void apply(const StorageFields& storage, std::span<const double> b, int columns,
             std::span<double> out) const;
  /// The adjoint of apply() for one column.
  void apply_transpose(const StorageFields& storage, std::span<const double> s, std::span<double> out) const;
  /// weight[j] = M''_j (p_j - p_{j+1}) / scale, so that <p, r''(u)[v, w]> = sum weight v w.
  void curvature_weight(const StorageFields& storage, std::span<const double> p,
                        std::span<double> weight) const;
};

}  // namespace rankine::kernels
