#include "kernels/stencil_frames.hpp"

#include <algorithm>

namespace rankine::kernels {
namespace {

/// y[i] += factor value(i) x[i + offset] for the rows first .. last - 1 of one unknown; `value` steps by
/// `stride`.
template <int width>
void add_diagonal(const double* value, int stride, double factor, const double* x, double* y, int rows) {
  for (int i = 0; i < rows; ++i, value += stride) {
    const double v = factor * *value;
    for (int c = 0; c < width; ++c) y[i * width + c] += v * x[i * width + c];
  }
}

void add_diagonal(const double* value, int stride, double factor, const double* x, double* y, int rows,
                  int columns) {
  switch (columns) {
    case 1:
      return add_diagonal<1>(value, stride, factor, x, y, rows);
    case 4:
      return add_diagonal<4>(value, stride, factor, x, y, rows);
    case 8:
      return add_diagonal<8>(value, stride, factor, x, y, rows);
    case 16:
      return add_diagonal<16>(value, stride, factor, x, y, rows);
    default:
      for (int i = 0; i < rows; ++i, value += stride) {
        const double v = factor * *value;
        for (int c = 0; c < columns; ++c) y[i * columns + c] += v * x[i * columns + c];
      }
  }
}

/// One diagonal of single-unknown matrices: row i reads cell i + offset, in up to two runs on a ring.
template <class Visit>
void runs_of_rows(int cells, int offset, bool periodic, const Visit& visit) {
  const int first = std::max(0, -offset), last = std::min(cells, cells - offset);
  if (first < last) visit(first, last, first + offset);
  if (!periodic || offset == 0) return;
  if (offset > 0)
    visit(cells - offset, cells, 0);
  else
    visit(0, -offset, cells + offset);
}

}  // namespace

template <bool transposed>
void StencilFrames::add(int frame, double factor, const double* x, int columns, double* y) const {
  // Row i of the matrix reads column k: y_i += v x_k, or transposed y_k += v x_i.
  const auto add_rows = [&](const double* value, int stride, long row, long column, int rows) {
    add_diagonal(value, stride, factor, x + (transposed ? row : column) * columns,
                 y + (transposed ? column : row) * columns, rows, columns);
  };
  const int m = unknowns;
  if (m == 1 && cells > 2 * reach) {
    for (int s = -reach; s <= reach; ++s)
      runs_of_rows(cells, s, periodic, [&](int first, int last, int from) {
        add_rows(at(frame, first, s), points(), first, from, last - first);
      });
    return;
  }
  for (int i = 0; i < cells; ++i)
    for (int s = -reach; s <= reach; ++s) {
      const int k = neighbour(i, s);
      if (k < 0) continue;
      const double* block = at(frame, i, s);
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b)
          add_rows(block + a * m + b, 1, static_cast<long>(i) * m + a, static_cast<long>(k) * m + b, 1);
    }
}

void StencilFrames::add_product(int frame, double factor, const double* x, int columns, double* y) const {
  add<false>(frame, factor, x, columns, y);
}

void StencilFrames::add_transposed_product(int frame, double factor, const double* x, int columns,
                                           double* y) const {
  add<true>(frame, factor, x, columns, y);
}

}  // namespace rankine::kernels
