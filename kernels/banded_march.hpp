// The march of an implicit time stepper (kernels/tridiagonal_march.hpp) for stencils of any reach, several
// unknowns per cell and periodic domains: banded LU factors with partial pivoting. Host memory.
#pragma once

#include <vector>

#include "kernels/stencil_frames.hpp"

namespace rankine::kernels {

/// P^-1 and P^-T. A ring is folded into a band: with its cells in the order 0, n-1, 1, n-2, ... neighbours at
/// distance s stand within 2 s places.
class BandedMarch {
 public:
  /// A_j e_j - B_j e_{j-1} = r_j. Frame j has the matrix factor_of_frame[j], which is that of the frame
  /// `firsts[factor_of_frame[j]]` of `implicit`; `history` (B, kept) may be empty: no history. Throws
  /// NumericalError that names frame and cell of a pivot that vanishes.
  BandedMarch(const StencilFrames& implicit, const std::vector<int>& firsts, std::vector<int> factor_of_frame,
              StencilFrames history);

  /// `rhs` and `solution` are [frame][cell][unknown][column] and may be the same memory. The bits of a column
  /// do not depend on the number of columns.
  void solve(const double* rhs, double* solution, int columns, bool transposed) const;
  /// A_frame^-1 or A_frame^-T alone, for fields [cell][unknown][column].
  void solve_frame(int frame, const double* rhs, double* solution, int columns, bool transposed) const;

 private:
  void solve(int first_frame, int frames, const double* rhs, double* solution, int columns,
             bool transposed) const;
  template <int lanes>
  int solve_blocks(int first_frame, int frames, const double* rhs, double* solution, int columns,
                   bool transposed, int first_column) const;
  template <bool transposed, int lanes>
  void add_history(const double* previous, int frame, int columns, double* x) const;
  template <int lanes>
  void sweep(int factor, double* x) const;
  template <int lanes>
  void sweep_transposed(int factor, double* x) const;

  void place_cells(const StencilFrames& implicit);
  void factor(const StencilFrames& implicit, const std::vector<int>& firsts);

  int frames_, cells_, unknowns_, rows_;
  int lower_ = 0, upper_ = 0;             // half widths of the band
  std::vector<int> place_;                // cell -> its place in the band
  std::vector<double> factors_;           // [factor][column][2 lower + upper + 1], LAPACK's layout
  std::vector<double> inverse_diagonal_;  // [factor][row]
  std::vector<int> pivots_;               // [factor][row]
  std::vector<int> fill_;  // [factor]: entries of U above its diagonal; no exchange, no fill-in
  std::vector<int> factor_of_frame_;
  StencilFrames history_;
};

}  // namespace rankine::kernels
