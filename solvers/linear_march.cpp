#include "solvers/linear_march.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/error.hpp"
#include "kernels/tridiagonal_march.hpp"

namespace rankine {
namespace {

using Host = Kokkos::DefaultHostExecutionSpace;
using Bands = kernels::TridiagonalBands<double, Host>;
using Factors = kernels::TridiagonalFactors<double, Host>;
using March = kernels::TridiagonalMarch<double, Host>;

void check_shape(const TridiagonalFrames& bands, int frames, int cells, const char* which) {
  const auto size = static_cast<size_t>(frames) * cells;
  RANKINE_ASSERT(bands.frames == frames && bands.cells == cells && bands.lower.size() == size &&
                     bands.diagonal.size() == size && bands.upper.size() == size,
                 std::string("march matrices ") + which + ": every band must hold frames x cells = " +
                     std::to_string(frames) + " x " + std::to_string(cells) + " numbers");
}

bool same_matrix(const TridiagonalFrames& bands, int a, int b) {
  const int n = bands.cells;
  const auto same = [&](const std::vector<double>& band, int from, int to) {
    const auto at = [&](int frame) { return band.begin() + static_cast<long>(frame) * n; };
    return std::equal(at(a) + from, at(a) + to, at(b) + from);
  };
  return same(bands.lower, 1, n) && same(bands.diagonal, 0, n) && same(bands.upper, 0, n - 1);
}

}  // namespace

std::vector<int> distinct_matrices(const TridiagonalFrames& bands, std::vector<int>& matrix_of_frame) {
  std::vector<int> firsts;
  matrix_of_frame.assign(bands.frames, 0);
  for (int frame = 0; frame < bands.frames; ++frame) {
    const auto found = std::find_if(firsts.begin(), firsts.end(),
                                    [&](int first) { return same_matrix(bands, first, frame); });
    matrix_of_frame[frame] = static_cast<int>(found - firsts.begin());
    if (found == firsts.end()) firsts.push_back(frame);
  }
  return firsts;
}

LinearMarch::LinearMarch(const MarchMatrices& matrices)
    : frames_(matrices.implicit.frames), cells_(matrices.implicit.cells), history_(matrices.history) {
  RANKINE_ASSERT(frames_ > 0 && cells_ > 0, "a march needs at least one frame and one cell");
  check_shape(matrices.implicit, frames_, cells_, "A");
  if (history_) check_shape(matrices.previous, frames_, cells_, "B");
}

void LinearMarch::apply(std::span<const double> residual, std::span<double> error, int columns) const {
  const size_t size = static_cast<size_t>(frames_) * cells_ * columns;
  RANKINE_ASSERT(residual.size() == size && error.size() == size,
                 "a march field holds frames x cells x columns numbers");
  if (size > 0) solve(residual.data(), error.data(), columns, false);
}

void LinearMarch::apply_transpose(std::span<const double> residual, std::span<double> error,
                                  int columns) const {
  const size_t size = static_cast<size_t>(frames_) * cells_ * columns;
  RANKINE_ASSERT(residual.size() == size && error.size() == size,
                 "a march field holds frames x cells x columns numbers");
  if (size > 0) solve(residual.data(), error.data(), columns, true);
}

namespace {

Bands allocate_bands(int matrices, int cells, const char* name) {
  const std::string label = std::string("rankine::march::") + name;
  return {Bands::View(label + "::lower", matrices, cells), Bands::View(label + "::diagonal", matrices, cells),
          Bands::View(label + "::upper", matrices, cells)};
}

class BandedMarch final : public LinearMarch {
 public:
  explicit BandedMarch(const MarchMatrices& matrices) : LinearMarch(matrices) {
    march_.with_history = history();
    factor(matrices.implicit);
    set_history(matrices);
  }

 private:
  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    if (transposed) {
      kernels::tridiagonal_march_backward(march_, rhs, solution, frames(), cells(), columns);
    } else {
      kernels::tridiagonal_march_forward(march_, rhs, solution, frames(), cells(), columns);
    }
  }

  static Kokkos::View<int*, Host::memory_space> to_view(const std::vector<int>& numbers, const char* name) {
    Kokkos::View<int*, Host::memory_space> view(std::string("rankine::march::") + name, numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) view(i) = numbers[i];
    return view;
  }

  void factor(const TridiagonalFrames& a) {
    std::vector<int> matrix_of_frame;
    const std::vector<int> firsts = distinct_matrices(a, matrix_of_frame);
    march_.factor_of_frame = to_view(matrix_of_frame, "factor_of_frame");
    const int count = static_cast<int>(firsts.size());
    const int n = a.cells;
    const Bands forward = allocate_bands(count, n, "factors");
    const Bands transposed = allocate_bands(count, n, "transposed_factors");
    march_.factors = Factors{forward.lower, forward.diagonal, forward.upper};
    march_.transposed_factors = Factors{transposed.lower, forward.diagonal, transposed.upper};
    for (int m = 0; m < count; ++m) {
      const size_t row = static_cast<size_t>(firsts[m]) * n;
      double inverse_above = 0;
      for (int i = 0; i < n; ++i) {
        const double lower = i > 0 ? a.lower[row + i] : 0;
        const double upper = i + 1 < n ? a.upper[row + i] : 0;
        const double down = lower * inverse_above;
        const double pivot = a.diagonal[row + i] - (i > 0 ? down * a.upper[row + i - 1] : 0);
        const double size = std::abs(a.diagonal[row + i]) + std::abs(lower) + std::abs(upper);
        // Written so that a NaN fails too.
        if (!(std::abs(pivot) > 1e-13 * size) || !std::isfinite(pivot)) {
          throw NumericalError(
              "linear march: the pivot of frame " + std::to_string(firsts[m]) + ", cell " +
              std::to_string(i) + " is " + std::to_string(pivot) + " in a row of size " +
              std::to_string(size) +
              "; the matrix must be factorable without pivoting (diagonally dominant): take smaller "
              "time steps, linearise about another state, or use the PETSc march");
        }
        inverse_above = 1 / pivot;
        march_.factors.down(m, i) = down;
        march_.factors.inverse_diagonal(m, i) = inverse_above;
        march_.factors.up(m, i) = upper * inverse_above;
      }
      for (int i = 0; i < n; ++i) {
        march_.transposed_factors.down(m, i) = i > 0 ? march_.factors.up(m, i - 1) : 0;
        march_.transposed_factors.up(m, i) = i + 1 < n ? march_.factors.down(m, i + 1) : 0;
      }
    }
  }

  void set_history(const MarchMatrices& matrices) {
    if (!history()) return;
    const TridiagonalFrames& b = matrices.previous;
    std::vector<int> matrix_of_frame;
    const std::vector<int> firsts = distinct_matrices(b, matrix_of_frame);
    march_.history_of_frame = to_view(matrix_of_frame, "history_of_frame");
    const int count = static_cast<int>(firsts.size());
    const int n = b.cells;
    march_.history = allocate_bands(count, n, "history");
    march_.transposed_history = allocate_bands(count, n, "transposed_history");
    for (int m = 0; m < count; ++m) {
      const size_t row = static_cast<size_t>(firsts[m]) * n;
      for (int i = 0; i < n; ++i) {
        march_.history.lower(m, i) = i > 0 ? b.lower[row + i] : 0;
        march_.history.diagonal(m, i) = b.diagonal[row + i];
        march_.history.upper(m, i) = i + 1 < n ? b.upper[row + i] : 0;
        march_.transposed_history.lower(m, i) = i > 0 ? b.upper[row + i - 1] : 0;
        march_.transposed_history.diagonal(m, i) = b.diagonal[row + i];
        march_.transposed_history.upper(m, i) = i + 1 < n ? b.lower[row + i + 1] : 0;
      }
    }
  }

  March march_;
};

}  // namespace

std::unique_ptr<LinearMarch> make_banded_march(const MarchMatrices& matrices) {
  return std::make_unique<BandedMarch>(matrices);
}

}  // namespace rankine
