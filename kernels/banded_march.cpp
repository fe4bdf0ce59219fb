#include "kernels/banded_march.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/stencil_row.hpp"

namespace rankine::kernels {

BandedMarch::BandedMarch(const StencilFrames& implicit, const std::vector<int>& firsts,
                         std::vector<int> factor_of_frame, StencilFrames history)
    : frames_(implicit.frames),
      cells_(implicit.cells),
      unknowns_(implicit.unknowns),
      rows_(implicit.width()),
      factor_of_frame_(std::move(factor_of_frame)),
      history_(std::move(history)) {
  place_cells(implicit);
  factor(implicit, firsts);
}

void BandedMarch::place_cells(const StencilFrames& implicit) {
  if (implicit.layout) {
    place_ = implicit.layout->place();
    return;
  }
  const bool periodic = implicit.periodic;
  place_.resize(cells_);
  const int half = (cells_ + 1) / 2;
  for (int i = 0; i < cells_; ++i) place_[i] = !periodic ? i : i < half ? 2 * i : 2 * (cells_ - 1 - i) + 1;
}

void BandedMarch::factor(const StencilFrames& implicit, const std::vector<int>& firsts) {
  const int m = unknowns_, reach = implicit.reach, count = static_cast<int>(firsts.size());
  std::vector<int> neighbours;
  for (int i = 0; i < cells_; ++i)
    for (int s = -reach; s <= reach; ++s) neighbours.push_back(implicit.neighbour(i, s));
  int distance = std::min((implicit.periodic ? 2 : 1) * reach, cells_ - 1);
  if (implicit.layout) {
    distance = 0;
    for (size_t p = 0; p < neighbours.size(); ++p)
      if (neighbours[p] >= 0)
        distance = std::max(distance, std::abs(place_[p / implicit.points()] - place_[neighbours[p]]));
  }
  lower_ = upper_ = (distance + 1) * m - 1;
  const int stride = 2 * lower_ + upper_ + 1;
  const size_t size = static_cast<size_t>(rows_) * stride;
  factors_.assign(count * size, 0.0);
  inverse_diagonal_.resize(static_cast<size_t>(count) * rows_);
  pivots_.resize(static_cast<size_t>(count) * rows_);
  fill_.resize(count);
  std::vector<double> column_size(rows_);
  for (int f = 0; f < count; ++f) {
    double* band = &factors_[f * size];
    const double* block = implicit.at(firsts[f], 0, -reach);
    std::fill(column_size.begin(), column_size.end(), 0.0);
    const int* neighbour = neighbours.data();
    for (int i = 0; i < cells_; ++i)
      for (int s = -reach; s <= reach; ++s, block += implicit.block()) {
        const int k = *neighbour++;
        if (k < 0) continue;
        const int row = place_[i] * m, column = place_[k] * m;
        for (int a = 0; a < m; ++a)
          for (int b = 0; b < m; ++b) {
            // A short ring reads a cell more than once.
            band[static_cast<size_t>(column + b) * stride + lower_ + upper_ + row + a - column - b] +=
                block[a * m + b];
            column_size[column + b] += std::abs(block[a * m + b]);
          }
      }
    int* pivots = &pivots_[static_cast<size_t>(f) * rows_];
    lapack::factor_band({band, size}, rows_, lower_, upper_, {pivots, static_cast<size_t>(rows_)});
    fill_[f] = upper_;
    for (int r = 0; r < rows_; ++r) {
      const double pivot = band[static_cast<size_t>(r) * stride + lower_ + upper_];
      // Written so that a NaN fails too.
      if (!(std::abs(pivot) > 1e-14 * column_size[r]) || !std::isfinite(pivot)) {
        const auto cell = std::find(place_.begin(), place_.end(), r / m) - place_.begin();
        throw NumericalError("linear march: the pivot of frame " + std::to_string(firsts[f]) + ", cell " +
                             std::to_string(cell) + " is " + std::to_string(pivot) + " in a column of size " +
                             std::to_string(column_size[r]) +
                             ": the matrix is singular; take smaller time steps or linearise about another "
                             "state");
      }
      inverse_diagonal_[static_cast<size_t>(f) * rows_ + r] = 1 / pivot;
      if (pivots[r] != r) fill_[f] = lower_ + upper_;
    }
  }
}

// P L U x = b in place, x: [place][lane]. P and L are applied in turns, as dgbtrf leaves them.
template <int lanes>
void BandedMarch::sweep(int factor, double* x) const {
  using Lanes = ColumnLanes<double, lanes>;
  const int stride = 2 * lower_ + upper_ + 1, fill = fill_[factor];
  const int* pivots = &pivots_[static_cast<size_t>(factor) * rows_];
  const double* inverse = &inverse_diagonal_[static_cast<size_t>(factor) * rows_];
  const double* diagonal = &factors_[static_cast<size_t>(factor) * rows_ * stride + lower_ + upper_];
  for (int r = 0; r < rows_; ++r) {
    const double* column = diagonal + static_cast<size_t>(r) * stride;
    double* at = x + static_cast<size_t>(r) * lanes;
    if (pivots[r] != r) std::swap_ranges(at, at + lanes, x + static_cast<size_t>(pivots[r]) * lanes);
    const Lanes value = Lanes::load(at);
    const int last = std::min(lower_, rows_ - 1 - r);
    for (int k = 1; k <= last; ++k) {
      at += lanes;
      multiply_add(-column[k], value, Lanes::load(at)).store(at);
    }
  }
  for (int r = rows_ - 1; r >= 0; --r) {
    const double* column = diagonal + static_cast<size_t>(r) * stride;
    double* at = x + static_cast<size_t>(r) * lanes;
    const Lanes value = inverse[r] * Lanes::load(at);
    value.store(at);
    const int last = std::min(fill, r);
    for (int k = 1; k <= last; ++k) {
      at -= lanes;
      multiply_add(-column[-k], value, Lanes::load(at)).store(at);
    }
  }
}

// U^T L^T P^T x = b in place.
template <int lanes>
void BandedMarch::sweep_transposed(int factor, double* x) const {
  using Lanes = ColumnLanes<double, lanes>;
  const int stride = 2 * lower_ + upper_ + 1, fill = fill_[factor];
  const int* pivots = &pivots_[static_cast<size_t>(factor) * rows_];
  const double* inverse = &inverse_diagonal_[static_cast<size_t>(factor) * rows_];
  const double* diagonal = &factors_[static_cast<size_t>(factor) * rows_ * stride + lower_ + upper_];
  for (int r = 0; r < rows_; ++r) {
    const double* column = diagonal + static_cast<size_t>(r) * stride;
    double* at = x + static_cast<size_t>(r) * lanes;
    Lanes sum = Lanes::load(at);
    for (int k = std::min(fill, r); k >= 1; --k)
      sum = multiply_add(-column[-k], Lanes::load(at - static_cast<size_t>(k) * lanes), sum);
    (inverse[r] * sum).store(at);
  }
  for (int r = rows_ - 1; r >= 0; --r) {
    const double* column = diagonal + static_cast<size_t>(r) * stride;
    double* at = x + static_cast<size_t>(r) * lanes;
    Lanes sum = Lanes::load(at);
    for (int k = std::min(lower_, rows_ - 1 - r); k >= 1; --k)
      sum = multiply_add(-column[k], Lanes::load(at + static_cast<size_t>(k) * lanes), sum);
    sum.store(at);
    if (pivots[r] != r) std::swap_ranges(at, at + lanes, x + static_cast<size_t>(pivots[r]) * lanes);
  }
}

// x += B_frame previous, or B_frame^T previous; `previous` is [cell][unknown][column], x: [place][lane].
template <bool transposed, int lanes>
void BandedMarch::add_history(const double* previous, int frame, int columns, double* x) const {
  using Lanes = ColumnLanes<double, lanes>;
  for (int i = 0; i < cells_; ++i)
    for (int a = 0; a < unknowns_; ++a) {
      double* to = x + (static_cast<size_t>(place_[i]) * unknowns_ + a) * lanes;
      add_row<transposed, lanes>(history_, frame, 1, i, a, previous, columns, Lanes::load(to)).store(to);
    }
}

template <int lanes>
int BandedMarch::solve_blocks(int first_frame, int frames, const double* rhs, double* solution, int columns,
                              bool transposed, int first_column) const {
  using Lanes = ColumnLanes<double, lanes>;
  const int m = unknowns_;
  const size_t frame_size = static_cast<size_t>(rows_) * columns;
  std::vector<double> x(static_cast<size_t>(rows_) * lanes);
  int column = first_column;
  for (; column + lanes <= columns; column += lanes)
    for (int step = 0; step < frames; ++step) {
      const int place = transposed ? frames - 1 - step : step, frame = first_frame + place;
      const double* from = rhs + place * frame_size + column;
      double* to = solution + place * frame_size + column;
      for (int i = 0; i < cells_; ++i)
        for (int a = 0; a < m; ++a)
          Lanes::load(from + (static_cast<size_t>(i) * m + a) * columns)
              .store(&x[(static_cast<size_t>(place_[i]) * m + a) * lanes]);
      if (step > 0 && history_.frames > 0) {
        transposed ? add_history<true, lanes>(to + frame_size, frame + 1, columns, x.data())
                   : add_history<false, lanes>(to - frame_size, frame, columns, x.data());
      }
      const int factor = factor_of_frame_[frame];
      transposed ? sweep_transposed<lanes>(factor, x.data()) : sweep<lanes>(factor, x.data());
      for (int i = 0; i < cells_; ++i)
        for (int a = 0; a < m; ++a)
          Lanes::load(&x[(static_cast<size_t>(place_[i]) * m + a) * lanes])
              .store(to + (static_cast<size_t>(i) * m + a) * columns);
    }
  return column;
}

void BandedMarch::solve(int first_frame, int frames, const double* rhs, double* solution, int columns,
                        bool transposed) const {
  const kernels::LaunchTimer timer("banded_march");
  const std::int64_t numbers = std::int64_t(frames) * rows_ * columns;
  const bool with_history = frames > 1 && history_.frames > 0;
  count_work("banded_march",
             {2.0 * (lower_ + upper_ + 1 + (with_history ? history_.points() * unknowns_ : 0)) *
                  static_cast<double>(numbers),
              in_bytes<double>((with_history ? 3 : 2) * numbers)});
  int column = solve_blocks<8>(first_frame, frames, rhs, solution, columns, transposed, 0);
  column = solve_blocks<4>(first_frame, frames, rhs, solution, columns, transposed, column);
  solve_blocks<1>(first_frame, frames, rhs, solution, columns, transposed, column);
}

void BandedMarch::solve(const double* rhs, double* solution, int columns, bool transposed) const {
  solve(0, frames_, rhs, solution, columns, transposed);
}

void BandedMarch::solve_frame(int frame, const double* rhs, double* solution, int columns,
                              bool transposed) const {
  solve(frame, 1, rhs, solution, columns, transposed);
}

}  // namespace rankine::kernels
