#include "src/methods/theory/multitask_hebb.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/chain/vector_spins.hpp"
#include "src/core/random.hpp"

namespace rankine {
namespace {

class MultitaskHebbProblem final : public VectorSpins {
 public:
  MultitaskHebbProblem(const MultitaskHebbTarget::Options& options, std::uint64_t seed, std::int64_t chain)
      : o_(options),
        n_(static_cast<std::size_t>(o_.spins)),
        k_(static_cast<std::size_t>(o_.patterns)),
        patterns_(n_ * k_) {
    const RandomStream patterns(seed, "multitask-hebb/patterns"), noise(seed, "multitask-hebb/noise"),
        signs(seed, "multitask-hebb/signs");
    for (std::size_t at = 0; at < patterns_.size(); ++at) {
      const double u = patterns.uniform(0, chain, static_cast<std::int64_t>(at));
      patterns_[at] = u < o_.dilution ? 0 : u < 0.5 * (1 + o_.dilution) ? 1 : -1;
    }
    const bool all = o_.learning == "unsupervised", plain = o_.learning == "patterns";
    const auto a = static_cast<std::size_t>(plain ? 1 : o_.examples);
    const double r2 = o_.quality * o_.quality, examples = o_.examples;
    factor_ = plain ? 1 : all ? 1 / (examples * r2) : 1 / (r2 + (1 - r2) / examples);
    factor_ /= static_cast<double>(n_) * o_.temperature;
    std::vector<double> learned;
    for (std::size_t at = 0; at < patterns_.size(); ++at) {
      double sum = 0;
      for (std::size_t e = 0; e < a; ++e) {
        const bool right = plain || noise.uniform(static_cast<std::int64_t>(e), chain,
                                                  static_cast<std::int64_t>(at)) < 0.5 * (1 + o_.quality);
        const double copy = right ? patterns_[at] : -patterns_[at];
        sum += copy;
        if (all) learned.push_back(copy);
      }
      if (!all) learned.push_back(sum / static_cast<double>(a));
    }
    for (std::size_t i = 0; i < n_; ++i) {
      const double first = patterns_[i * k_];
      const bool up = signs.uniform(0, chain, static_cast<std::int64_t>(i)) < 0.5;
      start_.push_back(first != 0 ? first : up ? 1 : -1);
    }
    couple(std::move(learned), n_);
    theory_ = sizes(diluted_overlaps(overlaps(start_), o_.dilution, o_.temperature));
  }

  std::vector<double> start() const override { return start_; }

  void measure(std::span<const double> x, std::span<double> values) const override {
    const std::vector<double> m = overlaps(x), sorted = sizes(m);
    std::copy(sorted.begin(), sorted.end(), values.begin());
    std::copy(theory_.begin(), theory_.end(), values.begin() + static_cast<std::ptrdiff_t>(k_));
    // With L = |p -+ x|^2 / (2 N) and a = |p|^2 / N: m^2 = ((1 + a) / 2)^2 - L(+) L(-).
    double by_losses = 0, by_overlaps = 0;
    for (std::size_t k = 0; k < k_; ++k) {
      double plus = 0, minus = 0, own = 0;
      for (std::size_t i = 0; i < n_; ++i) {
        const double p = patterns_[i * k_ + k];
        plus += (p - x[i]) * (p - x[i]);
        minus += (p + x[i]) * (p + x[i]);
        own += p * p;
      }
      const double twice = 2 * static_cast<double>(n_), half = 0.5 + own / twice;
      by_losses -= 0.5 * (half * half - plus * minus / (twice * twice));
      by_overlaps -= 0.5 * m[k] * m[k];
    }
    values[2 * k_] = std::abs(by_losses - by_overlaps);
  }

  double energy(std::span<const double> x) const override { return -0.5 * factor_ * pairs(x); }
  SiteConditional conditional(std::span<const double> x, std::size_t i) const override {
    return {factor_ * field(x, i), 0};
  }

 private:
  std::vector<double> overlaps(std::span<const double> x) const {
    std::vector<double> m = column_sums(patterns_, x);
    for (double& v : m) v /= static_cast<double>(n_);
    return m;
  }
  static std::vector<double> sizes(std::vector<double> m) {
    for (double& v : m) v = std::abs(v);
    std::sort(m.rbegin(), m.rend());
    return m;
  }

  MultitaskHebbTarget::Options o_;
  std::size_t n_, k_;
  double factor_ = 1;
  std::vector<double> patterns_, start_, theory_;  // patterns: [spins][patterns]
};

}  // namespace

std::vector<double> diluted_overlaps(std::vector<double> m, double dilution, double temperature) {
  const std::size_t k = m.size();
  const auto all = static_cast<std::size_t>(std::lround(std::pow(3, k)));
  double change = 1;
  for (int step = 0; step < 10000 && change >= 1e-13; ++step) {
    std::vector<double> next(k, 0.0), entries(k);
    for (std::size_t code = 0; code < all; ++code) {
      double weight = 1, field = 0;
      std::size_t rest = code;
      for (std::size_t i = 0; i < k; ++i, rest /= 3) {
        entries[i] = static_cast<double>(rest % 3) - 1;
        weight *= entries[i] == 0 ? dilution : 0.5 * (1 - dilution);
        field += entries[i] * m[i];
      }
      for (std::size_t i = 0; i < k; ++i) next[i] += weight * entries[i] * std::tanh(field / temperature);
    }
    change = 0;
    for (std::size_t i = 0; i < k; ++i) change = std::max(change, std::abs(next[i] - m[i]));
    m = std::move(next);
  }
  return m;
}

void MultitaskHebbTarget::Options::options(OptionVisitor& o) {
  o("spins", spins, {.help = "N", .min = 2});
  o("patterns", patterns, {.help = "K; the theory goes through 3^K vectors", .min = 1, .max = 10});
  o("dilution", dilution, {.help = "d, the part of a pattern that is 0", .min = 0, .max = 1});
  o("temperature", temperature, {.help = "T", .min = 0, .exclusive_min = true});
  o("learning", learning,
    {.help = "what the couplings are made of", .choices = {"patterns", "supervised", "unsupervised"}});
  o("examples", examples, {.help = "noisy copies of each pattern", .min = 1});
  o("quality", quality,
    {.help = "r, the mean of a copy's sign times the true one", .min = 0, .max = 1, .exclusive_min = true});
}

std::vector<MetricInfo> MultitaskHebbTarget::observables() const {
  std::vector<MetricInfo> out;
  for (int k = 0; k < options_.patterns; ++k)
    out.push_back({fmt::format("overlap{}", k), "1", "absolute overlap with a pattern, the largest first"});
  for (int k = 0; k < options_.patterns; ++k)
    out.push_back({fmt::format("theory{}", k), "1", "the same by self-consistency, from the same start"});
  out.push_back({"identity_error", "1", "energy by the products of squared errors, less that by overlaps"});
  return out;
}

std::unique_ptr<ChainProblem> MultitaskHebbTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<MultitaskHebbProblem>(options_, seed, chain);
}

}  // namespace rankine
