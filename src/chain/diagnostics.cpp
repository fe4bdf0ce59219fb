#include "src/chain/diagnostics.hpp"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "src/core/statistics.hpp"

namespace rankine {
namespace {

using Halves = std::vector<std::vector<double>>;

Halves halves(std::span<const double> draws, std::size_t chains) {
  const std::size_t length = draws.size() / chains, half = length / 2;
  Halves out;
  for (std::size_t c = 0; c < chains; ++c)
    for (const std::size_t from : {c * length, (c + 1) * length - half}) {
      const auto part = draws.subspan(from, half);
      out.emplace_back(part.begin(), part.end());
    }
  return out;
}

/// The variance within the parts, and the variance of a draw by eq. 3.
struct Variances {
  double within = 0, total = 0;
};
Variances variances(const Halves& parts) {
  std::vector<double> means, squares;
  for (const std::vector<double>& part : parts) {
    means.push_back(mean(part));
    squares.push_back(std::pow(standard_deviation(part), 2));
  }
  const auto n = static_cast<double>(parts.front().size());
  const double within = mean(squares);
  return {within, (n - 1) / n * within + std::pow(standard_deviation(means), 2)};
}

double r_hat(const Halves& parts) {
  const Variances v = variances(parts);
  return std::sqrt(v.total / v.within);
}

/// The normal quantiles of the ranks (eq. 14). Equal values get the mean of their ranks.
std::vector<double> normal_scores(std::span<const double> values) {
  const std::size_t n = values.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> out(n);
  for (std::size_t from = 0, to = 0; from < n; from = to) {
    while (to < n && values[order[to]] == values[order[from]]) ++to;
    const double rank = 0.5 * static_cast<double>(from + 1 + to);
    const double score =
        boost::math::quantile(boost::math::normal(), (rank - 0.375) / (static_cast<double>(n) + 0.25));
    for (std::size_t i = from; i < to; ++i) out[order[i]] = score;
  }
  return out;
}

double effective_draws(const Halves& parts, const Variances& v) {
  const std::size_t n = parts.front().size();
  const double all = static_cast<double>(n * parts.size());
  std::vector<double> means;
  for (const std::vector<double>& part : parts) means.push_back(mean(part));
  const auto correlation = [&](std::size_t lag) {
    double covariance = 0;
    for (std::size_t p = 0; p < parts.size(); ++p)
      for (std::size_t i = 0; i + lag < n; ++i)
        covariance += (parts[p][i] - means[p]) * (parts[p][i + lag] - means[p]);
    return 1 - (v.within - covariance / all) / v.total;
  };
  double sum = 0, before = std::numeric_limits<double>::infinity();
  for (std::size_t lag = 0; lag + 1 < n; lag += 2) {
    const double pair = (lag == 0 ? 1 : correlation(lag)) + correlation(lag + 1);
    if (!(pair > 0)) break;
    before = std::min(before, pair);
    sum += before;
  }
  return std::min(all / (2 * sum - 1), all * std::log10(all));
}

}  // namespace

ChainDiagnosis diagnose(std::span<const double> draws, std::int64_t chains) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto count = static_cast<std::size_t>(chains);
  ChainDiagnosis out{mean(draws), nan, nan, nan};
  const auto [least, largest] = std::minmax_element(draws.begin(), draws.end());
  if (draws.size() < 4 * count || *least == *largest) return out;
  const Halves parts = halves(draws, count);
  const Variances v = variances(parts);
  out.ess = effective_draws(parts, v);
  out.standard_error = std::sqrt(v.total / out.ess);
  const double middle = quantile({draws.begin(), draws.end()}, 0.5);
  std::vector<double> folded;
  for (const double x : draws) folded.push_back(std::abs(x - middle));
  const double bulk = r_hat(halves(normal_scores(draws), count)),
               tails = r_hat(halves(normal_scores(folded), count));
  out.r_hat = std::isfinite(tails) ? std::max(bulk, tails)
                                   : bulk;  // if draws have two values only, folded ones are constant
  return out;
}

}  // namespace rankine
