// The march of an implicit time stepper with tridiagonal matrices, frame by frame, for many right-hand sides at once.
//   forward     A_j e_j = r_j + B_j e_{j-1},             j = 0 .. J-1, e_{-1} = 0
//   transposed  A_j^T l_j = s_j + B_{j+1}^T l_{j+1},     j = J-1 .. 0, l_J = 0
// so that <forward(r), s> = <r, transposed(s)>. Without history B is left out and the frames are independent.
// A_j = L D V is factored without pivoting (L unit lower, V unit upper), which is stable for the diagonally dominant
// matrices of an implicit diffusion step.
// Fields are [frame][cell][column], the column fastest: neighbouring columns are the lanes of one vector (CPU) or
// neighbouring threads (GPU). Each column is computed by the same operations whatever columns stand beside it, so its bits
// do not depend on how a batch is cut.
#pragma once

#include <Kokkos_Core.hpp>
#include <cmath>

namespace rankine::kernels {

/// a * b + c, rounded once where the processor can do that and twice elsewhere, but never left to the optimiser's choice:
/// the vector body and the remainder of a loop must give the same bits.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T multiply_add(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  using std::fma;
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// Tridiagonal matrices (matrix, cell); row i is lower(i) x_{i-1} + diagonal(i) x_i + upper(i) x_{i+1}. lower(., 0) and
/// upper(., cells - 1) are never read.
template <class T, class Space = Kokkos::DefaultExecutionSpace>
struct TridiagonalBands {
  using View = Kokkos::View<T**, Kokkos::LayoutRight, typename Space::memory_space>;
  View lower, diagonal, upper;
};

/// A_j = (I + lower) diag(1 / inverse_diagonal) (I + upper) per distinct matrix (matrix, cell), in the form that a solve
/// sweeps through: down with `down`, up with `up`. For A^T the two change places, shifted by one cell.
template <class T, class Space = Kokkos::DefaultExecutionSpace>
struct TridiagonalFactors {
  using View = typename TridiagonalBands<T, Space>::View;
  View down;              ///< down(i) multiplies the intermediate of cell i - 1; down(0) = 0
  View inverse_diagonal;  ///< 1 / D
  View up;                ///< up(i) multiplies the solution at cell i + 1; up(cells - 1) = 0
};

/// One functor for both directions of the march; the two are told apart by their coefficients and the order of frames.
/// Call with the number of a block of `width` columns.
template <class T, class Space, int width>
struct TridiagonalMarchBlock {
  using Field = Kokkos::View<T***, Kokkos::LayoutRight, typename Space::memory_space, Kokkos::MemoryUnmanaged>;
  using ConstField = Kokkos::View<const T***, Kokkos::LayoutRight, typename Space::memory_space, Kokkos::MemoryUnmanaged>;
  using Index = Kokkos::View<int*, typename Space::memory_space>;

  TridiagonalFactors<T, Space> factors;
  TridiagonalBands<T, Space> history;  // rows of B (or of B^T)
  Index factor_of_frame, history_of_frame;
  bool with_history, backward;
  ConstField rhs;     // (frame, cell, column)
  Field solution;     // the same shape; may be the same memory
  int first_column;

  KOKKOS_FUNCTION void operator()(int block) const {
    const int frames = rhs.extent_int(0);
    const int cells = rhs.extent_int(1);
    const int column = first_column + block * width;
    for (int step = 0; step < frames; ++step) {
      const int frame = backward ? frames - 1 - step : step;
      T z[width];
      for (int c = 0; c < width; ++c) z[c] = T(0);
      if (step == 0 || !with_history) {
        sweep_down<false>(frame, frame, column, cells, z);
      } else {
        sweep_down<true>(frame, backward ? frame + 1 : frame - 1, column, cells, z);
      }
      sweep_up(frame, column, cells);
    }
  }

 private:
  // z_i = rhs_i + (B e_previous)_i - down_i z_{i-1}
  template <bool with_previous>
  KOKKOS_FORCEINLINE_FUNCTION void sweep_down(int frame, int previous, int column, int cells, T* z) const {
    const int factor = factor_of_frame(frame);
    // The transposed march couples frame j to j + 1 through B_{j+1}.
    const int matrix = with_previous ? history_of_frame(backward ? previous : frame) : 0;
    const int last = cells - 1;
    for (int i = 0; i < cells; ++i) {
      const T* r = &rhs(frame, i, column);
      T s[width];
      for (int c = 0; c < width; ++c) s[c] = r[c];
      if constexpr (with_previous) {
        const T* here = &solution(previous, i, column);
        const T middle = history.diagonal(matrix, i);
        for (int c = 0; c < width; ++c) s[c] = multiply_add(middle, here[c], s[c]);
        if (i > 0) {
          const T* left = &solution(previous, i - 1, column);
          const T lower = history.lower(matrix, i);
          for (int c = 0; c < width; ++c) s[c] = multiply_add(lower, left[c], s[c]);
        }
        if (i < last) {
          const T* right = &solution(previous, i + 1, column);
          const T upper = history.upper(matrix, i);
          for (int c = 0; c < width; ++c) s[c] = multiply_add(upper, right[c], s[c]);
        }
      }
      const T factor_down = -factors.down(factor, i);
      for (int c = 0; c < width; ++c) z[c] = multiply_add(factor_down, z[c], s[c]);
      T* e = &solution(frame, i, column);
      for (int c = 0; c < width; ++c) e[c] = z[c];
    }
  }

  // e_i = z_i / D_i - up_i e_{i+1}
  KOKKOS_FORCEINLINE_FUNCTION void sweep_up(int frame, int column, int cells) const {
    const int factor = factor_of_frame(frame);
    T x[width];
    for (int c = 0; c < width; ++c) x[c] = T(0);
    for (int i = cells - 1; i >= 0; --i) {
      T* e = &solution(frame, i, column);
      const T inverse = factors.inverse_diagonal(factor, i);
      const T factor_up = -factors.up(factor, i);
      T scaled[width];
      for (int c = 0; c < width; ++c) scaled[c] = inverse * e[c];
      for (int c = 0; c < width; ++c) x[c] = multiply_add(factor_up, x[c], scaled[c]);
      for (int c = 0; c < width; ++c) e[c] = x[c];
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
int march_blocks(const TridiagonalMarch<T, Space>& march, bool transposed, const T* rhs, T* solution, int frames,
                 int cells, int columns, int first_column) {
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
void march_all(const TridiagonalMarch<T, Space>& march, bool transposed, const T* rhs, T* solution, int frames, int cells,
               int columns) {
  // A processor wants several vectors in flight to hide the latency of the recurrence; a GPU wants one thread a column.
  constexpr bool on_host =
      Kokkos::SpaceAccessibility<typename Space::memory_space, Kokkos::HostSpace>::accessible;
  int column = 0;
  if constexpr (on_host) {
    column = march_blocks<16>(march, transposed, rhs, solution, frames, cells, columns, column);
    column = march_blocks<8>(march, transposed, rhs, solution, frames, cells, columns, column);
    column = march_blocks<4>(march, transposed, rhs, solution, frames, cells, columns, column);
  }
  march_blocks<1>(march, transposed, rhs, solution, frames, cells, columns, column);
}

}  // namespace detail

/// solution = P^-1 rhs; both are [frame][cell][column] in the memory space of `Space`, and may be the same memory.
template <class T, class Space>
void tridiagonal_march_forward(const TridiagonalMarch<T, Space>& march, const T* rhs, T* solution, int frames, int cells,
                               int columns) {
  detail::march_all(march, false, rhs, solution, frames, cells, columns);
}

/// solution = P^-T rhs, the exact adjoint of tridiagonal_march_forward().
template <class T, class Space>
void tridiagonal_march_backward(const TridiagonalMarch<T, Space>& march, const T* rhs, T* solution, int frames, int cells,
                                int columns) {
  detail::march_all(march, true, rhs, solution, frames, cells, columns);
}

}  // namespace rankine::kernels
