// Runs chains: a kernel moves the states of a target, sweep by sweep. Samples are averaged after a burn-in,
// with standard errors that know of their correlation; kernels that settle are run until they have. Chains
// are dealt to ranks; every draw is keyed by sweep and chain, so that a restart at any sweep goes on alike.
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
  struct Record;  // of one chain, where the registered state lies
  void advance(ChainProblem& problem, Record chain, std::int64_t number, std::uint64_t seed,
               std::int64_t until) const;
  Metrics summarise(RunContext& context, std::span<const double> draws) const;
  /// Rows that a chain leaves: observables, then the logarithm of their weight.
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
