// The frozen linear march P: an implicit time stepper linearised at a chosen state, factored once, applied to
// many right-hand sides. |P^-1 r| measures the error that belongs to a residual r instead of the residual
// itself.
#pragma once

#include <memory>
#include <span>
#include <vector>

namespace rankine {

/// One tridiagonal matrix per frame. Row i of frame j is
///   lower[j * cells + i] x_{i-1} + diagonal[j * cells + i] x_i + upper[j * cells + i] x_{i+1};
/// the first `lower` and the last `upper` of a frame are ignored.
struct TridiagonalFrames {
  int frames = 0, cells = 0;
  std::vector<double> lower, diagonal, upper;  ///< frames * cells each

  TridiagonalFrames() = default;
  /// All zero.
  TridiagonalFrames(int frames_, int cells_)
      : frames(frames_),
        cells(cells_),
        lower(static_cast<size_t>(frames_) * cells_),
        diagonal(lower.size()),
        upper(lower.size()) {}
};

/// Finds frames with equal matrices: returns the first frame of each distinct matrix and sets, per frame, the
/// number of its matrix. Uniform time steps have one, which is then factored once.
std::vector<int> distinct_matrices(const TridiagonalFrames& bands, std::vector<int>& matrix_of_frame);

/// A_j e_j - B_j e_{j-1} = r_j for j = 0 .. frames - 1, where e_{-1} = 0 (the known initial frame is not one
/// of them, so B_0 is never read).
struct MarchMatrices {
  TridiagonalFrames implicit;  ///< A
  TridiagonalFrames previous;  ///< B; may be empty when `history` is false
  bool history = true;         ///< false: only the spatial factor, e_j = A_j^-1 r_j
};

/// P^-1 and its exact adjoint. Fields are [frame][cell][column], the column fastest. Immutable after
/// construction. Source of the idea: rows and loss in the dual norm, the residual weighed with the inverse of
/// the linearised problem.
class LinearMarch {
 public:
  virtual ~LinearMarch() = default;
  LinearMarch(const LinearMarch&) = delete;
  LinearMarch& operator=(const LinearMarch&) = delete;

  int frames() const { return frames_; }
  int cells() const { return cells_; }
  bool history() const { return history_; }

  /// error = P^-1 residual, for `columns` right-hand sides. Both hold frames * cells * columns numbers and
  /// may be the same memory. Throws NumericalError where an iterative solver (options prefix `march_`) does
  /// not converge.
  void apply(std::span<const double> residual, std::span<double> error, int columns = 1) const;
  /// error = P^-T residual: the same march backward in time with transposed matrices.
  void apply_transpose(std::span<const double> residual, std::span<double> error, int columns = 1) const;

 protected:
  explicit LinearMarch(const MarchMatrices& matrices);

 private:
  virtual void solve(const double* rhs, double* solution, int columns, bool transposed) const = 0;

  int frames_, cells_;
  bool history_;
};

/// Factorisation without pivoting in our own kernel, vectorised over the columns; the bits of a column do not
/// depend on the number of columns. For diagonally dominant matrices; throws NumericalError naming frame and
/// cell of a pivot that vanishes.
std::unique_ptr<LinearMarch> make_banded_march(const MarchMatrices& matrices);

/// A PETSc KSP per distinct matrix, on PETSC_COMM_SELF: a direct LU unless options with the prefix `march_`
/// say else, for example `-march_ksp_type gmres -march_pc_type ilu -march_ksp_monitor`. Needs a PetscSession.
std::unique_ptr<LinearMarch> make_petsc_march(const MarchMatrices& matrices);

}  // namespace rankine
