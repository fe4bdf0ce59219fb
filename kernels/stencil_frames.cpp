#include "kernels/stencil_frames.hpp"

namespace rankine::kernels {

void StencilFrames::add_product(int frame, double factor, const double* x, int columns, double* y) const {
  const int m = unknowns;
  for (int i = 0; i < cells; ++i)
    for (int s = -reach; s <= reach; ++s) {
      const int k = neighbour(i, s);
      if (k < 0) continue;
      const double* block = at(frame, i, s);
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          const double value = factor * block[a * m + b];
          if (value == 0) continue;
          double* to = y + (static_cast<long>(i) * m + a) * columns;
          const double* from = x + (static_cast<long>(k) * m + b) * columns;
          for (int c = 0; c < columns; ++c) to[c] += value * from[c];
        }
    }
}

void StencilFrames::add_transposed_product(int frame, double factor, const double* x, int columns,
                                           double* y) const {
  const int m = unknowns;
  for (int i = 0; i < cells; ++i)
    for (int s = -reach; s <= reach; ++s) {
      const int k = neighbour(i, s);
      if (k < 0) continue;
      const double* block = at(frame, i, s);
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          const double value = factor * block[a * m + b];
          if (value == 0) continue;
          double* to = y + (static_cast<long>(k) * m + b) * columns;
          const double* from = x + (static_cast<long>(i) * m + a) * columns;
          for (int c = 0; c < columns; ++c) to[c] += value * from[c];
        }
    }
}

}  // namespace rankine::kernels
