#include "src/data/interpolation.hpp"

#include <algorithm>
#include <cmath>

namespace rankine {

LagrangeRow lagrange_row(std::span<const double> nodes, double at) {
  const int n = static_cast<int>(nodes.size()), width = std::min(4, n);
  const int right =
      static_cast<int>(std::lower_bound(nodes.begin(), nodes.end(), at * (1 - 1e-14)) - nodes.begin());
  LagrangeRow row;
  row.first = std::clamp(right - width / 2, 0, n - width);
  for (int a = 0; a < width; ++a) {
    double weight = 1;
    for (int b = 0; b < width; ++b) {
      const double sa = nodes[row.first + a], sb = nodes[row.first + b];
      if (b != a) weight *= (at - sb) / (sa - sb);
    }
    row.weights.push_back(weight);
  }
  return row;
}

FrameInterpolation::FrameInterpolation(std::vector<double> from, std::vector<double> to, bool in_root) {
  if (in_root)
    for (std::vector<double>* times : {&from, &to})
      for (double& t : *times) t = std::sqrt(t);
  for (double s : to) rows_.push_back(lagrange_row(from, s));
}

std::vector<double> FrameInterpolation::operator()(std::span<const double> u, int width) const {
  std::vector<double> out(rows_.size() * width, 0.0);
  for (size_t j = 0; j < rows_.size(); ++j)
    for (size_t a = 0; a < rows_[j].weights.size(); ++a) {
      const double weight = rows_[j].weights[a];
      if (weight == 0) continue;
      for (int i = 0; i < width; ++i) out[j * width + i] += weight * u[(rows_[j].first + a) * width + i];
    }
  return out;
}

}  // namespace rankine
