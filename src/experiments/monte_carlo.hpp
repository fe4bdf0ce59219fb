// Estimates an expectation by Monte Carlo: the mean of a formula of the deck over random inputs, with its
// standard error. No network, no gradient. Samples come in blocks, which are dealt to ranks; the sums of the
// blocks are added in the order of the tile tree, so that the bits do not depend on the number of ranks.
#pragma once

#include <string>
#include <vector>

#include "kernels/bytecode.hpp"
#include "src/deck/node.hpp"
#include "src/run/experiment.hpp"

namespace rankine {

struct MonteCarloOptions {
  int blocks = 64, block = 4096, steps = 8;
  void options(OptionVisitor& o);
};

/// A random input: uniform in (first, second), or normal with mean `first` and deviation `second`.
struct RandomInput {
  std::string name;
  bool uniform = true;
  double first = 0, second = 1;
};

class MonteCarlo final : public Experiment {
 public:
  MonteCarlo(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  Metrics run(RunContext& context) override;

 private:
  /// Mean of a block's values and sum of their squared distances from it.
  struct BlockSums {
    double mean = 0, squares = 0;
  };
  BlockSums sample(std::uint64_t seed, std::int64_t block) const;

  std::string variant_;
  MonteCarloOptions options_;
  std::vector<RandomInput> inputs_;
  kernels::Program program_;
  double exact_ = 0;
  bool has_exact_ = false;
};

}  // namespace rankine
