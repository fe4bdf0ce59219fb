#include "solvers/linear_march.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/banded_march.hpp"
#include "kernels/error.hpp"
#include "kernels/tridiagonal_march.hpp"

namespace rankine {
namespace {

void check_shape(const kernels::StencilFrames& matrices, int frames, int cells, int unknowns,
                 const char* which) {
  RANKINE_ASSERT(matrices.frames == frames && matrices.cells == cells && matrices.unknowns == unknowns &&
                     matrices.values.size() == matrices.frame_size() * frames,
                 std::string("march matrices ") + which + ": must be those of " + std::to_string(frames) +
                     " frames, " + std::to_string(cells) + " cells and " + std::to_string(unknowns) +
                     " unknowns");
}

}  // namespace

std::vector<int> distinct_matrices(const kernels::StencilFrames& matrices,
                                   std::vector<int>& matrix_of_frame) {
  std::vector<int> firsts;
  matrix_of_frame.assign(matrices.frames, 0);
  const auto at = [&](int frame) { return matrices.values.begin() + frame * matrices.frame_size(); };
  for (int frame = 0; frame < matrices.frames; ++frame) {
    const auto found = std::find_if(firsts.begin(), firsts.end(), [&](int first) {
      return std::equal(at(first), at(first + 1), at(frame));
    });
    matrix_of_frame[frame] = static_cast<int>(found - firsts.begin());
    if (found == firsts.end()) firsts.push_back(frame);
  }
  return firsts;
}

void apply_march(const MarchMatrices& march, std::span<const double> b, int columns, std::span<double> out) {
  kernels::march_product(march.implicit, march.history ? &march.previous : nullptr, b.data(), columns,
                         out.data());
}

void apply_march_transpose(const MarchMatrices& march, std::span<const double> s, std::span<double> out) {
  kernels::march_transposed_product(march.implicit, march.history ? &march.previous : nullptr, s.data(), 1,
                                    out.data());
}

LinearMarch::LinearMarch(const MarchMatrices& matrices)
    : LinearMarch(matrices.implicit.frames, matrices.implicit.cells, matrices.implicit.unknowns,
                  matrices.history) {
  check_shape(matrices.implicit, frames_, cells_, unknowns_, "A");
  if (history_) check_shape(matrices.previous, frames_, cells_, unknowns_, "B");
}

LinearMarch::LinearMarch(int frames, int cells, int unknowns, bool history)
    : frames_(frames), cells_(cells), unknowns_(unknowns), history_(history) {
  RANKINE_ASSERT(frames_ > 0 && cells_ > 0 && unknowns_ > 0,
                 "a march needs at least one frame, one cell and one unknown");
}

void LinearMarch::check_fields(std::span<const double> residual, std::span<double> error, int columns) const {
  const size_t size = static_cast<size_t>(frames_) * width() * columns;
  RANKINE_ASSERT(residual.size() == size && error.size() == size,
                 "a march field holds frames x cells x unknowns x columns numbers");
}

void LinearMarch::apply(std::span<const double> residual, std::span<double> error, int columns) const {
  check_fields(residual, error, columns);
  if (columns > 0) solve(residual.data(), error.data(), columns, false);
}

void LinearMarch::apply_transpose(std::span<const double> residual, std::span<double> error,
                                  int columns) const {
  check_fields(residual, error, columns);
  if (columns > 0) solve(residual.data(), error.data(), columns, true);
}

namespace {

class TridiagonalDirectMarch final : public LinearMarch {
 public:
  /// nullptr where a row is not dominated by its diagonal, so that the factors need pivoting.
  static std::unique_ptr<LinearMarch> make(const MarchMatrices& matrices) {
    std::unique_ptr<TridiagonalDirectMarch> march(new TridiagonalDirectMarch(matrices));
    march->march_.with_history = march->history();
    if (!march->factor(matrices.implicit)) return nullptr;
    march->set_history(matrices);
    return march;
  }
  const kernels::TridiagonalMarch* tridiagonal() const override { return &march_; }

 private:
  explicit TridiagonalDirectMarch(const MarchMatrices& matrices) : LinearMarch(matrices) {}

  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    kernels::tridiagonal_march(march_, transposed, rhs, solution, frames(), columns);
  }

  bool factor(const kernels::StencilFrames& a) {
    const std::vector<int> firsts = distinct_matrices(a, march_.factor_of_frame);
    const int count = static_cast<int>(firsts.size());
    const int n = a.cells;
    march_.cells = n;
    kernels::TridiagonalFactors& forward = march_.factors;
    kernels::TridiagonalFactors& transposed = march_.transposed_factors;
    forward.resize(count, n);
    transposed.resize(count, n);
    for (int m = 0; m < count; ++m) {
      double inverse_above = 0, upper_above = 0;
      for (int i = 0; i < n; ++i) {
        const double* row = a.at(firsts[m], i, 0);
        const double lower = i > 0 ? row[-1] : 0;
        const double upper = i + 1 < n ? row[1] : 0;
        const double down = lower * inverse_above;
        const double pivot = row[0] - (i > 0 ? down * upper_above : 0);
        const double size = std::abs(row[0]) + std::abs(lower) + std::abs(upper);
        // An implicit step of diffusion has pivots above a quarter of a row. Written so that a NaN fails too.
        if (!(std::abs(pivot) > 1e-3 * size) || !std::isfinite(pivot)) return false;
        inverse_above = 1 / pivot;
        forward.down[m * n + i] = down;
        forward.inverse_diagonal[m * n + i] = inverse_above;
        forward.up[m * n + i] = upper * inverse_above;
        upper_above = upper;
      }
      for (int i = 0; i < n; ++i) {
        transposed.inverse_diagonal[m * n + i] = forward.inverse_diagonal[m * n + i];
        transposed.down[m * n + i] = i > 0 ? forward.up[m * n + i - 1] : 0;
        transposed.up[m * n + i] = i + 1 < n ? forward.down[m * n + i + 1] : 0;
      }
    }
    return true;
  }

  void set_history(const MarchMatrices& matrices) {
    if (!history()) return;
    const kernels::StencilFrames& b = matrices.previous;
    const std::vector<int> firsts = distinct_matrices(b, march_.history_of_frame);
    const int count = static_cast<int>(firsts.size());
    const int n = b.cells;
    march_.history.resize(count, n);
    march_.transposed_history.resize(count, n);
    for (int m = 0; m < count; ++m) {
      for (int i = 0; i < n; ++i) {
        const double* row = b.at(firsts[m], i, 0);
        march_.history.lower[m * n + i] = i > 0 ? row[-1] : 0;
        march_.history.diagonal[m * n + i] = row[0];
        march_.history.upper[m * n + i] = i + 1 < n ? row[1] : 0;
        march_.transposed_history.lower[m * n + i] = i > 0 ? row[-2] : 0;
        march_.transposed_history.diagonal[m * n + i] = row[0];
        march_.transposed_history.upper[m * n + i] = i + 1 < n ? row[2] : 0;
      }
    }
  }

  kernels::TridiagonalMarch march_;
};

class BandedDirectMarch final : public LinearMarch {
 public:
  explicit BandedDirectMarch(MarchMatrices matrices) : LinearMarch(matrices), march_(factor(matrices)) {}

 private:
  static kernels::BandedMarch factor(MarchMatrices& matrices) {
    std::vector<int> factor_of_frame;
    const std::vector<int> firsts = distinct_matrices(matrices.implicit, factor_of_frame);
    return {matrices.implicit, firsts, std::move(factor_of_frame),
            matrices.history ? std::move(matrices.previous) : kernels::StencilFrames()};
  }

  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    march_.solve(rhs, solution, columns, transposed);
  }

  kernels::BandedMarch march_;
};

bool tridiagonal(const kernels::StencilFrames& matrices) {
  return matrices.unknowns == 1 && matrices.reach == 1 && !matrices.periodic && !matrices.layout;
}

}  // namespace

std::unique_ptr<LinearMarch> make_direct_march(MarchMatrices matrices) {
  if (tridiagonal(matrices.implicit) && (!matrices.history || tridiagonal(matrices.previous))) {
    if (auto march = TridiagonalDirectMarch::make(matrices)) return march;
  }
  return std::make_unique<BandedDirectMarch>(std::move(matrices));
}

}  // namespace rankine
