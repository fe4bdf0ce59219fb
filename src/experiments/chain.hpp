// Runs Markov chains and similar iterations: a kernel moves the state of a target, sweep by sweep. Samples
// are averaged after a burn-in, and their standard errors account for autocorrelation. Kernels that converge
// run until they have converged. Chains are distributed over ranks. Random numbers are keyed by sweep and
// chain, so that a run continues with the same bits after a restart at any sweep.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/chain/kernel.hpp"
#include "src/deck/node.hpp"
#include "src/run/experiment.hpp"

namespace rankine {

struct ChainOptions {
  int chains = 4;
  long sweeps = 1000, burn_in = 0;
  int thin = 1, rounds = 10, look_every = 10;
  double change = 1e-10;
  void options(OptionVisitor& o);
};

class Chains final : public Experiment {
 public:
  Chains(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  Metrics run(RunContext& context) override;

 private:
  struct Record;  // references to the state of one chain
  void advance(ChainProblem& problem, Record chain, std::int64_t number, std::uint64_t seed,
               std::int64_t until) const;
  Metrics summarise(RunContext& context, std::span<const double> draws) const;
  /// The number of rows that a chain records. A row holds the observables, and the logarithm of their weight.
  std::int64_t rows() const;
  std::size_t row_size() const { return observables_.size() + 1; }
  bool settles() const { return kernel_->yields() == ChainKernel::Yields::state; }

  std::string variant_;
  ChainOptions options_;
  std::unique_ptr<ChainTarget> target_;
  std::unique_ptr<ChainKernel> kernel_;
  std::vector<MetricInfo> observables_;
};

}  // namespace rankine
