// Fits mixtures of Gaussian experts behind a top-K gate to draws from one, and measures how the errors fall
// with the number of draws (catalogue 2.44).
#pragma once

#include <string>
#include <vector>

#include "src/methods/gating/gated_gaussians.hpp"
#include "src/run/experiment.hpp"

namespace rankine {

struct GatedMixtureOptions {
  /// The truth, expert by expert.
  std::vector<double> b1{4, 0}, b0{0.5, 0}, a{-2, 2}, c{1.5, -0.5}, s{0.3, 0.4};
  int truth_active = 2;
  int points = 1000, repeats = 20;
  /// The model: of each expert the true one that it starts near; a true one with several is over-specified.
  std::vector<int> start_near{0, 1};
  int active = 2;
  double noise = 0.005, spread = 0.5;
  double ball = 0;
  int sweeps = 2000;
  double change = 1e-10;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// Repeats are dealt to ranks; a restart repeats those that were not done.
class GatedMixtureFit final : public Experiment {
 public:
  GatedMixtureFit(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);
  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  Metrics run(RunContext& context) override;

 private:
  /// What one repeat measures, in the order of metrics().
  std::vector<double> fit(std::uint64_t seed, std::int64_t repeat) const;
  GatedGaussians start(std::uint64_t seed, std::int64_t repeat) const;
  /// Pulls each expert into the ball around the true one that it started near, and shares out the gate's mass
  /// of that one.
  void project(GatedGaussians& model) const;

  GatedMixtureOptions o_;
  GatedGaussians truth_;
};

}  // namespace rankine
