// The constraint of the default formulation on one sample, whole domain: the conservative residual of a PDE
// on a space-time grid, weighed by the march P, and the least-squares problem that one expert solves in a
// basis of fields.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solvers/least_squares.hpp"
#include "solvers/linear_march.hpp"
#include "src/data/observations.hpp"
#include "src/deck/options.hpp"
#include "src/experts/discrete_problem.hpp"
#include "src/pde/conservative_scheme.hpp"

namespace rankine {

/// In which norm a residual is measured: |r|, |A^-1 r| with the spatial factor of the march alone, or |P^-1
/// r|, which measures the error itself.
enum class Weighting { plain, spatial, dual };

/// A box of frames [frame_begin, frame_end) (0 is the first frame after the initial state) and of cells
/// [begin, end) along each axis; beyond the axes of the grid [0, 1).
struct Box {
  int frame_begin, frame_end;
  std::array<int, max_space_axes> begin{0, 0, 0}, end{1, 1, 1};
};

/// How the march P is linearised and solved.
struct MarchOptions {
  std::string method = "direct";
  std::string state = "frozen";
  int substeps = 2;
  int gmres_iterations = 0;
  double gmres_rtol = 1e-12;
  void options(OptionVisitor& o);
  bool frozen() const { return state == "frozen"; }
  /// One march over all ranks. Whole samples, as evaluations have them, are solved directly.
  bool over_ranks() const { return method == "distributed" || method == "tiles"; }
  /// GMRES is cut off: no linear map, and no gradient may flow through it.
  bool truncated() const { return method == "gmres" && gmres_iterations > 0; }
};

/// The PDE of one sample in finite volumes.
class StorageProblem final : public DiscreteProblem {
 public:
  int frames() const override { return scheme_->frames(); }
  int cells() const { return scheme_->cells(); }
  int unknowns() const { return scheme_->unknowns(); }
  int width() const override { return scheme_->width(); }
  long points() const override { return scheme_->points(); }
  const ConservativeScheme& scheme() const { return *scheme_; }
  std::shared_ptr<const ConservativeScheme> shared_scheme() const { return scheme_; }
  const std::vector<double>& initial() const { return initial_; }
  const MarchOptions& march_options() const { return options_; }

  /// The initial state, then `later` [frames][width].
  std::vector<double> whole(std::span<const double> later) const;
  SchemePoint at(std::vector<double> u) const { return SchemePoint(*scheme_, std::move(u)); }
  std::vector<double> evaluate(std::span<const double> u) const override;

  /// field <- Q field for the weighting's Q (identity, A^-1, P^-1), for columns [frames][width][columns].
  void weigh(Weighting weighting, std::span<double> field, int columns) const;
  void weigh_transpose(Weighting weighting, std::span<double> field) const;
  /// What weigh() solves; nullptr for the identity.
  const LinearMarch* weight(Weighting weighting) const;
  /// The linearised residual that belongs to the march P.
  const MarchMatrices& march_matrices() const { return march().matrices; }
  /// P linearised at the state of `point`, solved as the options say. `state`: frozen gives the frozen march.
  std::shared_ptr<const LinearMarch> march_at(SchemePoint& point) const;

  /// |Q r(u)|_2; where `u_bar` is not empty it is overwritten with the gradient ([frames][width]; the initial
  /// frame is data), and `parameters_bar` [learned] with the one by the learned parameters.
  double residual_norm(Weighting weighting, std::span<const double> u, std::span<double> u_bar,
                       std::span<double> parameters_bar = {}) const;
  /// correct() for exactly `steps` steps, and its exact derivative: `states` takes u before each step, which
  /// correct_transpose() reads. There `u_bar` [frames][width] is pulled back in place.
  void correct_steps(std::vector<double>& u, const CorrectionOptions& options,
                     std::vector<std::vector<double>>& states) const;
  void correct_transpose(const std::vector<std::vector<double>>& states, const CorrectionOptions& options,
                         std::span<double> u_bar, std::span<double> parameters_bar) const;

  /// Newton's method frame by frame from the initial state; where it does not converge, damped and with
  /// continuation in the length of the time step. NumericalError, with the frame, where that loses the solution.
  std::vector<double> solve_frames(int frames) const override;
  /// Q of the residual of the linear problem of the march at u = (initial, 0, 0, ...), negated: what the
  /// linear start fits, [frames][width]. In the dual norm it is that problem's solution.
  std::vector<double> linear_target(Weighting weighting) const;

 private:
  friend class StorageModel;
  std::vector<double> error_of(const std::vector<double>& u, std::vector<double> r,
                               const CorrectionOptions& options) const override;
  struct March {
    MarchMatrices matrices;
    std::shared_ptr<const LinearMarch> spatial, dual;
  };
  static std::shared_ptr<const March> make_march(MarchMatrices matrices, const MarchOptions& options);
  /// The frozen march of samples of equal parameters, made when it is first needed: with P at the prediction
  /// it may never be.
  struct FrozenMarch {
    std::shared_ptr<const March> made;
  };
  const March& frozen() const;
  const March& march() const { return march_ ? *march_ : frozen(); }
  /// The exact discrete solution in frame `j` + 1 from that in frame `j`.
  std::vector<double> solve_step(int j, std::span<const double> old) const;
  struct NewtonOptions {
    int steps;            ///< at most
    bool damped = false;  ///< with a line search on the residual
    bool loose = false;   ///< to 1e-8 instead of to rounding: the start of another solve
  };
  /// Newton's method for the second frame of `pair` [2][width]. Returns whether it converged.
  static bool solve_newton(const ConservativeScheme& step, std::vector<double>& pair,
                           const NewtonOptions& options);
  /// The largest part of a Newton step, by halving, at which |r| falls below `size`; if none does, the one at
  /// which it is least.
  static double step_length(const ConservativeScheme& step, std::span<const double> pair,
                            std::span<const double> direction, double size);
  /// <s, dQ^-1/dp v> of the weighting's Q for each learned parameter, the state of P held fixed.
  std::vector<double> march_gradient(Weighting weighting, SchemePoint& at, std::span<const double> s,
                                     std::span<const double> v) const;
  friend class StorageExpert;
  std::vector<double> linearisation_state() const;
  std::vector<double> linear_residual() const;

  std::shared_ptr<const ConservativeScheme> scheme_;
  std::vector<double> initial_;
  MarchOptions options_;
  std::shared_ptr<FrozenMarch> frozen_;
  std::shared_ptr<const March> march_;  // null: the frozen one
};

/// What all samples of a PDE share: grid, time levels, march. Makes their problems.
class StorageModel {
 public:
  StorageModel(const Pde& pde, Grid grid, std::vector<double> times, double theta, int implicit_steps,
               MarchOptions march);

  const Pde& pde() const { return pde_; }
  int frames() const { return static_cast<int>(times_.size()) - 1; }
  const Grid& grid() const { return grid_; }
  int cells() const { return grid_.cells(); }
  int unknowns() const { return pde_.unknowns(); }
  int width() const { return cells() * unknowns(); }
  long points() const { return static_cast<long>(frames()) * width(); }
  const std::vector<double>& times() const { return times_; }
  const MarchOptions& march_options() const { return march_; }

  /// The same on a part of the grid.
  StorageModel on(Grid part) const {
    return {pde_, std::move(part), times_, theta_, implicit_steps_, march_};
  }
  /// The problem of a sample: `initial` [cell][unknown], parameters of the PDE. The scheme and the frozen
  /// march are shared between samples of equal parameters.
  StorageProblem sample(std::vector<double> initial, SchemeParameters parameters = {}) const;

 private:
  const Pde& pde_;
  Grid grid_;
  std::vector<double> times_;
  double theta_;
  int implicit_steps_;
  MarchOptions march_;
  mutable StorageProblem latest_;  // of the parameters used last
  mutable bool used_ = false;
};

/// Observations that an expert fits beside its residual rows: rows weight (H u - d) / sigma.
struct ObservedRows {
  const ObservationRows* all = nullptr;  ///< none
  double weight = 0;
};

/// rho(w) = [rows of Q r(sum_i w_i b_i); observation rows; ridge w]: the problem of one expert.
class StorageExpert final : public LeastSquaresProblem {
 public:
  /// `basis`: [frames][width][columns], kept by reference; `rows`: indices frame * width + cell * unknowns +
  /// unknown of the residual rows used.
  /// `observed`: which of `observations` are rows of this expert.
  StorageExpert(const StorageProblem& problem, std::span<const double> basis, int columns,
                std::vector<long> rows, Weighting weighting, double ridge, ObservedRows observations = {},
                std::vector<int> observed = {});

  int unknowns() const override { return columns_; }
  long rows() const override {
    return static_cast<long>(rows_.size() + observed_.size()) + (ridge_ > 0 ? columns_ : 0);
  }
  void residual(std::span<const double> w, std::span<double> rho) override;
  void linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) override;
  void add_curvature(std::span<double> hessian) override;

  /// The solution of the linear problem of the march, Jacobi-scaled normal equations with relative damping.
  /// `target`: StorageProblem::linear_target() of the expert's weighting.
  void linear_start(std::span<const double> target, double damping, std::span<double> w) const;

  /// With v = sum_i lambda_i b_i, phi(b) = lambda . J^T rho at fixed w and lambda has the gradient
  ///   d phi / d b_i = w_i * by_solution + lambda_i * by_direction     (both [frames][width], overwritten).
  /// `by_parameter` [learned], where not empty, is overwritten with d phi / dp.
  void stationarity_gradient(std::span<const double> w, std::span<const double> lambda,
                             std::span<double> by_solution, std::span<double> by_direction,
                             std::span<double> by_parameter = {});

 private:
  void set_point(std::span<const double> w, int order);
  std::vector<double> combine(std::span<const double> w) const;
  /// Q^T S^T S Q r at the point.
  std::vector<double> pulled_back_residual() const;
  /// Rows of the observations without the data, weight H v / sigma, of columns [frames][width][columns].
  std::vector<double> observe(std::span<const double> v, int columns) const;
  /// out += the transpose of observe() applied to r.
  void add_observed(std::span<const double> r, std::span<double> out) const;

  const StorageProblem& problem_;
  std::span<const double> basis_;
  int columns_;
  std::vector<long> rows_;
  Weighting weighting_;
  double ridge_;
  ObservedRows observations_;
  std::vector<int> observed_;
  std::vector<double> offset_;        // of the observation rows at u = 0 after the initial frame
  std::vector<double> at_, weighed_;  // the latest point and Q r there
  std::unique_ptr<SchemePoint> point_;
};

/// Rows of a box, in order.
std::vector<long> rows_of(const Box& box, const Grid& grid, int unknowns);
/// Equal boxes, so many along t and along each axis, numbered along the last axis first. `parts` must divide
/// frames and cells.
std::vector<Box> equal_boxes(int frames, const Grid& grid, std::span<const int> parts);

}  // namespace rankine
