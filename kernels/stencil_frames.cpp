#include "kernels/stencil_frames.hpp"

#include <algorithm>
#include <cstdlib>

#include "kernels/error.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/stencil_row.hpp"

namespace rankine::kernels {
namespace {

/// factor A_frame x, or factor A_frame^T x: one term of a sum.
struct Term {
  const StencilFrames& matrices;
  int frame;
  double factor;
  const double* x;
};

/// add_row() for one unknown and reach 1, where all neighbours are inside; `column` is the first.
template <bool transposed, int lanes>
inline ColumnLanes<double, lanes> add_inner_row(const Term& term, int cell, int columns, int column,
                                                ColumnLanes<double, lanes> sum) {
  using Lanes = ColumnLanes<double, lanes>;
  const double* entry = term.matrices.at(term.frame, cell, 0);
  const double* x = term.x + static_cast<long>(cell) * columns + column;
  sum = multiply_add(term.factor * entry[transposed ? 2 : -1],
                     Lanes::load(transposed ? x + columns : x - columns), sum);
  sum = multiply_add(term.factor * entry[0], Lanes::load(x), sum);
  return multiply_add(term.factor * entry[transposed ? -2 : 1],
                      Lanes::load(transposed ? x - columns : x + columns), sum);
}

/// y += the terms, or y = the terms, for `lanes` neighbouring columns from `column` on.
template <bool transposed, int lanes, size_t count>
void add_block(const Term (&terms)[count], bool to_zero, int columns, int column, double* y) {
  using Lanes = ColumnLanes<double, lanes>;
  const int cells = terms[0].matrices.cells, m = terms[0].matrices.unknowns;
  bool narrow = m == 1;
  for (const Term& term : terms) narrow = narrow && term.matrices.reach == 1 && !term.matrices.layout;
  const auto rows = [&](int first, int last, const auto& add) {
    for (int i = first; i < last; ++i)
      for (int a = 0; a < m; ++a) {
        double* to = y + (static_cast<long>(i) * m + a) * columns + column;
        Lanes sum = to_zero ? Lanes{} : Lanes::load(to);
        for (const Term& term : terms) sum = add(term, i, a, sum);
        sum.store(to);
      }
  };
  const auto any = [&](const Term& term, int i, int a, Lanes sum) {
    return add_row<transposed, lanes>(term.matrices, term.frame, term.factor, i, a, term.x + column, columns,
                                      sum);
  };
  if (!narrow || cells < 3) return rows(0, cells, any);
  rows(0, 1, any);
  rows(1, cells - 1, [&](const Term& term, int i, int, Lanes sum) {
    return add_inner_row<transposed, lanes>(term, i, columns, column, sum);
  });
  rows(cells - 1, cells, any);
}

template <bool transposed, size_t count>
void add(const Term (&terms)[count], bool to_zero, int columns, double* y) {
  int column = 0;
  for (; column + 8 <= columns; column += 8) add_block<transposed, 8>(terms, to_zero, columns, column, y);
  for (; column + 4 <= columns; column += 4) add_block<transposed, 4>(terms, to_zero, columns, column, y);
  for (; column < columns; ++column) add_block<transposed, 1>(terms, to_zero, columns, column, y);
}

/// Of a march's product: the matrices and the fields once, which are read again for the frame after.
Cost march_cost(const StencilFrames& implicit, const StencilFrames* previous, int columns) {
  const auto matrices =
      static_cast<double>(implicit.values.size() + (previous ? previous->values.size() : 0));
  return {2 * matrices * columns,
          sizeof(double) * matrices +
              in_bytes<double>((previous ? 3L : 2L) * implicit.frames * implicit.width() * columns)};
}

}  // namespace

StencilLayout::StencilLayout(std::vector<int> cells, std::vector<bool> periodic, bool diagonals, int along)
    : axes_(static_cast<int>(cells.size())), periodic_(std::move(periodic)) {
  const int axes = axes_;
  RANKINE_ASSERT(axes >= 1 && axes <= 3 && periodic_.size() == cells.size(),
                 "a stencil's grid has one to three axes");
  cells.resize(3, 1);
  periodic_.resize(3, false);
  for (int x = -along; x <= along; ++x)
    for (int y = -along; y <= along; ++y)
      for (int z = -along; z <= along; ++z) {
        const int steps = std::abs(x) + std::abs(y) + std::abs(z),
                  longest = std::max({std::abs(x), std::abs(y), std::abs(z)});
        const bool inside = (axes > 1 || y == 0) && (axes > 2 || z == 0);
        const bool diagonal = longest == 1 && steps == 2;
        if (inside && (steps == longest || (diagonals && diagonal))) offsets_.push_back({x, y, z});
      }
  const int total = cells[0] * cells[1] * cells[2];
  for (int cell = 0; cell < total; ++cell) {
    const int index[3] = {cell / (cells[1] * cells[2]), cell / cells[2] % cells[1], cell % cells[2]};
    for (const Offset& offset : offsets_) {
      int to = 0;
      for (int axis = 0; axis < 3 && to >= 0; ++axis) {
        int at = index[axis] + offset[axis];
        if (periodic_[axis]) at = (at % cells[axis] + cells[axis]) % cells[axis];
        to = at < 0 || at >= cells[axis] ? -1 : to * cells[axis] + at;
      }
      neighbours_.push_back(to);
    }
  }
  // Longest axis slowest: the distance of neighbours is then the product of the shorter ones.
  std::array<int, 3> order{0, 1, 2};
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return cells[a] > cells[b]; });
  for (int cell = 0; cell < total; ++cell) {
    const int index[3] = {cell / (cells[1] * cells[2]), cell / cells[2] % cells[1], cell % cells[2]};
    int place = 0;
    for (const int axis : order) {
      const int i = index[axis], n = cells[axis], half = (n + 1) / 2;
      place = place * n + (!periodic_[axis] ? i : i < half ? 2 * i : 2 * (n - 1 - i) + 1);
    }
    place_.push_back(place);
  }
}

int StencilLayout::point(const Offset& offset) const {
  const auto at = std::find(offsets_.begin(), offsets_.end(), offset);
  RANKINE_ASSERT(at != offsets_.end(), "the stencil has no such point");
  return static_cast<int>(at - offsets_.begin()) - reach();
}

bool StencilLayout::periodic() const {
  return std::find(periodic_.begin(), periodic_.end(), true) != periodic_.end();
}

void StencilFrames::add_product(int frame, double factor, const double* x, int columns, double* y) const {
  add<false>({{*this, frame, factor, x}}, false, columns, y);
}

void StencilFrames::add_transposed_product(int frame, double factor, const double* x, int columns,
                                           double* y) const {
  add<true>({{*this, frame, factor, x}}, false, columns, y);
}

void march_product(const StencilFrames& implicit, const StencilFrames* previous, const double* x, int columns,
                   double* y) {
  const LaunchTimer timer("march_product");
  count_work("march_product", march_cost(implicit, previous, columns));
  const long size = static_cast<long>(implicit.width()) * columns;
  for (int j = 0; j < implicit.frames; ++j, x += size, y += size) {
    if (previous && j > 0)
      add<false>({{implicit, j, 1, x}, {*previous, j, -1, x - size}}, true, columns, y);
    else
      add<false>({{implicit, j, 1, x}}, true, columns, y);
  }
}

void march_transposed_product(const StencilFrames& implicit, const StencilFrames* previous, const double* x,
                              int columns, double* y) {
  const LaunchTimer timer("march_transposed_product");
  count_work("march_transposed_product", march_cost(implicit, previous, columns));
  const long size = static_cast<long>(implicit.width()) * columns;
  for (int j = 0; j < implicit.frames; ++j, x += size, y += size) {
    if (previous && j + 1 < implicit.frames)
      add<true>({{implicit, j, 1, x}, {*previous, j + 1, -1, x + size}}, true, columns, y);
    else
      add<true>({{implicit, j, 1, x}}, true, columns, y);
  }
}

}  // namespace rankine::kernels
