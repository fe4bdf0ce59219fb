// Spins that hold several diluted patterns at once (Agliari, Barra et al., "Parallel learning by multitasking
// neural networks", 2023; catalogue 2.03): patterns p_i in {-1, 0, 1}, 0 with probability d, and
//   E / T = -(c / (2 N T)) sum_v ((sum_i v_i x_i)^2 - sum_i v_i^2)
// where the v are the patterns themselves (c = 1), the means of `examples` noisy copies of each (supervised,
// c = 1 / (r^2 + (1 - r^2) / examples)), or all these copies (unsupervised, c = 1 / (examples r^2)); a copy
// has each sign of its pattern right with probability (1 + r) / 2.
#pragma once

#include "src/chain/target.hpp"

namespace rankine {

/// m_k = E[p_k tanh(sum_l p_l m_l / T)] over all 3^K vectors of entries, iterated from `m` until it holds.
std::vector<double> diluted_overlaps(std::vector<double> m, double dilution, double temperature);

/// Each chain has patterns of its own and begins at the first, with random signs where that is 0.
class MultitaskHebbTarget final : public ChainTarget {
 public:
  struct Options {
    int spins = 1000, patterns = 3;
    double dilution = 0.2, temperature = 0.05;
    std::string learning = "patterns";
    int examples = 1;
    double quality = 0.4;
    void options(OptionVisitor& o);
  };
  explicit MultitaskHebbTarget(const Options& options) : options_(options) {}
  ChainAbilities abilities() const override {
    return {.conditionals = true, .spins = true, .gradient = false, .improves = false};
  }
  std::size_t size() const override { return static_cast<std::size_t>(options_.spins); }
  std::vector<MetricInfo> observables() const override;
  double seconds_of_sweep() const override { return 1e-9 * options_.spins * vectors(); }
  double bytes() const override { return 8.0 * options_.spins * (vectors() + options_.patterns); }
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  double vectors() const {
    return static_cast<double>(options_.patterns) *
           (options_.learning == "unsupervised" ? options_.examples : 1);
  }
  Options options_;
};

}  // namespace rankine
