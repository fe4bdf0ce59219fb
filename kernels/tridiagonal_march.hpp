// The march of an implicit time stepper with tridiagonal matrices, frame by frame, for many right-hand sides
// at once.
//   forward     A_j e_j = r_j + B_j e_{j-1},             j = 0 .. J-1, e_{-1} = 0
//   transposed  A_j^T l_j = s_j + B_{j+1}^T l_{j+1},     j = J-1 .. 0, l_J = 0
// so that <forward(r), s> = <r, transposed(s)>. Without history B is left out and the frames are independent.
// A_j = L D V is factored without pivoting (L unit lower, V unit upper), which is stable for the diagonally
// dominant matrices of an implicit diffusion step. Fields are [frame][cell][column], the column fastest:
// neighbouring columns are the lanes of one vector. Each column is computed by the same operations whatever
// columns stand beside it, so its bits do not depend on how a batch is cut.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// Tridiagonal matrices [matrix][cell]; row i is lower[i] x_{i-1} + diagonal[i] x_i + upper[i] x_{i+1}, and
/// lower[0] and upper[cells - 1] of each matrix are zero.
struct TridiagonalBands {
  std::vector<double> lower, diagonal, upper;
  void resize(int matrices, int cells);
};

/// A_j = (I + down) D (I + up) per distinct matrix [matrix][cell], in the form that a solve sweeps through:
/// down with `down`, up with `up`. For A^T the two change places, shifted by one cell.
struct TridiagonalFactors {
  std::vector<double> down;              ///< down[i] multiplies the intermediate of cell i - 1; down[0] = 0
  std::vector<double> inverse_diagonal;  ///< 1 / D
  std::vector<double> up;                ///< up[i] multiplies the solution at cell i + 1; the last is 0
  void resize(int matrices, int cells);
};

/// Matrices, factors and frame tables of a march and of its transpose.
struct TridiagonalMarch {
  int cells = 0;
  TridiagonalFactors factors, transposed_factors;
  TridiagonalBands history, transposed_history;
  std::vector<std::int32_t> factor_of_frame, history_of_frame;  ///< frame -> matrix
  bool with_history = true;
};

/// solution = P^-1 rhs, or P^-T rhs, its exact adjoint. Both fields are [frame][cell][column] and may be the
/// same memory, on the host.
void tridiagonal_march(const TridiagonalMarch& march, bool transposed, const double* rhs, double* solution,
                       int frames, int columns);

/// The same in device memory, for one direction: factors and history are those of the transposed march where
/// it goes backward.
struct TridiagonalMarchOnDevice {
  int frames = 0, cells = 0;
  bool with_history = true, backward = false;
  DevicePtr<const double> down, inverse_diagonal, up;  ///< [matrix][cell]
  DevicePtr<const double> lower, diagonal, upper;
  DevicePtr<const std::int32_t> factor_of_frame, history_of_frame;
};
void tridiagonal_march(const TridiagonalMarchOnDevice& march, int columns, DevicePtr<const double> rhs,
                       DevicePtr<double> solution);

}  // namespace rankine::kernels
