#include "src/chain/targets.hpp"

#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "kernels/lapack.hpp"
#include "src/chain/vector_spins.hpp"
#include "src/core/random.hpp"

namespace rankine {
namespace {

class GaussianProblem final : public ChainProblem {
 public:
  GaussianProblem(const std::vector<double>& mean, const std::vector<double>& precision,
                  const RandomStream& random, std::int64_t chain)
      : mean_(mean), precision_(precision), start_(mean.size()) {
    random.fill_normal<double>(start_, 0, chain);
  }
  std::vector<double> start() const override { return start_; }
  void measure(std::span<const double> x, std::span<double> values) const override {
    const std::size_t n = x.size();
    for (std::size_t i = 0; i < n; ++i) {
      values[i] = x[i];
      values[n + i] = x[i] * x[i];
    }
    values[2 * n] = energy(x);
  }
  double energy(std::span<const double> x) const override {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += 0.5 * (x[i] - mean_[i]) * slope(x, i);
    return sum;
  }
  void gradient(std::span<const double> x, std::span<double> of_energy) const override {
    for (std::size_t i = 0; i < x.size(); ++i) of_energy[i] = slope(x, i);
  }
  SiteConditional conditional(std::span<const double> x, std::size_t i) const override {
    const double own = precision_[i * x.size() + i];
    return {x[i] - slope(x, i) / own, 1 / std::sqrt(own)};
  }

 private:
  double slope(std::span<const double> x, std::size_t i) const {
    double sum = 0;
    for (std::size_t j = 0; j < x.size(); ++j) sum += precision_[i * x.size() + j] * (x[j] - mean_[j]);
    return sum;
  }
  std::vector<double> mean_, precision_, start_;
};

class IsingProblem final : public ChainProblem {
 public:
  IsingProblem(const IsingTarget::Options& options, std::size_t n, const RandomStream& random,
               std::int64_t chain)
      : o_(options), start_(n), neighbours_(n) {
    for (std::size_t i = 0; i < n; ++i)
      start_[i] = random.uniform(0, chain, static_cast<std::int64_t>(i)) < 0.5 ? 1 : -1;
    if (complete()) return;
    const auto join = [&](int i, int j) {
      neighbours_[static_cast<std::size_t>(i)].push_back(j);
      neighbours_[static_cast<std::size_t>(j)].push_back(i);
    };
    // With two rows or columns, the periodic neighbour is the direct neighbour already.
    for (int r = 0; r < o_.rows; ++r)
      for (int c = 0; c < o_.columns; ++c) {
        const int here = r * o_.columns + c;
        if (c + 1 < o_.columns || (o_.periodic && o_.columns > 2))
          join(here, r * o_.columns + (c + 1) % o_.columns);
        if (r + 1 < o_.rows || (o_.periodic && o_.rows > 2)) join(here, (r + 1) % o_.rows * o_.columns + c);
      }
  }
  std::vector<double> start() const override { return start_; }
  void measure(std::span<const double> x, std::span<double> values) const override {
    const auto n = static_cast<double>(x.size());
    double sum = 0;
    for (const double v : x) sum += v;
    values[0] = energy(x) * o_.temperature / n;
    values[1] = sum / n;
    values[2] = std::abs(sum) / n;
  }
  double energy(std::span<const double> x) const override {
    double pairs = 0, sum = 0, squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      sum += x[i];
      squares += x[i] * x[i];
      for (const int j : neighbours_[i]) pairs += 0.5 * x[i] * x[static_cast<std::size_t>(j)];
    }
    if (complete()) pairs = 0.5 * (sum * sum - squares) / static_cast<double>(x.size());
    return -(o_.coupling * pairs + o_.field * sum) / o_.temperature;
  }
  SiteConditional conditional(std::span<const double> x, std::size_t i) const override {
    double around = 0;
    for (const int j : neighbours_[i]) around += x[static_cast<std::size_t>(j)];
    if (complete()) around = (sum_ - x[i]) / static_cast<double>(x.size());
    return {(o_.coupling * around + o_.field) / o_.temperature, 0};
  }
  void begin(std::span<const double> x) override {
    sum_ = 0;
    for (const double v : x) sum_ += v;
  }
  void changed(std::span<const double> x, std::size_t i, double before) override { sum_ += x[i] - before; }

 private:
  bool complete() const { return o_.graph == "complete"; }
  IsingTarget::Options o_;
  std::vector<double> start_;
  std::vector<std::vector<int>> neighbours_;
  double sum_ = 0;
};

class HopfieldProblem final : public VectorSpins {
 public:
  HopfieldProblem(const HopfieldTarget::Options& options, std::uint64_t seed, std::int64_t chain)
      : o_(options), start_(static_cast<std::size_t>(o_.spins)) {
    const RandomStream random(seed, "chain/patterns"), start(seed, "chain/start");
    std::vector<double> patterns;
    for (std::int64_t i = 0; i < o_.spins; ++i) {
      for (std::int64_t p = 0; p < o_.patterns; ++p)
        patterns.push_back(random.uniform(0, p, i) < 0.5 ? 1 : -1);
      const auto at = static_cast<std::size_t>(i);
      first_.push_back(patterns[at * static_cast<std::size_t>(o_.patterns)]);
      start_[at] = start.uniform(0, chain, i) < o_.turned ? -first_[at] : first_[at];
    }
    couple(std::move(patterns), start_.size());
  }
  std::vector<double> start() const override { return start_; }
  void measure(std::span<const double> x, std::span<double> values) const override {
    const auto n = static_cast<double>(x.size());
    values[0] = energy(x) * o_.temperature / n;
    values[1] = std::inner_product(first_.begin(), first_.end(), x.begin(), 0.0) / n;
  }
  double energy(std::span<const double> x) const override { return -pairs(x) / (2 * scale()); }
  SiteConditional conditional(std::span<const double> x, std::size_t i) const override {
    return {field(x, i) / scale(), 0};
  }

 private:
  double scale() const { return o_.spins * o_.temperature; }
  HopfieldTarget::Options o_;
  std::vector<double> first_, start_;
};

class GaussianRbmProblem final : public ChainProblem {
 public:
  GaussianRbmProblem(const GaussianRbmTarget::Options& options, std::uint64_t seed, std::int64_t chain)
      : o_(options),
        visible_(static_cast<std::size_t>(o_.visible)),
        hidden_(static_cast<std::size_t>(o_.hidden)),
        weights_(visible_ * hidden_),
        start_(visible_ + hidden_) {
    RandomStream(seed, "chain/weights").fill_normal<double>(weights_, 0, 0);
    for (double& w : weights_) w *= o_.weight;
    const RandomStream random(seed, "chain/start");
    random.fill_normal<double>(std::span(start_).first(visible_), 0, chain);
    for (std::size_t j = 0; j < hidden_; ++j)
      start_[visible_ + j] = random.uniform(0, chain, static_cast<std::int64_t>(j)) < 0.5 ? 1 : -1;
  }
  std::vector<double> start() const override { return start_; }
  void measure(std::span<const double> x, std::span<double> values) const override {
    double active = 0, squares = 0;
    for (std::size_t j = 0; j < hidden_; ++j) active += on(x, j);
    for (std::size_t i = 0; i < visible_; ++i) squares += x[i] * x[i];
    values[0] = energy(x);
    values[1] = active / static_cast<double>(hidden_);
    values[2] = squares / static_cast<double>(visible_);
  }
  double energy(std::span<const double> x) const override {
    double sum = 0;
    for (std::size_t i = 0; i < visible_; ++i)
      sum += 0.5 * std::pow((x[i] - o_.visible_bias) / o_.deviation, 2);
    for (std::size_t j = 0; j < hidden_; ++j) sum -= on(x, j) * input(x, j);
    return sum;
  }
  SiteConditional conditional(std::span<const double> x, std::size_t site) const override {
    if (site >= visible_) return {0.5 * input(x, site - visible_), 0};
    double mean = o_.visible_bias;
    for (std::size_t j = 0; j < hidden_; ++j) mean += weights_[site * hidden_ + j] * on(x, j);
    return {mean, o_.deviation};
  }

 private:
  /// The value of hidden unit j, 0 or 1; for a mean field, its mean.
  double on(std::span<const double> x, std::size_t j) const { return 0.5 * (1 + x[visible_ + j]); }
  /// The log odds of hidden unit j.
  double input(std::span<const double> x, std::size_t j) const {
    double sum = 0;
    for (std::size_t i = 0; i < visible_; ++i) sum += weights_[i * hidden_ + j] * x[i];
    return o_.hidden_bias + sum / (o_.deviation * o_.deviation);
  }
  GaussianRbmTarget::Options o_;
  std::size_t visible_, hidden_;
  std::vector<double> weights_, start_;
};

}  // namespace

void GaussianTarget::Options::options(OptionVisitor& o) {
  o("covariance", covariance, {.help = "row by row", .min_size = 1});
  o("mean", mean, {.help = "empty: zeros"});
}

void GaussianTarget::Options::validate(const DeckNode& node) const {
  std::size_t n = 0;
  while (n * n < covariance.size()) ++n;
  if (n * n != covariance.size())
    node.error_at("covariance",
                  fmt::format("covariance: {} numbers are no square matrix", covariance.size()));
  if (!mean.empty() && mean.size() != n)
    node.error_at("mean", fmt::format("mean: {} numbers for {} coordinates", mean.size(), n));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (covariance[i * n + j] != covariance[j * n + i])
        node.error_at("covariance", "covariance: it is not symmetric");
  std::vector<double> a = covariance, b(n, 0.0);
  if (!lapack::solve_spd(a, static_cast<int>(n), b))
    node.error_at("covariance", "covariance: it is not positive definite");
}

GaussianTarget::GaussianTarget(const Options& options) : mean_(options.mean) {
  const auto n =
      static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(options.covariance.size()))));
  mean_.resize(n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> a = options.covariance, column(n, 0.0);
    column[i] = 1;
    lapack::solve_spd(a, static_cast<int>(n), column);
    precision_.insert(precision_.end(), column.begin(), column.end());
  }
}

std::vector<MetricInfo> GaussianTarget::observables() const {
  std::vector<MetricInfo> out;
  for (const char* what : {"x", "square"})
    for (std::size_t i = 0; i < size(); ++i)
      out.push_back({fmt::format("{}{}", what, i), "1", "mean of a coordinate, or of its square"});
  out.push_back({"energy", "1", "mean of minus the log density, which is 0 at the mode"});
  return out;
}

std::unique_ptr<ChainProblem> GaussianTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<GaussianProblem>(mean_, precision_, RandomStream(seed, "chain/start"), chain);
}

void IsingTarget::Options::options(OptionVisitor& o) {
  o("graph", graph, {.help = "which spins are neighbours", .choices = {"grid", "complete"}});
  o("rows", rows, {.help = "of the spins", .min = 1, .max = 4096});
  o("columns", columns, {.help = "of the spins", .min = 1, .max = 4096});
  o("periodic", periodic, {.help = "whether the grid goes on at its other side"});
  o("coupling", coupling, {.help = "J"});
  o("field", field, {.help = "H"});
  o("temperature", temperature, {.help = "T", .min = 0, .exclusive_min = true});
}

std::vector<MetricInfo> IsingTarget::observables() const {
  return {{"energy", "1", "of a spin, as at temperature 1"},
          {"magnetisation", "1", "mean of the spins"},
          {"magnetisation_size", "1", "its absolute value"}};
}

std::unique_ptr<ChainProblem> IsingTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<IsingProblem>(options_, size(), RandomStream(seed, "chain/start"), chain);
}

void HopfieldTarget::Options::options(OptionVisitor& o) {
  o("spins", spins, {.help = "N", .min = 2});
  o("patterns", patterns, {.help = "that are stored", .min = 1});
  o("temperature", temperature, {.help = "T", .min = 0, .exclusive_min = true});
  o("turned", turned, {.help = "part of the first pattern that is turned at the start", .min = 0, .max = 1});
}

std::vector<MetricInfo> HopfieldTarget::observables() const {
  return {{"energy", "1", "of a spin, as at temperature 1"}, {"overlap", "1", "with the first pattern"}};
}

std::unique_ptr<ChainProblem> HopfieldTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<HopfieldProblem>(options_, seed, chain);
}

void GaussianRbmTarget::Options::options(OptionVisitor& o) {
  o("visible", visible, {.help = "real numbers", .min = 1});
  o("hidden", hidden, {.help = "units that are 0 or 1", .min = 1});
  o("weight", weight, {.help = "deviation of the weights W, which the seed draws", .min = 0});
  o("visible_bias", visible_bias, {.help = "a"});
  o("hidden_bias", hidden_bias, {.help = "c"});
  o("deviation", deviation, {.help = "s", .min = 0, .exclusive_min = true});
}

std::vector<MetricInfo> GaussianRbmTarget::observables() const {
  return {{"energy", "1", "mean energy"},
          {"active", "1", "part of the hidden units that are 1"},
          {"visible_square", "1", "mean square of a visible number"}};
}

std::unique_ptr<ChainProblem> GaussianRbmTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<GaussianRbmProblem>(options_, seed, chain);
}

}  // namespace rankine
