// Weights that are random: normal, each with a mean and a variance that are trained.
#pragma once

#include <string_view>

#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// w = m + exp(v / 2) e with normal e: the means m are the part itself, v = log variance stands beside it
/// (Blundell et al., "Weight uncertainty in neural networks", arXiv 1505.05424, with v for their rho). A step
/// of training draws e once, by the seed, the weight and the step. Evaluations see the means, or take the mean
/// over draws. Where a mask holds m at zero, w is zero.
class Gaussian final : public Parametrisation {
 public:
  static constexpr std::string_view suffix = ".gaussian.log_variance";
  struct Options {
    double sigma = 0.01;
    int draws = 0;
    void options(OptionVisitor& o);
  };
  explicit Gaussian(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override { return !part.frozen && part.on_tiles; }
  void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const override;
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;
  std::int64_t draws() const override { return options_.sigma == 0 ? 0 : options_.draws; }

 private:
  Options options_;
};

}  // namespace rankine
