// The tangent march with diffusion implicit and all else explicit. In q = S e, one substep from point k to k
// + 1 is
//   q  = S_k e_k + w r                       (w: the share of the step's residual that acts at this point)
//   g  = N_k S_k^-1 q,  q1 = q + h g,  q2 = q + h/2 g + h/2 N_{k+1} S_{k+1}^-1 q1      (Heun)
//   (S_{k+1} - h K_{k+1}) e_{k+1} = q2                                                 (backward Euler)
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "kernels/banded_march.hpp"
#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"

namespace rankine {
namespace {

using kernels::BandedMarch;
using kernels::StencilFrames;

/// `matrices` at the ends of all substeps: the first frame, then `substeps` a step.
StencilFrames interpolate(const StencilFrames& matrices, int substeps) {
  const int points = (matrices.frames - 1) * substeps + 1;
  StencilFrames out = matrices.shaped(points);
  const size_t size = matrices.frame_size();
  for (int p = 0; p < points; ++p) {
    const int frame = p / substeps;
    const double after = static_cast<double>(p % substeps) / substeps;
    const double* from = &matrices.values[frame * size];
    double* to = &out.values[p * size];
    for (size_t k = 0; k < size; ++k)
      to[k] =
          after == 0 || from[k] == from[size + k] ? from[k] : (1 - after) * from[k] + after * from[size + k];
  }
  return out;
}

/// Inverts the m x m block `a` into `inverse` by Gauss-Jordan elimination with pivoting; false where it is
/// singular.
bool invert(std::vector<double> a, int m, double* inverse) {
  double size = 0;
  for (double x : a) size = std::max(size, std::abs(x));
  for (int k = 0; k < m * m; ++k) inverse[k] = k / m == k % m;
  for (int c = 0; c < m; ++c) {
    int pivot = c;
    for (int r = c + 1; r < m; ++r)
      if (std::abs(a[r * m + c]) > std::abs(a[pivot * m + c])) pivot = r;
    // Written so that a NaN fails too.
    if (!(std::abs(a[pivot * m + c]) > 1e-14 * size) || !std::isfinite(a[pivot * m + c])) return false;
    std::swap_ranges(&a[c * m], &a[c * m] + m, &a[pivot * m]);
    std::swap_ranges(inverse + c * m, inverse + c * m + m, inverse + pivot * m);
    const double scale = 1 / a[c * m + c];
    for (int k = 0; k < m; ++k) {
      a[c * m + k] *= scale;
      inverse[c * m + k] *= scale;
    }
    for (int r = 0; r < m; ++r) {
      const double factor = a[r * m + c];
      if (r == c || factor == 0) continue;
      for (int k = 0; k < m; ++k) {
        a[r * m + k] -= factor * a[c * m + k];
        inverse[r * m + k] -= factor * inverse[c * m + k];
      }
    }
  }
  return true;
}

StencilFrames inverse_blocks(const StencilFrames& slope, int substeps) {
  StencilFrames out = slope.shaped(slope.frames);
  for (int p = 0; p < slope.frames; ++p)
    for (int i = 0; i < slope.cells; ++i) {
      const double* block = slope.at(p, i, 0);
      if (!invert({block, block + slope.block()}, slope.unknowns, out.at(p, i, 0))) {
        throw NumericalError("IMEX march: the storage slope of frame " + std::to_string(p / substeps) +
                             ", cell " + std::to_string(i) +
                             " is singular; an equation without a time derivative needs the direct march");
      }
    }
  return out;
}

class ImexMarch final : public LinearMarch {
 public:
  explicit ImexMarch(const SplitMatrices& matrices)
      : LinearMarch(static_cast<int>(matrices.dt.size()), matrices.slope.cells, matrices.slope.unknowns,
                    true),
        substeps_(matrices.substeps),
        dt_(matrices.dt) {
    for (const StencilFrames* part : {&matrices.slope, &matrices.stiff, &matrices.gentle})
      RANKINE_ASSERT(part->frames == frames() + 1 && part->cells == cells() && part->unknowns == unknowns() &&
                         part->periodic == matrices.slope.periodic,
                     "IMEX march: every part must have the frames of the march and the initial one");
    RANKINE_ASSERT(matrices.slope.reach == 0 && substeps_ >= 1 && matrices.theta.size() == dt_.size(),
                   "IMEX march: a slope of reach 0, one theta a step, at least one substep");
    slope_ = interpolate(matrices.slope, substeps_);
    inverse_slope_ = inverse_blocks(slope_, substeps_);
    gentle_ = interpolate(matrices.gentle, substeps_);
    for (const double theta : matrices.theta) {
      // Exact in the mean time at which the residual acts; it acts before a substep, never after the last.
      const double place = std::min(substeps_ * (1 - theta), substeps_ - 1.0);
      for (int s = 0; s < substeps_; ++s) share_.push_back(std::max(0.0, 1 - std::abs(place - s)));
    }
    implicit_.emplace(factor(matrices));
  }

 private:
  BandedMarch factor(const SplitMatrices& matrices) {
    const StencilFrames stiff = interpolate(matrices.stiff, substeps_);
    StencilFrames implicit = stiff.shaped(frames() * substeps_);
    const size_t size = implicit.frame_size();
    for (int k = 0; k < implicit.frames; ++k) {
      for (size_t at = 0; at < size; ++at)
        implicit.values[k * size + at] = -substep(k) * stiff.values[(k + 1) * size + at];
      for (int i = 0; i < cells(); ++i) {
        const double* slope = slope_.at(k + 1, i, 0);
        double* block = implicit.at(k, i, 0);
        for (size_t b = 0; b < implicit.block(); ++b) block[b] += slope[b];
      }
    }
    std::vector<int> factor_of_frame;
    const std::vector<int> firsts = distinct_matrices(implicit, factor_of_frame);
    return {implicit, firsts, std::move(factor_of_frame), {}};
  }

  double substep(int k) const { return dt_[k / substeps_] / substeps_; }

  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    transposed ? backward(rhs, solution, columns) : forward(rhs, solution, columns);
    const size_t size = static_cast<size_t>(frames()) * width() * columns;
    if (!std::all_of(solution, solution + size, [](double x) { return std::isfinite(x); }))
      throw NumericalError(
          "IMEX march: the result is not finite; where the residual was, the explicit part is "
          "unstable with " +
          std::to_string(substeps_) + " substeps a step: take more of them, or the direct march");
  }

  void forward(const double* rhs, double* solution, int columns) const {
    const size_t size = static_cast<size_t>(width()) * columns;
    std::vector<double> e(size), q(size), g(size), next(size), predicted(size);
    for (int k = 0; k < frames() * substeps_; ++k) {
      const int frame = k / substeps_;
      const double h = substep(k), share = share_[k];
      std::fill(q.begin(), q.end(), 0.0);
      slope_.add_product(k, 1, e.data(), columns, q.data());
      if (share != 0) {
        const double* r = rhs + frame * size;
        for (size_t i = 0; i < size; ++i) q[i] += share * r[i];
        inverse_slope_.add_product(k, share, r, columns, e.data());
      }
      std::fill(g.begin(), g.end(), 0.0);
      gentle_.add_product(k, 1, e.data(), columns, g.data());
      for (size_t i = 0; i < size; ++i) {
        next[i] = q[i] + h * g[i];
        q[i] += h / 2 * g[i];
      }
      std::fill(predicted.begin(), predicted.end(), 0.0);
      inverse_slope_.add_product(k + 1, 1, next.data(), columns, predicted.data());
      gentle_.add_product(k + 1, h / 2, predicted.data(), columns, q.data());
      implicit_->solve_frame(k, q.data(), e.data(), columns, false);
      if ((k + 1) % substeps_ == 0) std::copy(e.begin(), e.end(), solution + frame * size);
    }
  }

  void backward(const double* rhs, double* solution, int columns) const {
    const size_t size = static_cast<size_t>(width()) * columns;
    std::vector<double> e(size), q(size), g(size), next(size), predicted(size), r(size);
    for (int k = frames() * substeps_ - 1; k >= 0; --k) {
      const int frame = k / substeps_;
      const double h = substep(k), share = share_[k];
      if ((k + 1) % substeps_ == 0) {
        for (size_t i = 0; i < size; ++i) e[i] += rhs[frame * size + i];
        std::fill(r.begin(), r.end(), 0.0);
      }
      implicit_->solve_frame(k, e.data(), q.data(), columns, true);
      std::fill(predicted.begin(), predicted.end(), 0.0);
      gentle_.add_transposed_product(k + 1, h / 2, q.data(), columns, predicted.data());
      std::fill(next.begin(), next.end(), 0.0);
      inverse_slope_.add_transposed_product(k + 1, 1, predicted.data(), columns, next.data());
      for (size_t i = 0; i < size; ++i) {
        g[i] = h / 2 * q[i] + h * next[i];
        q[i] += next[i];
      }
      std::fill(e.begin(), e.end(), 0.0);
      gentle_.add_transposed_product(k, 1, g.data(), columns, e.data());
      if (share != 0) {
        for (size_t i = 0; i < size; ++i) r[i] += share * q[i];
        inverse_slope_.add_transposed_product(k, share, e.data(), columns, r.data());
      }
      slope_.add_transposed_product(k, 1, q.data(), columns, e.data());
      if (k % substeps_ == 0) std::copy(r.begin(), r.end(), solution + frame * size);
    }
  }

  int substeps_;
  std::vector<double> dt_, share_;                // share_: [substep]
  StencilFrames slope_, inverse_slope_, gentle_;  // at the ends of substeps
  std::optional<BandedMarch> implicit_;           // factors of all substeps
};

}  // namespace

std::unique_ptr<LinearMarch> make_imex_march(const SplitMatrices& matrices) {
  return std::make_unique<ImexMarch>(matrices);
}

}  // namespace rankine
