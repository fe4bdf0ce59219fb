// The march of an implicit time stepper with tridiagonal matrices, frame by frame, for many right-hand sides
// at once.
//   forward     A_j e_j = r_j + B_j e_{j-1},             j = 0 .. J-1, e_{-1} = 0
//   transposed  A_j^T l_j = s_j + B_{j+1}^T l_{j+1},     j = J-1 .. 0, l_J = 0
// so that <forward(r), s> = <r, transposed(s)>. Without history B is left out and the frames are independent.
// A_j = L D V is factored without pivoting (L unit lower, V unit upper), which is stable for the diagonally
// dominant matrices of an implicit diffusion step. Fields are [frame][cell][column], the column fastest:
// neighbouring columns are the lanes of one vector (CPU) or neighbouring threads (GPU). Each column is
// computed by the same operations whatever columns stand beside it, so its bits do not depend on how a batch
// is cut.
#pragma once

#include <Kokkos_Core.hpp>

#include "kernels/column_lanes.hpp"

namespace rankine::kernels {

/// Tridiagonal matrices (matrix, cell); row i is lower(i) x_{i-1} + diagonal(i) x_i + upper(i) x_{i+1}, and
/// lower(., 0) and upper(., cells - 1) are zero.
template <class T, class Space = Kokkos::DefaultExecutionSpace>
struct TridiagonalBands {
  using View = Kokkos::View<T**, Kokkos::LayoutRight, typename Space::memory_space>;
  View lower, diagonal, upper;
};

/// A_j = (I + down) D (I + up) per distinct matrix (matrix, cell), in the form that a solve
/// sweeps through: down with `down`, up with `up`. For A^T the two change places, shifted by one cell.
template <class T, class Space = Kokkos::DefaultExecutionSpace>
struct TridiagonalFactors {
  using View = typename TridiagonalBands<T, Space>::View;
  View down;              ///< down(i) multiplies the intermediate of cell i - 1; down(0) = 0
  View inverse_diagonal;  ///< 1 / D
  View up;                ///< up(i) multiplies the solution at cell i + 1; up(cells - 1) = 0
};

/// One functor for both directions of the march; the two are told apart by their coefficients and the order
/// of frames. Call with the number of a block of `width` columns.
template <class T, class Space, int width>
struct TridiagonalMarchBlock {
  using Field =
      Kokkos::View<T***, Kokkos::LayoutRight, typename Space::memory_space, Kokkos::MemoryUnmanaged>;
  using ConstField =
      Kokkos::View<const T***, Kokkos::LayoutRight, typename Space::memory_space, Kokkos::MemoryUnmanaged>;
  using Index = Kokkos::View<int*, typename Space::memory_space>;

  TridiagonalFactors<T, Space> factors;
  TridiagonalBands<T, Space> history;  // rows of B (or of B^T)
  Index factor_of_frame, history_of_frame;
  bool with_history, backward;
  ConstField rhs;  // (frame, cell, column)
  Field solution;  // the same shape; may be the same memory
  int first_column;

  KOKKOS_FUNCTION void operator()(int block) const {
    const int frames = rhs.extent_int(0);
    const int cells = rhs.extent_int(1);
    const int column = first_column + block * width;
    for (int step = 0; step < frames; ++step) {
      const int frame = backward ? frames - 1 - step : step;
      const int factor = factor_of_frame(frame);
      const T* r = &rhs(frame, 0, column);
      T* e = &solution(frame, 0, column);
      const T* down = &factors.down(factor, 0);
      const T* inverse_diagonal = &factors.inverse_diagonal(factor, 0);
      if (step == 0 || !with_history) {
        sweep_down(r, e, down, inverse_diagonal, cells);
      } else {
        const int previous = backward ? frame + 1 : frame - 1;
        // The transposed march couples frame j to j + 1 through B_{j+1}.
        const int matrix = history_of_frame(backward ? previous : frame);
        sweep_down(r, e, down, inverse_diagonal, cells, &solution(previous, 0, column),
                   &history.lower(matrix, 0), &history.diagonal(matrix, 0), &history.upper(matrix, 0));
      }
      sweep_up(e, &factors.up(factor, 0), cells);
    }
  }

 private:
  using Lanes = ColumnLanes<T, width>;

  // z_i = r_i - down_i z_{i-1}, stored as e_i = z_i / D_i
  KOKKOS_FORCEINLINE_FUNCTION void sweep_down(const T* r, T* e, const T* down, const T* inverse_diagonal,
                                              int cells) const {
    const long stride = rhs.extent_int(2);
    Lanes z{};
    for (int i = 0; i < cells; ++i, r += stride, e += stride) {
      z = multiply_add(-down[i], z, Lanes::load(r));
      (inverse_diagonal[i] * z).store(e);
    }
  }

  // z_i = r_i + (B p)_i - down_i z_{i-1}, stored as e_i = z_i / D_i
  KOKKOS_FORCEINLINE_FUNCTION void sweep_down(const T* r, T* e, const T* down, const T* inverse_diagonal,
                                              int cells, const T* p, const T* lower, const T* diagonal,
                                              const T* upper) const {
    const long stride = rhs.extent_int(2);
    Lanes z{};
    for (int i = 0; i < cells; ++i, r += stride, e += stride, p += stride) {
      // Beyond the ends the coefficient is zero and any finite value will do.
      const T* left = i > 0 ? p - stride : p;
      const T* right = i + 1 < cells ? p + stride : p;
      Lanes s = multiply_add(diagonal[i], Lanes::load(p), Lanes::load(r));
      s = multiply_add(lower[i], Lanes::load(left), s);
      s = multiply_add(upper[i], Lanes::load(right), s);
      z = multiply_add(-down[i], z, s);
      (inverse_diagonal[i] * z).store(e);
    }
  }

  // e_i = z_i / D_i - up_i e_{i+1}
  KOKKOS_FORCEINLINE_FUNCTION void sweep_up(T* e, const T* up, int cells) const {
    const long stride = rhs.extent_int(2);
    Lanes x{};
    e += (cells - 1) * stride;
    for (int i = cells - 1; i >= 0; --i, e -= stride) {
      x = multiply_add(-up[i], x, Lanes::load(e));
      x.store(e);
    }
  }
};

/// Matrices, factors and frame tables of a march and of its transpose.
template <class T, class Space = Kokkos::DefaultExecutionSpace>
struct TridiagonalMarch {
  TridiagonalFactors<T, Space> factors, transposed_factors;
  TridiagonalBands<T, Space> history, transposed_history;
  Kokkos::View<int*, typename Space::memory_space> factor_of_frame, history_of_frame;  ///< frame -> matrix
  bool with_history = true;
};

namespace detail {

template <int width, class T, class Space>
int march_blocks(const TridiagonalMarch<T, Space>& march, bool transposed, const T* rhs, T* solution,
                 int frames, int cells, int columns, int first_column) {
  const int blocks = (columns - first_column) / width;
  if (blocks > 0) {
    using Block = TridiagonalMarchBlock<T, Space, width>;
    const Block block{transposed ? march.transposed_factors : march.factors,
                      transposed ? march.transposed_history : march.history,
                      march.factor_of_frame,
                      march.history_of_frame,
                      march.with_history,
                      transposed,
                      typename Block::ConstField(rhs, frames, cells, columns),
                      typename Block::Field(solution, frames, cells, columns),
                      first_column};
    Kokkos::parallel_for("rankine::tridiagonal_march", Kokkos::RangePolicy<Space>(0, blocks), block);
  }
  return first_column + blocks * width;
}

template <class T, class Space>
void march_all(const TridiagonalMarch<T, Space>& march, bool transposed, const T* rhs, T* solution,
               int frames, int cells, int columns) {
  // A processor wants several vectors in flight to hide the latency of the recurrence; a GPU wants one thread
  // a column.
  constexpr bool on_host =
      Kokkos::SpaceAccessibility<typename Space::memory_space, Kokkos::HostSpace>::accessible;
  int column = 0;
  if constexpr (on_host) {
    column = march_blocks<8>(march, transposed, rhs, solution, frames, cells, columns, column);
    column = march_blocks<4>(march, transposed, rhs, solution, frames, cells, columns, column);
  }
  march_blocks<1>(march, transposed, rhs, solution, frames, cells, columns, column);
}

}  // namespace detail

/// solution = P^-1 rhs; both are [frame][cell][column] in the memory space of `Space`, and may be the same
/// memory.
template <class T, class Space>
void tridiagonal_march_forward(const TridiagonalMarch<T, Space>& march, const T* rhs, T* solution, int frames,
                               int cells, int columns) {
  detail::march_all(march, false, rhs, solution, frames, cells, columns);
}

/// solution = P^-T rhs, the exact adjoint of tridiagonal_march_forward().
template <class T, class Space>
void tridiagonal_march_backward(const TridiagonalMarch<T, Space>& march, const T* rhs, T* solution,
                                int frames, int cells, int columns) {
  detail::march_all(march, true, rhs, solution, frames, cells, columns);
}

}  // namespace rankine::kernels
