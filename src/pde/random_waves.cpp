#include "src/pde/random_waves.hpp"

#include <cmath>
#include <map>
#include <numbers>

#include "kernels/error.hpp"

namespace rankine {

double RandomWaves::numbers(const std::vector<Axis>& axes) {
  double product = 1;
  for (const Axis& axis : axes) product *= axis.factors();
  return product;
}

RandomWaves::RandomWaves(std::vector<Axis> axes, const std::function<double(const Waves&)>& weight,
                         double amplitude)
    : axes_(std::move(axes)) {
  RANKINE_ASSERT(numbers(axes_) <= max_numbers, "too many waves");
  weights_.resize(static_cast<std::size_t>(numbers(axes_)));
  double variance = 0;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    Waves waves{};
    double share = 1;  // cosine and sine of a pair have the variance of its weight together
    std::size_t rest = i;
    for (std::size_t axis = axes_.size(); axis-- > 0;) {
      const auto count = static_cast<std::size_t>(axes_[axis].factors());
      waves[axis] = axes_[axis].wave_number(static_cast<int>(rest % count));
      if (axes_[axis].kind == Kind::pairs && waves[axis] > 0) share *= 0.5;
      rest /= count;
    }
    weights_[i] = weight(waves);
    variance += share * weights_[i] * weights_[i];
  }
  for (double& w : weights_) w *= variance > 0 ? amplitude / std::sqrt(variance) : 0;
}

std::vector<double> RandomWaves::factors(const Axis& axis, double x) const {
  std::vector<double> result(static_cast<std::size_t>(axis.factors()));
  for (int i = 0; i < axis.factors(); ++i) {
    const int k = axis.wave_number(i);
    const double phase = axis.wave * k * x;
    const bool sine = axis.kind == Kind::sines || (axis.kind == Kind::pairs && i % 2 == 0);
    const double size = axis.kind == Kind::pairs ? 1 : std::numbers::sqrt2;
    result[static_cast<std::size_t>(i)] = k == 0 ? 1 : size * (sine ? std::sin(phase) : std::cos(phase));
  }
  return result;
}

void RandomWaves::add(std::span<const double> numbers, std::span<const double> x,
                      std::span<double> out) const {
  const std::size_t d = axes_.size(), count = out.size();
  RANKINE_ASSERT(numbers.size() == weights_.size() && x.size() == d * count,
                 "numbers or points of another field");
  // The sums over the factors of the first axes at the present point, [factor of the other axes].
  std::vector<std::vector<double>> sums(d + 1);
  sums[0].resize(weights_.size());
  for (std::size_t i = 0; i < weights_.size(); ++i) sums[0][i] = weights_[i] * numbers[i];
  std::vector<std::map<double, std::vector<double>>> known(d);
  constexpr std::size_t max_known = 4096;  // coordinates of an axis whose factors are kept
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t axis = 0;
    while (i > 0 && axis < d && x[axis * count + i] == x[axis * count + i - 1]) ++axis;
    for (; axis < d; ++axis) {
      const double at = x[axis * count + i];
      if (known[axis].size() >= max_known) known[axis].clear();
      auto [factors_at, is_new] = known[axis].try_emplace(at);
      if (is_new) factors_at->second = factors(axes_[axis], at);
      const std::vector<double>& factor = factors_at->second;
      const std::size_t rest = sums[axis].size() / factor.size();
      sums[axis + 1].assign(rest, 0.0);
      for (std::size_t f = 0; f < factor.size(); ++f)
        for (std::size_t j = 0; j < rest; ++j) sums[axis + 1][j] += factor[f] * sums[axis][f * rest + j];
    }
    out[i] += sums[d][0];
  }
}

}  // namespace rankine
