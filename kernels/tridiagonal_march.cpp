#include "kernels/tridiagonal_march.hpp"

#include <cstdint>

#include "kernels/column_lanes.hpp"
#include "kernels/rows.hpp"

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
  const std::int32_t *factor_of_frame, *history_of_frame;
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

/// The same in device memory.
struct ColumnMarches {
  View<const double> down, inverse_diagonal, up, lower, diagonal, upper;
  View<const std::int32_t> factor_of_frame, history_of_frame;
  bool with_history, backward;
  View<const double> rhs;
  View<double> solution;
  int frames, cells, columns;

#if RANKINE_ON_DEVICE
  /// A warp a column: its lanes read and multiply 32 cells side by side, and all of them go through the
  /// recurrence, whose terms they hand to each other.
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const std::int64_t frame_size = std::int64_t(cells) * columns, column = team.league_rank();
    const int lane = static_cast<int>(lane_index());
    for (int step = 0; step < frames; ++step) {
      const int frame = backward ? frames - 1 - step : step, previous = backward ? frame + 1 : frame - 1;
      const std::int64_t factor = std::int64_t(factor_of_frame[frame]) * cells;
      const bool adds = step > 0 && with_history;
      const std::int64_t matrix =
          adds ? std::int64_t(history_of_frame[backward ? previous : frame]) * cells : 0;
      double value = 0;
      for (int first = 0; first < cells; first += kRowLanes) {
        const int i = first + lane;
        const bool inside = i < cells;
        double sum = inside ? rhs[frame * frame_size + std::int64_t(i) * columns + column] : 0;
        if (inside && adds) {
          const double* const p = solution.at(previous * frame_size + std::int64_t(i) * columns + column);
          sum = multiply_add(diagonal[matrix + i], *p, sum);
          sum = multiply_add(lower[matrix + i], i > 0 ? *(p - columns) : *p, sum);
          sum = multiply_add(upper[matrix + i], i + 1 < cells ? *(p + columns) : *p, sum);
        }
        const double own = recur<1>(inside ? -down[factor + i] : 0, sum, lane, value);
        if (inside)
          solution[frame * frame_size + std::int64_t(i) * columns + column] =
              inverse_diagonal[factor + i] * own;
      }
      value = 0;
      for (int first = (cells - 1) / kRowLanes * kRowLanes; first >= 0; first -= kRowLanes) {
        const int i = first + lane;
        const bool inside = i < cells;
        const std::int64_t at = frame * frame_size + std::int64_t(i) * columns + column;
        const double own = recur<-1>(inside ? -up[factor + i] : 0, inside ? solution[at] : 0, lane, value);
        if (inside) solution[at] = own;
      }
      __syncwarp();  // the next frame reads neighbours
    }
  }
  /// value = factor value + term, lane by lane, upward or downward; returns what it is at this lane.
  template <int kDirection>
  RANKINE_KERNEL static double recur(double factor, double term, int lane, double& value) {
    double own = 0;
    for (int n = 0; n < kRowLanes; ++n) {
      const int k = kDirection > 0 ? n : kRowLanes - 1 - n;
      value = multiply_add(__shfl_sync(0xffffffffu, factor, k, kRowLanes), value,
                           __shfl_sync(0xffffffffu, term, k, kRowLanes));
      if (k == lane) own = value;
    }
    return own;
  }
#else
  /// Blocks of 8 columns, then one of 4, then single ones.
  static std::int64_t blocks(int columns) { return columns / 8 + columns % 8 / 4 + columns % 4; }
  template <int width>
  void march(std::int64_t first) const {
    TridiagonalMarchBlock<width>{down.at(0),
                                 inverse_diagonal.at(0),
                                 up.at(0),
                                 {lower.at(0), diagonal.at(0), upper.at(0)},
                                 factor_of_frame.at(0),
                                 history_of_frame.at(0),
                                 with_history,
                                 backward,
                                 rhs.at(0),
                                 solution.at(0),
                                 frames,
                                 cells,
                                 columns,
                                 static_cast<int>(first)}(0);
  }
  void operator()(std::int64_t block) const {
    const std::int64_t eights = columns / 8, fours = columns % 8 / 4;
    if (block < eights) return march<8>(8 * block);
    if (block < eights + fours) return march<4>(8 * eights);
    march<1>(7 * eights + 3 * fours + block);
  }
#endif
};

// A processor wants several vectors in flight to hide the latency of the recurrence.
template <int width>
int march_blocks(TridiagonalMarchBlock<width> block) {
  const int blocks = (block.columns - block.first_column) / width;
  host_loop("tridiagonal_march", blocks, block);
  return block.first_column + blocks * width;
}

/// Down and up, 4 flops a cell, and 6 for the frame before. The solution is read again as the frame before.
void count_march(bool with_history, std::int64_t numbers) {
  count_work("tridiagonal_march", {(with_history ? 11.0 : 5.0) * static_cast<double>(numbers),
                                   in_bytes<double>((with_history ? 3 : 2) * numbers)});
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
  count_march(march.with_history, std::int64_t(frames) * march.cells * columns);
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

void tridiagonal_march(const TridiagonalMarchOnDevice& march, int columns, DevicePtr<const double> rhs,
                       DevicePtr<double> solution) {
  count_march(march.with_history, std::int64_t(march.frames) * march.cells * columns);
  const ColumnMarches body{march.down,
                           march.inverse_diagonal,
                           march.up,
                           march.lower,
                           march.diagonal,
                           march.upper,
                           march.factor_of_frame,
                           march.history_of_frame,
                           march.with_history,
                           march.backward,
                           rhs,
                           solution,
                           march.frames,
                           march.cells,
                           columns};
#if RANKINE_ON_DEVICE
  device_teams("tridiagonal_march", columns, 1, kRowLanes, 0, body);
#else
  units("tridiagonal_march", ColumnMarches::blocks(columns), body);
#endif
}

}  // namespace rankine::kernels
