// The frozen linear march P: an implicit time stepper linearised at a chosen state, factored once, applied to
// many right-hand sides. |P^-1 r| measures the error that belongs to a residual r instead of the residual
// itself.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/stencil_frames.hpp"

namespace rankine::kernels {
struct TridiagonalMarch;
}

namespace rankine {

/// Finds frames with equal matrices: returns the first frame of each distinct matrix and sets, per frame, the
/// number of its matrix. Uniform time steps have one, which is then factored once.
std::vector<int> distinct_matrices(const kernels::StencilFrames& matrices, std::vector<int>& matrix_of_frame);

/// A_j e_j - B_j e_{j-1} = r_j for j = 0 .. frames - 1, where e_{-1} = 0 (the known initial frame is not one
/// of them, so B_0 is never read).
struct MarchMatrices {
  kernels::StencilFrames implicit;  ///< A
  kernels::StencilFrames previous;  ///< B, of its own reach; may be empty when `history` is false
  bool history = true;              ///< false: only the spatial factor, e_j = A_j^-1 r_j
};

/// out = P b, out_j = A_j b_j - B_j b_{j-1}, for columns [frame][cell][unknown][column]; and out = P^T s.
void apply_march(const MarchMatrices& march, std::span<const double> b, int columns, std::span<double> out);
void apply_march_transpose(const MarchMatrices& march, std::span<const double> s, std::span<double> out);

/// P^-1, or an approximation of it, and its exact adjoint. Fields are [frame][cell][unknown][column], the
/// column fastest. Immutable after construction. Source of the idea: rows and loss in the dual norm, the
/// residual weighed with the inverse of the linearised problem.
class LinearMarch {
 public:
  virtual ~LinearMarch() = default;
  LinearMarch(const LinearMarch&) = delete;
  LinearMarch& operator=(const LinearMarch&) = delete;

  int frames() const { return frames_; }
  int cells() const { return cells_; }
  int unknowns() const { return unknowns_; }
  int width() const { return cells_ * unknowns_; }  ///< numbers in a frame
  bool history() const { return history_; }
  /// False where apply_transpose() is not the adjoint of apply(), so that nothing may be differentiated
  /// through it.
  virtual bool exact() const { return true; }
  /// Its tridiagonal factors; nullptr where it is solved in another way.
  virtual const kernels::TridiagonalMarch* tridiagonal() const { return nullptr; }

  /// error = P^-1 residual, for `columns` right-hand sides. Both hold frames * width * columns numbers and
  /// may be the same memory. Throws NumericalError where an iterative solver (options prefix `march_`) does
  /// not converge.
  void apply(std::span<const double> residual, std::span<double> error, int columns = 1) const;
  /// error = P^-T residual: the same march backward in time with transposed matrices.
  void apply_transpose(std::span<const double> residual, std::span<double> error, int columns = 1) const;

 protected:
  /// Asserts that the shapes of the matrices agree.
  explicit LinearMarch(const MarchMatrices& matrices);
  LinearMarch(int frames, int cells, int unknowns, bool history);

 private:
  virtual void solve(const double* rhs, double* solution, int columns, bool transposed) const = 0;

  void check_fields(std::span<const double> residual, std::span<double> error, int columns) const;

  int frames_, cells_, unknowns_;
  bool history_;
};

/// LU factors in our own kernels, vectorised over the columns; the bits of a column do not depend on the
/// number of columns. Tridiagonal matrices (one unknown, reach 1, walls) whose rows are dominated by their
/// diagonals are factored without pivoting, all others as band matrices with partial pivoting. Throws
/// NumericalError naming frame and cell of a pivot that vanishes.
std::unique_ptr<LinearMarch> make_direct_march(MarchMatrices matrices);

/// A PETSc KSP per distinct matrix, on PETSC_COMM_SELF: a direct LU unless options with the prefix `march_`
/// say else, for example `-march_ksp_type gmres -march_pc_type ilu -march_ksp_monitor`. Needs a PetscSession.
std::unique_ptr<LinearMarch> make_petsc_march(MarchMatrices matrices);

/// The linearised equation d/dt (S e) = (K + N) e in the parts that an IMEX scheme treats apart. J + 1 frames
/// each: frame 0 is the initial one, whose error is 0 but whose matrices count.
struct SplitMatrices {
  kernels::StencilFrames slope;   ///< S, reach 0, invertible blocks
  kernels::StencilFrames stiff;   ///< K, implicit: the diffusion
  kernels::StencilFrames gentle;  ///< N, explicit: the rest
  std::vector<double> dt;         ///< [J]
  /// [J]: where in its step a residual acts, at t_j - theta dt, as in a scheme of that implicit weight (1:
  /// backward Euler, 1/2: trapezoid).
  std::vector<double> theta;
  int substeps = 2;  ///< per step; a substep must be short enough for Heun's method with N
};

/// An approximate P^-1 and its exact adjoint, without a solve that involves N. Each substep takes N by Heun's
/// method and then K by backward Euler, matrices between frames interpolated linearly: of first order in
/// time. With N = 0, theta = 1 and one substep it is the march of backward Euler. Throws NumericalError where
/// the march overflows or a matrix is singular.
std::unique_ptr<LinearMarch> make_imex_march(const SplitMatrices& matrices);

struct GmresOptions {
  double rtol = 1e-12;  ///< of the preconditioned residual
  int max_iterations =
      0;  ///< end after so many, converged or not; 0: a solve that does not converge is an error
};

/// P^-1 by GMRES over all frames at once (PETSc, options prefix `march_`), which needs products with A and B
/// and `preconditioner`, an approximation of P^-1 with its adjoint. With `max_iterations` neither linear in
/// the residual nor adjoint to its transpose: then exact() is false. Needs a PetscSession.
std::unique_ptr<LinearMarch> make_gmres_march(MarchMatrices matrices,
                                              std::shared_ptr<const LinearMarch> preconditioner,
                                              const GmresOptions& options = {});

}  // namespace rankine
