#include "src/nn/input_statistics.hpp"

#include <algorithm>
#include <cmath>

#include "src/tensor/ops.hpp"

namespace rankine {

double InputMoments::variance(std::size_t feature) const {
  return std::max(0.0, squares[feature] / count - mean(feature) * mean(feature));
}

double InputMoments::norm(std::size_t feature) const { return std::sqrt(squares[feature]); }

std::vector<std::size_t> InputMoments::features(const Shape& weight) const {
  const std::size_t all = sums.size(), rows = static_cast<std::size_t>(weight[0]),
                    entries = static_cast<std::size_t>(weight.count()) / rows;
  const std::size_t columns = transposed ? 1 : static_cast<std::size_t>(weight[1]), taps = entries / columns,
                    in_group = transposed ? 0 : rows / (all / columns);
  std::vector<std::size_t> out;
  out.reserve(rows * entries);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < entries; ++i)
      out.push_back(transposed ? row : row / in_group * columns + i / taps);
  return out;
}

void InputStatistics::see(const std::string& weight, const Tensor& x, int axis, bool transposed) {
  const NoGrad off;
  const Tensor values = cast(x.detach(), DType::f64);
  std::vector<int> others;
  for (int a = 0; a < x.rank(); ++a)
    if (a != axis) others.push_back(a);
  const std::vector<double> sums = sum(values, others).to_vector(),
                            squares = sum(square(values), others).to_vector();
  InputMoments& to = moments_[weight];
  to.transposed = transposed;
  to.count += static_cast<double>(x.count() / x.extent(axis));
  to.sums.resize(sums.size());
  to.squares.resize(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    to.sums[i] += sums[i];
    to.squares[i] += squares[i];
  }
}

const InputMoments* InputStatistics::find(const std::string& weight) const {
  const auto found = moments_.find(weight);
  return found == moments_.end() ? nullptr : &found->second;
}

}  // namespace rankine
