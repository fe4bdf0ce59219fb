// The local search of COMET (Ibrahim et al., arXiv 2306.02824): which expert a gate's weight goes to is
// learned beside gate and experts, early in training.
#pragma once

#include <span>
#include <vector>

#include "src/nn/gate.hpp"

namespace rankine {

/// exp of z after `sweeps` times making the rows and then the columns of exp(z) sum to 1, [L, n, n].
Tensor sinkhorn(const Tensor& z, std::int64_t sweeps);
/// The column of each row of a matrix [n, n] in the permutation with the largest sum, by the Hungarian method
/// with shortest augmenting paths, of order n^3.
std::vector<std::size_t> best_permutation(std::span<const double> matrix, std::size_t n);

/// The weights g become g P. In the first `steps` steps P = sinkhorn((theta + noise * Gumbel) / tau) with a
/// parameter theta, log10 of tau and the sweeps going linearly from their first value to their second; at
/// step `steps` P becomes the best permutation for the latest one and stays. Evaluations take the latest P,
/// without noise: it is kept as statistics are.
class PermutationSearch final : public GateSearch {
 public:
  struct Options {
    int steps = 300;
    std::vector<double> tau{1e-3, 1e-7};
    std::vector<int> sweeps{20, 150};
    double noise = 0, entropy = 0;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  PermutationSearch(const Options& options, const GateContext& context)
      : GateSearch(context), options_(options) {}
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  bool penalises() const override { return options_.steps > 0 && options_.entropy > 0; }
  Tensor assign(const BoundParameters& parameters, const Tensor& weights, Pass& pass) const override;

 private:
  Tensor soft(const Tensor& theta, std::int64_t step) const;

  Options options_;
};

}  // namespace rankine
