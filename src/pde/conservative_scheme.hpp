// The conservative discretisation of a PDE on an equal grid of one to three axes: fluxes at the faces of the
// cells, two time levels. Frame j = 1..J, cell c, frame 0 is the initial state; s = typical_storage_slope():
//   r[j,c] = ( M(u[j,c]) - M(u[j-1,c]) - dt_j ( th_j G(u_j)_c + (1 - th_j) G(u_{j-1})_c ) ) / s
//   G(u)_c = -sum_i ( F_i at the upper face - F_i at the lower face ) / dx_i + S(u_c)
// At a face of axis i u is the mean of the two cells beside it, its derivative along i their difference over
// dx_i, u_xx the mean of the two second differences, a derivative along another axis the mean of the central
// differences of the two cells: all of second order. Walls enter through ghost cells, affine in the outermost
// cell; beyond an edge the ghost of a ghost is read. Where Pde::convection() asks for it, the convective part
// of F_i is upwinded instead (src/pde/convective_flux.hpp).
// States are [frames + 1][cell][unknown], residuals [frames][cell][unknown].
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "solvers/linear_march.hpp"
#include "src/pde/convective_flux.hpp"

namespace rankine {

/// G(u) of one PDE, grid and set of parameters, at any number of frames.
class SpatialOperator {
 public:
  /// The grid must have the PDE's axes and lengths; `parameters` hold its coefficient fields on it. On a part
  /// of a grid, what the operator gives less than reach() cells away from a cut means nothing.
  SpatialOperator(const Pde& pde, Grid grid, SchemeParameters parameters);

  const Pde& pde() const { return pde_; }
  const Grid& grid() const { return grid_; }
  int cells() const { return grid_.cells(); }
  int unknowns() const { return unknowns_; }
  int width() const { return cells() * unknowns_; }
  int learned() const { return static_cast<int>(parameters_.learned.size()); }
  const SchemeParameters& parameters() const { return parameters_; }
  /// How the convective flux is taken: never `automatic`.
  Convection convection() const { return convective_.kind(); }
  int faces(int axis) const { return faces_[axis].count; }
  /// The cells below and above a face, -1 beyond a wall.
  int lower_cell(int axis, int face) const { return faces_[axis].lower[face]; }
  int upper_cell(int axis, int face) const { return faces_[axis].upper[face]; }
  Place face_centre(int axis, int face) const;
  /// Position and coefficient fields at all faces across an axis, [row][face].
  std::span<const double> face_places(int axis) const { return faces_[axis].x; }
  /// How many cells to each side along an axis G reads.
  int reach() const { return reach_of(pde_, convection()); }
  static int reach_of(const Pde& pde, Convection convection) {
    return convection == Convection::limited || pde.flux_derivatives() == 2 ? 2 : 1;
  }
  /// An empty stencil of the operator's shape.
  kernels::StencilFrames stencil(int frames) const;
  /// The cells that it reads; null with one axis.
  std::shared_ptr<const kernels::StencilLayout> layout() const { return layout_; }

  /// Ghost cell = slope * outermost cell + offset, with derivatives by the learned parameters.
  struct Ghost {
    double slope = 0, offset = 0;
    bool holds_value = false;  ///< the wall gives the value itself
    std::vector<double> slope_by, offset_by;
  };
  /// The stencil's point of the next cell along an axis; its negative is that of the cell before.
  int next_point(int axis) const;
  /// Ghosts of some frames: [frame][face of the box][cell along it][unknown], without those of periodic axes.
  /// Faces: axis by axis, the lower side first.
  using Ghosts = std::vector<Ghost>;
  Ghosts ghosts(std::span<const double> times) const;
  /// What an unknown of one frame is in the cell that lies `steps` (-1 or 1) beside `cell` along an axis: the
  /// neighbour's value in u [cell][unknown], or the ghost's.
  double beside(const Ghosts& ghosts, std::span<const double> u, int cell, int axis, int steps,
                int unknown) const;

  /// Flux, source and storage of some frames. `order` is that of the derivatives.
  struct Terms {
    int order = -1;
    /// [axis], at [frame][face]; then in the same way what is added where it is upwinded.
    std::vector<kernels::TermValues> flux;
    kernels::TermValues source;
  };
  /// `u` [frame][cell][unknown] at `times`. Throws NumericalError where a term is not finite.
  Terms terms(std::span<const double> times, const Ghosts& ghosts, std::span<const double> u,
              int order) const;
  kernels::TermValues storage(std::span<const double> times, std::span<const double> u, int order) const;

  /// out[cell][unknown] = G(u) of one frame.
  void value(const Terms& terms, int frame, std::span<double> out) const;
  /// out (frame `to`) += factor G'(u). `stiff`: the part of the flux that reads derivatives; `gentle`: the
  /// rest.
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
  /// Weights of a cell that a face reads, for each block of arguments: u, derivatives, or the cells' states.
  struct FaceRead {
    kernels::StencilLayout::Offset offset;  // from the cell above the face
    std::array<double, 4> weight;
  };
  /// The cell that a read ends at, through ghosts where it leaves the box, the first one applied first.
  struct FaceCell {
    int cell;
    std::array<int, 2> ghosts{-1, -1};
    int in_lower, in_upper;  // the stencil's point that couples the face's lower, upper cell with it
    bool leaves() const { return ghosts[0] >= 0; }
  };
  /// Faces across one axis, in the order of their lower cells, and what their flux reads: `blocks` of
  /// arguments, of which the first `gentle` are no derivatives; learned parameters stand from `learned` on.
  struct AxisFaces {
    int axis = 0, blocks = 0, gentle = 0, learned = 0;
    int count = 0;
    std::vector<FaceRead> reads;
    std::vector<FaceCell> cells;    // [face][read]
    std::vector<int> lower, upper;  // [face]: the cells beside it, -1 beyond a wall
    std::vector<double> x;          // as in TermPoints: [row][face]
  };
  AxisFaces make_faces(int axis, bool convective) const;
  std::vector<FaceRead> make_reads(int axis) const;
  std::vector<FaceRead> make_convective_reads(int axis) const;
  /// Of all faces of some frames, [frame][face].
  std::vector<FaceKind> face_kinds(const AxisFaces& faces, long frames, const Ghosts& ghosts) const;
  /// Index of a ghost in its frame, without unknowns, beside a cell that touches the wall.
  int ghost_slot(int axis, Side side, int cell) const;
  /// The two ends of the axis are joined.
  bool ring(int axis) const { return pde_.periodic(axis) && !grid_.cut(axis, false); }
  const Ghost* frame_ghosts(const Ghosts& ghosts, int frame) const {
    return ghosts.data() + static_cast<size_t>(frame) * ghost_slots_ * unknowns_;
  }
  Ghost ghost(const Face& face, int unknown, const Place& at, double t) const;
  /// All ghosts of a read as one.
  Ghost composed(const Ghost* ghosts, const FaceCell& from, int unknown) const;
  double read(const Ghost* ghosts, const double* u, const FaceCell& from, int unknown) const;
  int flux_arguments() const { return kernels::flux_arguments(grid_.axes(), unknowns_); }
  [[noreturn]] void report_not_finite(const char* term, const kernels::TermValues& values,
                                      const kernels::TermPoints& points) const;
  void check_finite(const char* term, const kernels::TermValues& values,
                    const kernels::TermPoints& points) const;

  const Pde& pde_;
  Grid grid_;
  ConvectiveFlux convective_;
  int unknowns_;
  SchemeParameters parameters_;
  std::shared_ptr<const kernels::StencilLayout> layout_;
  int ghost_slots_ = 0;
  std::array<std::array<int, 2>, max_space_axes> first_slot_{};  // [axis][side]
  std::vector<double> places_;                                   // of cells, as in TermPoints: [row][cell]
  std::vector<AxisFaces> faces_;  // [axis], then in the same way what upwinding reads
};

class SchemePoint;

/// On a part of a grid the cells beside a cut are held: their residual is 0, and the march leaves them as they
/// are, so that errors end there.
class ConservativeScheme {
 public:
  /// `times`: frames + 1 rising times, the initial one included. The first `implicit_steps` steps are
  /// backward Euler, the others have implicit weight `theta` (1/2: trapezoid).
  ConservativeScheme(const Pde& pde, const Grid& grid, std::vector<double> times, double theta,
                     int implicit_steps, SchemeParameters parameters);

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
  const std::vector<int>& held() const { return held_; }
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

  /// field [frame][cell][unknown][column] <- 0 in held cells.
  void clear_held(std::span<double> field, int columns = 1) const;
  /// The rows of held cells become those of the identity, or of 0 for `diagonal` 0.
  void hold(kernels::StencilFrames& matrices, double diagonal) const;

  /// `theta`: of each step.
  ConservativeScheme(SpatialOperator space, std::vector<double> times, std::vector<double> theta);

  SpatialOperator space_;
  std::vector<double> times_, theta_;
  double scale_;
  SpatialOperator::Ghosts ghosts_;
  std::vector<LinearFlux> linear_;  // one or none
  std::vector<int> held_;
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
  /// The march of r'(u): A_j on frame j, B_j on frame j - 1 (with the sign of MarchMatrices). In held cells
  /// it is the identity, where r' is 0.
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
