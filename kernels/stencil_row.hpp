// A row of a stencil's matrix times neighbouring columns, from which products with whole frames are made.
#pragma once

#include "kernels/column_lanes.hpp"
#include "kernels/stencil_frames.hpp"

namespace rankine::kernels {

/// sum + factor (A_frame x)[cell][unknown], or of A_frame^T, for the `lanes` columns at x; x is
/// [cell][unknown][column] with `columns` columns in all.
template <bool transposed, int lanes>
inline ColumnLanes<double, lanes> add_row(const StencilFrames& a, int frame, double factor, int cell,
                                          int unknown, const double* x, int columns,
                                          ColumnLanes<double, lanes> sum) {
  using Lanes = ColumnLanes<double, lanes>;
  const int m = a.unknowns;
  for (int s = -a.reach; s <= a.reach; ++s) {
    // Row i of A reads cell i + s in its block s; row i of A^T reads cell i - s in that cell's block s.
    const int k = a.neighbour(cell, transposed ? -s : s);
    if (k < 0) continue;
    const double* block = a.at(frame, transposed ? k : cell, s);
    const double* from = x + static_cast<long>(k) * m * columns;
    for (int b = 0; b < m; ++b)
      sum = multiply_add(factor * block[transposed ? b * m + unknown : unknown * m + b],
                         Lanes::load(from + static_cast<long>(b) * columns), sum);
  }
  return sum;
}

}  // namespace rankine::kernels
