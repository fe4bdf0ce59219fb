// Mixtures of Gaussian experts behind a top-K gate as a target of chains, which fit them to draws from one by
// expectation maximisation, to measure how the errors fall with the number of draws (catalogue 2.44).
#pragma once

#include <string>
#include <vector>

#include "src/chain/target.hpp"
#include "src/deck/node.hpp"
#include "src/methods/gating/gated_gaussians.hpp"

namespace rankine {

struct GatedMixtureOptions {
  /// The truth, expert by expert.
  std::vector<double> b1{4, 0}, b0{0.5, 0}, a{-2, 2}, c{1.5, -0.5}, s{0.3, 0.4};
  int truth_active = 2;
  int points = 1000;
  /// The model: of each expert the true one that it starts near; a true one with several is over-specified.
  std::vector<int> start_near{0, 1};
  int active = 2;
  double noise = 0.005, spread = 0.5;
  double ball = 0;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// Each chain has draws of its own. A state is b1, b0, a, c, s of one expert after the other.
class GatedMixtureTarget final : public ChainTarget {
 public:
  using Options = GatedMixtureOptions;
  explicit GatedMixtureTarget(const Options& options);
  ChainAbilities abilities() const override {
    return {.conditionals = false, .spins = false, .gradient = false, .improves = true};
  }
  std::size_t size() const override { return 5 * o_.start_near.size(); }
  std::vector<MetricInfo> observables() const override;
  double seconds_of_sweep() const override {
    return 3e-8 * o_.points * static_cast<double>(o_.start_near.size());
  }
  double bytes() const override { return 16.0 * o_.points; }
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  GatedMixtureOptions o_;
  GatedGaussians truth_;
};

}  // namespace rankine
