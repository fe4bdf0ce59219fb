#include "kernels/conservative_residual.hpp"

namespace rankine::kernels {
namespace {

/// out[c] = lower b[i-1] + diagonal b[i] + upper b[i+1] for one cell; neighbours outside are skipped.
inline double three_point(const ThreePointOperator& g, const double* frame, int cell, int columns, int c) {
  double sum = g.diagonal[cell] * frame[cell * columns + c];
  if (cell > 0) sum += g.lower[cell] * frame[(cell - 1) * columns + c];
  if (cell + 1 < g.size()) sum += g.upper[cell] * frame[(cell + 1) * columns + c];
  return sum;
}

inline double three_point_transposed(const ThreePointOperator& g, const double* frame, int cell) {
  double sum = g.diagonal[cell] * frame[cell];
  if (cell > 0) sum += g.upper[cell - 1] * frame[cell - 1];
  if (cell + 1 < g.size()) sum += g.lower[cell + 1] * frame[cell + 1];
  return sum;
}

/// out = ( m1 b1 - dt th G b1 ) / scale, minus ( m0 b0 + dt (1-th) G b0 ) / scale where there is a previous
/// frame.
void apply_frame(const ThreePointOperator& g, const double* slope1, const double* slope0, const double* b1,
                 const double* b0, double implicit_weight, double explicit_weight, double inverse_scale,
                 int columns, double* out) {
  const int n = g.size();
  for (int i = 0; i < n; ++i) {
    double* o = out + static_cast<long>(i) * columns;
    const double* p1 = b1 + static_cast<long>(i) * columns;
    const double d1 = (slope1[i] - implicit_weight * g.diagonal[i]) * inverse_scale;
    for (int c = 0; c < columns; ++c) o[c] = d1 * p1[c];
    if (i > 0) {
      const double l = -implicit_weight * g.lower[i] * inverse_scale;
      for (int c = 0; c < columns; ++c) o[c] += l * p1[c - columns];
    }
    if (i + 1 < n) {
      const double u = -implicit_weight * g.upper[i] * inverse_scale;
      for (int c = 0; c < columns; ++c) o[c] += u * p1[c + columns];
    }
    if (b0 == nullptr) continue;
    const double* p0 = b0 + static_cast<long>(i) * columns;
    const double d0 = -(slope0[i] + explicit_weight * g.diagonal[i]) * inverse_scale;
    for (int c = 0; c < columns; ++c) o[c] += d0 * p0[c];
    if (explicit_weight == 0) continue;
    if (i > 0) {
      const double l = -explicit_weight * g.lower[i] * inverse_scale;
      for (int c = 0; c < columns; ++c) o[c] += l * p0[c - columns];
    }
    if (i + 1 < n) {
      const double u = -explicit_weight * g.upper[i] * inverse_scale;
      for (int c = 0; c < columns; ++c) o[c] += u * p0[c + columns];
    }
  }
}

}  // namespace

void ConservativeResidual::evaluate(const StorageFields& storage, std::span<const double> u,
                                    std::span<double> r) const {
  const int n = cells();
  std::vector<double> g0(n), g1(n);
  const auto flux_difference = [&](const double* frame, std::vector<double>& g) {
    for (int i = 0; i < n; ++i) g[i] = three_point(flux, frame, i, 1, 0) + flux.constant[i];
  };
  flux_difference(u.data(), g0);
  for (int j = 0; j < frames(); ++j) {
    const double* m0 = &storage.value[static_cast<long>(j) * n];
    const double implicit_weight = time.dt[j] * time.theta[j],
                 explicit_weight = time.dt[j] * (1 - time.theta[j]);
    flux_difference(&u[static_cast<long>(j + 1) * n], g1);
    for (int i = 0; i < n; ++i)
      r[static_cast<long>(j) * n + i] =
          (m0[n + i] - m0[i] - implicit_weight * g1[i] - explicit_weight * g0[i]) / scale;
    std::swap(g0, g1);
  }
}

void ConservativeResidual::apply(const StorageFields& storage, std::span<const double> b, int columns,
                                 std::span<double> out) const {
  const long n = cells(), frame = n * columns;
  for (int j = 0; j < frames(); ++j)
    apply_frame(flux, &storage.slope[(j + 1) * n], &storage.slope[j * n], &b[j * frame],
                j == 0 ? nullptr : &b[(j - 1) * frame], time.dt[j] * time.theta[j],
                time.dt[j] * (1 - time.theta[j]), 1 / scale, columns, &out[j * frame]);
}

void ConservativeResidual::apply_transpose(const StorageFields& storage, std::span<const double> s,
                                           std::span<double> out) const {
  const long n = cells();
  std::vector<double> weighted(n);
  for (int j = 0; j < frames(); ++j) {
    const bool last = j + 1 == frames();
    const double* s1 = &s[j * n];
    const double* s2 = last ? nullptr : s1 + n;
    const double now = time.dt[j] * time.theta[j], next = last ? 0 : time.dt[j + 1] * (1 - time.theta[j + 1]);
    for (long i = 0; i < n; ++i) weighted[i] = now * s1[i] + (last ? 0 : next * s2[i]);
    const double* slope = &storage.slope[(j + 1) * n];
    for (int i = 0; i < n; ++i)
      out[j * n + i] =
          (slope[i] * (s1[i] - (last ? 0 : s2[i])) - three_point_transposed(flux, weighted.data(), i)) /
          scale;
  }
}

void ConservativeResidual::curvature_weight(const StorageFields& storage, std::span<const double> p,
                                            std::span<double> weight) const {
  const long n = cells();
  for (int j = 0; j < frames(); ++j) {
    const bool last = j + 1 == frames();
    for (long i = 0; i < n; ++i)
      weight[j * n + i] =
          storage.curvature[(j + 1) * n + i] * (p[j * n + i] - (last ? 0 : p[(j + 1) * n + i])) / scale;
  }
}

}  // namespace rankine::kernels
