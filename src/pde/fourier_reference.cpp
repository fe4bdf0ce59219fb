#include "src/pde/fourier_reference.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/fourier_scheme.hpp"

namespace rankine {

std::vector<double> fourier_reference(const Pde& pde, double rtol, std::span<const double> initial,
                                      const SchemeParameters& parameters, const Grid& fine,
                                      const Grid& coarse, std::span<const double> times) {
  std::vector<double> x = fine.centres();
  x.insert(x.end(), parameters.fields.begin(), parameters.fields.end());
  const FourierScheme scheme(pde, fine, parameters.values, std::move(x));
  const std::vector<double> start = scheme.kept(initial), zero{0};
  const size_t m = pde.unknowns();
  // Substeps of the interval that ends at times[j], of at most the length h.
  const auto substeps = [&](size_t j, double h) {
    const double interval = times[j] - (j > 0 ? times[j - 1] : 0);
    return interval > 0 ? std::max(1L, std::lround(std::ceil(interval / h * (1 - 1e-12)))) : 0;
  };
  const auto steps = [&](double h) {
    long sum = 0;
    for (size_t j = 0; j < times.size(); ++j) sum += substeps(j, h);
    return sum;
  };
  const auto solve = [&](double h) {
    std::vector<double> all, u = start;
    for (size_t j = 0; j < times.size(); ++j) {
      const double begin = j > 0 ? times[j - 1] : 0;
      if (const long n = substeps(j, h); n > 0)
        u = scheme.advance(u, {&begin, 1}, times[j] - begin, static_cast<int>(n));
      all.insert(all.end(), u.begin(), u.end());
    }
    return all;
  };
  const auto difference = [&](const std::vector<double>& a, const std::vector<double>& b) {
    double largest = 0;
    for (size_t k = 0; k < m; ++k) {
      double size = 0, distance = 0;
      for (size_t i = k; i < a.size(); i += m) {
        size += b[i] * b[i];
        distance += (a[i] - b[i]) * (a[i] - b[i]);
      }
      if (std::isnan(distance) || distance > 0)
        largest = std::max(largest, std::isfinite(distance / size) ? std::sqrt(distance / size) : HUGE_VAL);
    }
    return largest;
  };
  const double stable = scheme.stable_step(scheme.arguments(start), zero);
  if (!(stable > 0))
    throw NumericalError(
        "reference solution: flux or source have no finite slopes at the initial state; change "
        "the initial states or the terms");
  double longest = 0;
  for (size_t j = 0; j < times.size(); ++j)
    longest = std::max(longest, times[j] - (j > 0 ? times[j - 1] : 0));
  if (longest == 0) return resampled(solve(1), fine, coarse, static_cast<int>(m));
  double h = longest / std::max(1.0, std::ceil(std::min(longest / stable, 1e9))), gap = HUGE_VAL;
  std::vector<double> rough;
  for (;; h /= 2) {
    if (steps(h / 2) > pde.reference_steps())
      throw NumericalError(
          "reference solution: more than pde.reference_steps = " + std::to_string(pde.reference_steps()) +
          " steps would be needed" +
          (std::isfinite(gap) ? " (with half of them it still differs by " + shortest(gap) +
                                    "; allowed: pde.reference_rtol = " + shortest(rtol) + ")"
                              : "") +
          "; at the start explicit steps are stable up to " + shortest(stable) + " " + pde.time_unit() +
          ": allow more, take fewer cells or a larger tolerance, or end before (pde.duration) "
          "if the solution blows up");
    if (rough.empty()) rough = solve(h);
    std::vector<double> better = solve(h / 2);
    gap = difference(rough, better);
    if (gap < rtol) break;
    rough = std::move(better);
  }
  return resampled(rough, fine, coarse, static_cast<int>(m));
}

std::vector<double> resampled(std::span<const double> values, const Grid& fine, const Grid& coarse,
                              int unknowns) {
  std::vector<double> from(values.begin(), values.end());
  // One axis after the other: [rows and axes before][this axis][axes behind and unknowns].
  size_t inner = unknowns;
  for (int axis = fine.axes() - 1; axis >= 0; --axis) {
    const size_t n = fine.cells(axis), to = coarse.cells(axis), outer = from.size() / (n * inner);
    if (n != to) {
      const size_t waves = (std::min(n, to) - 1) / 2;
      std::vector<double> out(outer * to * inner, 0.0);
      for (size_t c = 0; c < to; ++c)
        for (size_t f = 0; f < n; ++f) {
          const double phase = 2 * std::numbers::pi *
                               ((static_cast<double>(c) + 0.5) / static_cast<double>(to) -
                                (static_cast<double>(f) + 0.5) / static_cast<double>(n));
          double weight = 1;
          for (size_t k = 1; k <= waves; ++k) weight += 2 * std::cos(phase * static_cast<double>(k));
          weight /= static_cast<double>(n);
          for (size_t o = 0; o < outer; ++o)
            for (size_t i = 0; i < inner; ++i)
              out[(o * to + c) * inner + i] += weight * from[(o * n + f) * inner + i];
        }
      from = std::move(out);
    }
    inner *= to;
  }
  return from;
}

}  // namespace rankine
