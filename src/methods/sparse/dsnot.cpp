#include "src/methods/sparse/dsnot.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rankine {

void Dsnot::options(OptionVisitor& o) {
  o("cycles", cycles_, {.help = "most swaps in a row; 0: none", .min = 0});
  o("threshold", threshold_, {.help = "error at which a row is left alone, relative to its first", .min = 0});
}

void Dsnot::refine(const RefinedPart& part, std::span<double> mask) const {
  constexpr double tiny = std::numeric_limits<double>::min();
  for (std::size_t row = 0; row < part.rows; ++row) {
    const std::size_t first = row * part.columns, last = first + part.columns;
    const auto share = [&](std::size_t j) { return part.weights[j] * part.means[j]; };
    // By the sign of the share: candidates for coming back and for going, the best last.
    std::vector<std::size_t> back[2], out[2];
    double error = 0;
    for (std::size_t j = first; j < last; ++j) {
      if (mask[j] == 0) error += share(j);
      if (share(j) != 0) (mask[j] == 0 ? back : out)[share(j) > 0].push_back(j);
    }
    const auto sort_by = [](std::vector<std::size_t>& list, const auto& key) {
      std::stable_sort(list.begin(), list.end(),
                       [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    };
    for (const int sign : {0, 1}) {
      sort_by(back[sign],
              [&](std::size_t j) { return std::abs(share(j)) / std::max(part.variances[j], tiny); });
      sort_by(out[sign], [&](std::size_t j) { return -std::abs(part.weights[j]) * part.norms[j]; });
    }
    const double enough = threshold_ * std::abs(error);
    for (int cycle = 0; cycle < cycles_ && std::abs(error) > enough; ++cycle) {
      const bool positive = error > 0;
      if (back[positive].empty() || out[!positive].empty()) break;
      const std::size_t comes = back[positive].back(), goes = out[!positive].back();
      back[positive].pop_back();
      out[!positive].pop_back();
      mask[comes] = 1;
      mask[goes] = 0;
      error += share(goes) - share(comes);
    }
  }
}

}  // namespace rankine
