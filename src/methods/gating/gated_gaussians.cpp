#include "src/methods/gating/gated_gaussians.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/lapack.hpp"

namespace rankine {
namespace {

double density(const GatedGaussian& e, double x, double y) {
  const double d = y - e.a * x - e.c;
  return std::exp(-0.5 * d * d / e.s) / std::sqrt(2 * std::numbers::pi * e.s);
}

double density(const GatedGaussians& model, std::span<const double> weights, double x, double y) {
  double sum = 0;
  for (std::size_t i = 0; i < model.size(); ++i)
    if (weights[i] > 0) sum += weights[i] * density(model[i], x, y);
  return sum;
}

}  // namespace

void gate_weights(const GatedGaussians& model, int active, double x, std::span<double> weights) {
  const std::size_t n = model.size();
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t before = 0;  // experts that the gate prefers
    for (std::size_t j = 0; j < n; ++j) {
      const double mine = model[i].b1 * x, other = model[j].b1 * x;
      before += other > mine || (other == mine && j < i);
    }
    weights[i] = before < static_cast<std::size_t>(active) ? model[i].b1 * x + model[i].b0 : -HUGE_VAL;
  }
  const double largest = *std::max_element(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(n));
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += weights[i] = std::exp(weights[i] - largest);
  for (std::size_t i = 0; i < n; ++i) weights[i] /= sum;
}

double mean_log_likelihood(const GatedGaussians& model, int active, std::span<const double> x,
                           std::span<const double> y) {
  std::vector<double> w(model.size());
  double sum = 0;
  for (std::size_t n = 0; n < x.size(); ++n) {
    gate_weights(model, active, x[n], w);
    sum += std::log(density(model, w, x[n], y[n]));
  }
  return sum / static_cast<double>(x.size());
}

void em_sweep(GatedGaussians& model, int active, std::span<const double> x, std::span<const double> y) {
  const std::size_t k = model.size(), gates = 2 * (k - 1);
  struct Sums {
    double r = 0, rx = 0, rxx = 0, ry = 0, rxy = 0, ryy = 0;
  };
  std::vector<Sums> sums(k);
  std::vector<double> w(k), r(k), slope(gates, 0.0), curvature(gates * gates, 0.0);
  for (std::size_t n = 0; n < x.size(); ++n) {
    gate_weights(model, active, x[n], w);
    double p = 0;
    for (std::size_t i = 0; i < k; ++i) p += r[i] = w[i] > 0 ? w[i] * density(model[i], x[n], y[n]) : 0;
    if (!(p > 0)) continue;  // too far from every expert to be anybody's
    for (std::size_t i = 0; i < k; ++i) {
      r[i] /= p;
      Sums& s = sums[i];
      s.r += r[i];
      s.rx += r[i] * x[n];
      s.rxx += r[i] * x[n] * x[n];
      s.ry += r[i] * y[n];
      s.rxy += r[i] * x[n] * y[n];
      s.ryy += r[i] * y[n] * y[n];
    }
    // Of sum_n sum_i r_i log w_i: the gradient, and minus the Hessian, in (b1, b0) of all but the last.
    const double of[2] = {x[n], 1};
    for (std::size_t i = 0; i + 1 < k; ++i)
      for (int u = 0; u < 2; ++u) {
        slope[2 * i + u] += (r[i] - w[i]) * of[u];
        for (std::size_t j = 0; j + 1 < k; ++j)
          for (int v = 0; v < 2; ++v)
            curvature[(2 * i + u) * gates + 2 * j + v] += ((i == j ? w[i] : 0) - w[i] * w[j]) * of[u] * of[v];
      }
  }
  for (std::size_t i = 0; i < k; ++i) {
    const Sums& s = sums[i];
    const double determinant = s.r * s.rxx - s.rx * s.rx;
    if (!(determinant > 1e-12 * s.r * s.rxx)) continue;
    GatedGaussian& e = model[i];
    e.a = (s.r * s.rxy - s.rx * s.ry) / determinant;
    e.c = (s.ry - e.a * s.rx) / s.r;
    const double squares =
        s.ryy - 2 * e.a * s.rxy - 2 * e.c * s.ry + e.a * e.a * s.rxx + 2 * e.a * e.c * s.rx + e.c * e.c * s.r;
    e.s = std::max(squares / s.r, 1e-6);
  }
  // A ridge keeps gates whose experts are never apart from running away.
  for (std::size_t g = 0; g < gates; ++g) curvature[g * gates + g] += 1e-9 * static_cast<double>(x.size());
  if (gates == 0 || !lapack::solve_spd(curvature, static_cast<int>(gates), slope)) return;
  double longest = 0;
  for (const double d : slope) longest = std::max(longest, std::abs(d));
  const double factor = longest > 1 ? 1 / longest : 1;  // far from the optimum
  for (std::size_t i = 0; i + 1 < k; ++i) {
    model[i].b1 += factor * slope[2 * i];
    model[i].b0 += factor * slope[2 * i + 1];
  }
}

double hellinger_distance(const GatedGaussians& p, int active_p, const GatedGaussians& q, int active_q,
                          int points, double reach) {
  const int steps = 100 * static_cast<int>(reach);
  const double dy = 2 * reach / steps;
  std::vector<double> wp(p.size()), wq(q.size());
  double sum = 0;
  for (int i = 0; i < points; ++i) {
    const double x = -1 + 2.0 * i / (points - 1);
    gate_weights(p, active_p, x, wp);
    gate_weights(q, active_q, x, wq);
    double squares = 0;
    for (int j = 0; j <= steps; ++j) {
      const double y = -reach + j * dy;
      const double d = std::sqrt(density(p, wp, x, y)) - std::sqrt(density(q, wq, x, y));
      squares += d * d * (j == 0 || j == steps ? 0.5 : 1.0);
    }
    sum += std::sqrt(0.5 * squares * dy) * (i == 0 || i == points - 1 ? 0.5 : 1.0);
  }
  return sum / (points - 1);
}

std::vector<int> voronoi_cells(const GatedGaussians& model, const GatedGaussians& truth) {
  std::vector<int> cells;
  for (const GatedGaussian& e : model) {
    const auto distance = [&](const GatedGaussian& t) {
      return std::hypot(std::hypot(e.b1 - t.b1, e.a - t.a), std::hypot(e.c - t.c, e.s - t.s));
    };
    cells.push_back(static_cast<int>(
        std::min_element(truth.begin(), truth.end(),
                         [&](const auto& t, const auto& u) { return distance(t) < distance(u); }) -
        truth.begin()));
  }
  return cells;
}

}  // namespace rankine
