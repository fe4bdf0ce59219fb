#include "kernels/tridiagonal_march.hpp"

#include <cstdint>

#include "kernels/column_lanes.hpp"
#include "kernels/launch.hpp"

namespace rankine::kernels {
namespace {

/// One functor for both directions of the march; the two are told apart by their coefficients and the order
/// of frames. Call with the number of a block of `width` columns.
template <int width>
struct TridiagonalMarchBlock {
  struct Rows {
    const double *lower, *diagonal, *upper;  // of B or of B^T, [matrix][cell]
  };

  const double *down, *inverse_diagonal, *up;  // [matrix][cell]
  Rows history;
  const int *factor_of_frame, *history_of_frame;
  bool with_history, backward;
  const double* rhs;  // [frame][cell][column]
  double* solution;   // the same shape; may be the same memory
  int frames, cells, columns, first_column;

  void operator()(std::int64_t block) const {
    const std::int64_t frame_size = std::int64_t(cells) * columns;
    const std::int64_t column = first_column + block * width;
    for (int step = 0; step < frames; ++step) {
      const int frame = backward ? frames - 1 - step : step;
      const std::int64_t factor = std::int64_t(factor_of_frame[frame]) * cells;
      const double* r = rhs + frame * frame_size + column;
      double* e = solution + frame * frame_size + column;
      if (step == 0 || !with_history) {
        sweep_down(r, e, down + factor, inverse_diagonal + factor);
      } else {
        const int previous = backward ? frame + 1 : frame - 1;
        // The transposed march couples frame j to j + 1 through B_{j+1}.
        const std::int64_t matrix = std::int64_t(history_of_frame[backward ? previous : frame]) * cells;
        sweep_down(r, e, down + factor, inverse_diagonal + factor, solution + previous * frame_size + column,
                   history.lower + matrix, history.diagonal + matrix, history.upper + matrix);
      }
      sweep_up(e, up + factor);
    }
  }

 private:
  using Lanes = ColumnLanes<double, width>;

  // z_i = r_i - down_i z_{i-1}, stored as e_i = z_i / D_i
  inline __attribute__((always_inline)) void sweep_down(const double* r, double* e, const double* d,
                                                        const double* inverse) const {
    const long stride = columns;
    Lanes z{};
    for (int i = 0; i < cells; ++i, r += stride, e += stride) {
      z = multiply_add(-d[i], z, Lanes::load(r));
      (inverse[i] * z).store(e);
    }
  }

  // z_i = r_i + (B p)_i - down_i z_{i-1}, stored as e_i = z_i / D_i
  inline __attribute__((always_inline)) void sweep_down(const double* r, double* e, const double* d,
                                                        const double* inverse, const double* p,
                                                        const double* lower, const double* diagonal,
                                                        const double* upper) const {
    const long stride = columns;
    Lanes z{};
    for (int i = 0; i < cells; ++i, r += stride, e += stride, p += stride) {
      // Beyond the ends the coefficient is zero and any finite value will do.
      const double* left = i > 0 ? p - stride : p;
      const double* right = i + 1 < cells ? p + stride : p;
      Lanes s = multiply_add(diagonal[i], Lanes::load(p), Lanes::load(r));
      s = multiply_add(lower[i], Lanes::load(left), s);
      s = multiply_add(upper[i], Lanes::load(right), s);
      z = multiply_add(-d[i], z, s);
      (inverse[i] * z).store(e);
    }
  }

  // e_i = z_i / D_i - up_i e_{i+1}
  inline __attribute__((always_inline)) void sweep_up(double* e, const double* u) const {
    const long stride = columns;
    Lanes x{};
    e += (cells - 1) * stride;
    for (int i = cells - 1; i >= 0; --i, e -= stride) {
      x = multiply_add(-u[i], x, Lanes::load(e));
      x.store(e);
    }
  }
};

// A processor wants several vectors in flight to hide the latency of the recurrence.
template <int width>
int march_blocks(TridiagonalMarchBlock<width> block) {
  const int blocks = (block.columns - block.first_column) / width;
  host_loop("tridiagonal_march", blocks, block);
  return block.first_column + blocks * width;
}

}  // namespace

void TridiagonalBands::resize(int matrices, int cells) {
  for (auto* band : {&lower, &diagonal, &upper}) band->resize(static_cast<std::size_t>(matrices) * cells);
}

void TridiagonalFactors::resize(int matrices, int cells) {
  for (auto* band : {&down, &inverse_diagonal, &up}) band->resize(static_cast<std::size_t>(matrices) * cells);
}

void tridiagonal_march(const TridiagonalMarch& march, bool transposed, const double* rhs, double* solution,
                       int frames, int columns) {
  const TridiagonalFactors& factors = transposed ? march.transposed_factors : march.factors;
  const TridiagonalBands& history = transposed ? march.transposed_history : march.history;
  // Down and up, 4 flops a cell, and 6 for the frame before. The solution is read again as the frame before.
  const std::int64_t numbers = std::int64_t(frames) * march.cells * columns;
  count_work("tridiagonal_march", {(march.with_history ? 11.0 : 5.0) * static_cast<double>(numbers),
                                   in_bytes<double>((march.with_history ? 3 : 2) * numbers)});
  int column = 0;
  const auto run = [&]<int width>(std::integral_constant<int, width>) {
    column = march_blocks(
        TridiagonalMarchBlock<width>{factors.down.data(),
                                     factors.inverse_diagonal.data(),
                                     factors.up.data(),
                                     {history.lower.data(), history.diagonal.data(), history.upper.data()},
                                     march.factor_of_frame.data(),
                                     march.history_of_frame.data(),
                                     march.with_history,
                                     transposed,
                                     rhs,
                                     solution,
                                     frames,
                                     march.cells,
                                     columns,
                                     column});
  };
  run(std::integral_constant<int, 8>{});
  run(std::integral_constant<int, 4>{});
  run(std::integral_constant<int, 1>{});
}

}  // namespace rankine::kernels
