#include "src/probe/scores.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"

namespace rankine {

std::vector<Judgement> judge(const Tensor& outputs, const Tensor& targets) {
  const std::vector<double> scores = outputs.to_vector(), labels = targets.to_vector();
  const auto classes = static_cast<std::size_t>(outputs.extent(-1));
  RANKINE_ASSERT(scores.size() == labels.size() * classes, "outputs and targets do not fit");
  std::vector<Judgement> out;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::span<const double> row(scores.data() + i * classes, classes);
    const auto label = static_cast<std::size_t>(labels[i]);
    const auto first = std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const double score : row) sum += std::exp(score - *first);
    Judgement j{1 / sum, first == row.begin() + static_cast<std::ptrdiff_t>(label),
                *first - row[label] + std::log(sum), 0};
    for (std::size_t c = 0; c < classes; ++c) {
      const double miss = std::exp(row[c] - *first) / sum - (c == label ? 1 : 0);
      j.brier += miss * miss;
    }
    out.push_back(j);
  }
  return out;
}

double calibration_error(std::span<const double> confidence, std::span<const double> right, int bins) {
  std::vector<double> sure(static_cast<std::size_t>(bins)), hits(sure);
  for (std::size_t i = 0; i < confidence.size(); ++i) {
    const double place = std::ceil(confidence[i] * bins) - 1;
    const auto bin = static_cast<std::size_t>(std::clamp(place, 0.0, bins - 1.0));
    sure[bin] += confidence[i];
    hits[bin] += right[i];
  }
  double error = 0;
  for (std::size_t b = 0; b < sure.size(); ++b) error += std::abs(hits[b] - sure[b]);
  return error / static_cast<double>(confidence.size());
}

RiskCoverageArea risk_coverage_area(std::span<const double> confidence, std::span<const double> right) {
  std::vector<std::size_t> order(confidence.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return confidence[a] > confidence[b]; });
  const auto count = static_cast<double>(order.size());
  const double hits = std::accumulate(right.begin(), right.end(), 0.0);
  double errors = 0, area = 0, best = 0, k = 0;
  for (const std::size_t i : order) {
    errors += 1 - right[i];
    k += 1;
    area += errors / k;
    best += std::max(k - hits, 0.0) / k;
  }
  return {area / count, (area - best) / count};
}

double ranking_probability(std::span<const double> above, std::span<const double> below) {
  std::vector<double> sorted(below.begin(), below.end());
  std::sort(sorted.begin(), sorted.end());
  double smaller = 0;
  for (const double x : above) {
    const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), x);
    smaller += 0.5 * static_cast<double>((low - sorted.begin()) + (high - sorted.begin()));
  }
  return smaller / static_cast<double>(above.size()) / static_cast<double>(below.size());
}

}  // namespace rankine
