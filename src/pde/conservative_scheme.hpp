// The conservative discretisation of a PDE in one dimension: n equal cells, fluxes at their faces, two time
// levels. Frame j = 1..J, cell i = 0..n-1, frame 0 is the initial state; s = typical_storage_slope():
//   r[j,i] = ( M(u[j,i]) - M(u[j-1,i]) - dt_j ( th_j G(u_j)_i + (1 - th_j) G(u_{j-1})_i ) ) / s
//   G(u)_i = -( F_{i+1/2} - F_{i-1/2} ) / dx + S(u_i)
// At a face u is the mean of the two cells beside it, u_x their difference over dx, u_xx the mean of the two
// second differences: all of second order. Walls enter through ghost cells, affine in the outermost cell.
// States are [frames + 1][cell][unknown], residuals [frames][cell][unknown].
#pragma once

#include <span>
#include <vector>

#include "solvers/linear_march.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// What the discretisation reads of a sample, beside its fields.
struct SchemeParameters {
  std::vector<double> values = {};  ///< of Pde::parameters()
  std::vector<int> learned = {};    ///< indices of those that derivatives are wanted by
};

/// G(u) of one PDE, grid and set of parameters, at any number of frames.
class SpatialOperator {
 public:
  SpatialOperator(const Pde& pde, int cells, SchemeParameters parameters);

  const Pde& pde() const { return pde_; }
  int cells() const { return cells_; }
  int unknowns() const { return unknowns_; }
  int width() const { return cells_ * unknowns_; }
  int faces() const { return periodic_ ? cells_ : cells_ + 1; }
  /// Cells that G reads to each side.
  int reach() const { return pde_.flux_derivatives() == 2 ? 2 : 1; }
  int learned() const { return static_cast<int>(parameters_.learned.size()); }
  const SchemeParameters& parameters() const { return parameters_; }
  double cell_centre(int i) const { return (i + 0.5) * dx_; }
  /// An empty stencil of the operator's shape.
  kernels::StencilFrames stencil(int frames) const;

  /// Ghost cell = slope * outermost cell + offset, with derivatives by the learned parameters.
  struct Ghost {
    double slope = 0, offset = 0;
    std::vector<double> slope_by, offset_by;
  };
  /// Ghosts of some frames: [frame][side][unknown]; empty if periodic.
  using Ghosts = std::vector<Ghost>;
  Ghosts ghosts(std::span<const double> times) const;

  /// Flux, source and storage of some frames. `order` is that of the derivatives.
  struct Terms {
    int order = -1;
    kernels::TermValues flux, source;
  };
  /// `u` [frame][cell][unknown] at `times`. Throws NumericalError where a term is not finite.
  Terms terms(std::span<const double> times, const Ghosts& ghosts, std::span<const double> u,
              int order) const;
  kernels::TermValues storage(std::span<const double> times, std::span<const double> u, int order) const;

  /// out[cell][unknown] = G(u) of one frame.
  void value(const Terms& terms, int frame, std::span<double> out) const;
  /// out (frame `to`) += factor G'(u). `only_derivatives`: the part of the flux that reads u_x and u_xx (the
  /// stiff part); `without_derivatives`: the rest.
  enum class Part { all, stiff, gentle };
  void add_jacobian(const Terms& terms, const Ghosts& ghosts, int frame, double factor,
                    kernels::StencilFrames& out, int to, Part part = Part::all) const;
  /// out [learned][cell][unknown] += factor dG/dp; `u`: the frame's state.
  void add_parameter_gradient(const Terms& terms, const Ghosts& ghosts, int frame, std::span<const double> u,
                              double factor, std::span<double> out, size_t stride) const;
  /// g += sum_i q_i G_i''[v, .] and g_parameters[l] += sum_i q_i d^2 G_i / (du dp_l)[v], of one frame. Needs
  /// terms of order 2.
  void add_second(const Terms& terms, const Ghosts& ghosts, int frame, std::span<const double> u,
                  std::span<const double> v, std::span<const double> q, std::span<double> g,
                  std::span<double> g_parameters) const;

 private:
  struct FaceRead {  // one cell that a face reads, with its weights for u, u_x, u_xx
    int offset;      // cell = face + offset
    double weight[3];
  };
  void face_arguments(const Ghosts& ghosts, int frame, const double* u, long stride, double* out) const;
  [[noreturn]] void report_not_finite(const char* term, const kernels::TermValues& values,
                                      const kernels::TermPoints& points) const;
  void check_finite(const char* term, const kernels::TermValues& values,
                    const kernels::TermPoints& points) const;
  const Ghost& ghost(const Ghosts& ghosts, int frame, int side, int unknown) const {
    return ghosts[(static_cast<size_t>(frame) * 2 + side) * unknowns_ + unknown];
  }

  const Pde& pde_;
  int cells_, unknowns_;
  bool periodic_;
  double dx_;
  SchemeParameters parameters_;
  std::vector<FaceRead> reads_;
};

class SchemePoint;

class ConservativeScheme {
 public:
  /// `times`: frames + 1 rising times, the initial one included. The first `implicit_steps` steps are
  /// backward Euler, the others have implicit weight `theta` (1/2: trapezoid).
  ConservativeScheme(const Pde& pde, int cells, std::vector<double> times, double theta, int implicit_steps,
                     SchemeParameters parameters);

  const Pde& pde() const { return space_.pde(); }
  const SpatialOperator& space() const { return space_; }
  int frames() const { return static_cast<int>(times_.size()) - 1; }
  int cells() const { return space_.cells(); }
  int unknowns() const { return space_.unknowns(); }
  int width() const { return space_.width(); }  ///< numbers in a frame
  int learned() const { return space_.learned(); }
  long points() const { return static_cast<long>(frames()) * width(); }
  const std::vector<double>& times() const { return times_; }
  double scale() const { return scale_; }
  /// G by a constant stencil, where the flux is linear, without source and nothing is learned.
  struct LinearFlux {
    kernels::StencilFrames stencil;
    std::vector<double> constant;
  };
  const LinearFlux* linear_flux() const { return linear_.empty() ? nullptr : &linear_.front(); }
  /// Weights of G in the step into frame `step` + 1: of the new and of the old frame.
  double now(int step) const { return (times_[step + 1] - times_[step]) * theta_[step]; }
  double before(int step) const { return (times_[step + 1] - times_[step]) * (1 - theta_[step]); }

  /// The scheme of the single step into frame `step` + 1, or of the first `part` of it.
  ConservativeScheme step(int step, double part = 1) const;
  /// The march of the linearisation about constant typical states and the typical storage slope.
  MarchMatrices frozen_march() const;
  /// <s, dP/dp v> of that march P for each learned parameter; without `history` of its spatial factor.
  std::vector<double> frozen_march_gradient(std::span<const double> s, std::span<const double> v,
                                            bool history) const;
  /// r(u) with the storage slope * u instead of M(u): what the linear start solves with the frozen march.
  std::vector<double> frozen_residual(std::span<const double> u) const;

 private:
  friend class SchemePoint;

  SpatialOperator space_;
  std::vector<double> times_, theta_;
  double scale_;
  SpatialOperator::Ghosts ghosts_;
  std::vector<LinearFlux> linear_;  // one or none
};

/// The scheme at one state: residual, linearisation, second derivatives. Each is computed when first asked
/// for.
class SchemePoint {
 public:
  /// `order`: of the derivatives that will be asked for, so that terms are evaluated once (others follow on
  /// demand).
  SchemePoint(const ConservativeScheme& scheme, std::vector<double> u, int order = 0);

  const std::vector<double>& u() const { return u_; }
  /// r [frames][width].
  std::vector<double> residual();
  /// r'(u): A_j on frame j, B_j on frame j - 1 (with the sign of MarchMatrices).
  const MarchMatrices& linearisation();
  /// out = r'(u) b for columns; b and out are [frames][width][columns].
  void apply(std::span<const double> b, int columns, std::span<double> out);
  /// out = r'(u)^T s.
  void apply_transpose(std::span<const double> s, std::span<double> out);
  /// dr/dp for the learned parameters: [learned][frames][width].
  std::vector<double> parameter_gradient();
  /// out[q] = <p, r''(u)[v, e_q]> for all fields q, and by_parameter[l] = <p, d^2 r/(du dp_l) v>.
  void second(std::span<const double> p, std::span<const double> v, std::span<double> out,
              std::span<double> by_parameter = {});
  /// The same for several columns of v, where r'' is diagonal (linear flux): weight[q] so that <p, r''[v,
  /// e_q]> = weight[q] v[q]. Returns false where it is not.
  bool curvature_weight(std::span<const double> p, std::span<double> weight);

  /// Storage slopes and the two parts of G', for an IMEX march.
  SplitMatrices split(int substeps);

 private:
  void need(int order);

  const ConservativeScheme& scheme_;
  std::vector<double> u_;
  int order_;
  kernels::TermValues storage_;
  SpatialOperator::Terms terms_;
  MarchMatrices matrices_;
  bool linearised_ = false;
};

}  // namespace rankine
