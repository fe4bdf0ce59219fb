// Weights that stay as they are: training finds out which of them a network needs.
#pragma once

#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// w m, where m is 1 for the weights of a part with the highest scores, else 0. The weights are frozen, and
/// the gradient of m goes to the scores as it is (edge-popup: Ramanujan et al., "What's hidden in a randomly
/// weighted neural network?", CVPR 2020, arXiv 1911.13299). Scores are drawn, or are sizes |w| plus what
/// training adds to them, which begins at zero (as the lottery jackpots of Zhang et al., arXiv 2104.08700, do).
/// Of equal scores all stay.
class Scores final : public Parametrisation {
 public:
  struct Options {
    double density = 0.5;
    std::string start = "random", layer_density = "uniform";
    void options(OptionVisitor& o);
  };
  explicit Scores(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override { return !part.frozen && part.on_tiles; }
  void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const override;
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;
  void express(BoundParameters& parameters, const std::vector<std::string>& names,
               const Pass& pass) const override;

 private:
  /// With `keep` weights.
  Tensor masked(const BoundParameters& parameters, const std::string& name, std::int64_t keep) const;
  std::int64_t part_of(std::int64_t count) const;
  /// How many of the largest weights of all these parts are in each.
  std::vector<std::int64_t> kept_by_size(const BoundParameters& parameters,
                                         const std::vector<std::string>& names) const;
  Options options_;
};

/// 1 where x is one of the k largest elements, or equal to the k-th, else 0. x contiguous and real, k >= 1.
Tensor top_mask(const Tensor& x, std::int64_t k);

}  // namespace rankine
