// Kernels, which move chains: the table of a deck's `chain.kernel`.
#pragma once

#include "src/chain/target.hpp"
#include "src/core/random.hpp"

namespace rankine {

struct ChainSweep {
  std::int64_t number = 0, of = 1;  ///< number of the sweep, from 0, and of all sweeps that the deck asks for
  std::int64_t chain = 0;
  const RandomStream& random;
  std::span<double> values;  ///< observables, if the kernel measures them itself
  double log_weight = 0;     ///< logarithm of the weight of `values`
};

class ChainKernel {
 public:
  /// The result of a chain: a sample for each sweep; the state to which it converges; or, for each sweep, one
  /// weighted part of an exact mean.
  enum class Yields { samples, state, parts };

  virtual ~ChainKernel() = default;
  /// Throws InputError if the target lacks what the kernel needs.
  virtual void check(const ChainTarget& target) const = 0;
  virtual Yields yields() const { return Yields::samples; }
  /// Makes one sweep. Returns the share of its moves that were accepted.
  virtual double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const = 0;
  /// For kernels that converge: a number that no longer changes once the chain has converged. Its largest
  /// value over all chains is the metric progress_metric(), if that has a name.
  virtual double progress(ChainProblem& problem, std::span<const double> x) const;
  virtual MetricInfo progress_metric() const { return {}; }
};

const Registry<ChainKernel>& chain_kernels();

/// Gibbs sampling: draws one site after the other from its distribution given all others (Geman and Geman,
/// 1984).
class GibbsKernel : public ChainKernel {
 public:
  void options(OptionVisitor& o);
  void check(const ChainTarget& target) const override;
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;

 protected:
  /// Moves one site; `draw` counts the draws of the sweep. Returns whether the proposal was accepted.
  virtual bool move(ChainProblem& problem, std::span<double> x, std::size_t site, const ChainSweep& sweep,
                    std::int64_t draw) const;

 private:
  std::string order_ = "sequential";
};

/// The Metropolis algorithm: proposes the opposite spin, or a normal step (Metropolis et al., 1953).
class MetropolisKernel final : public GibbsKernel {
 public:
  void options(OptionVisitor& o);

 private:
  bool move(ChainProblem& problem, std::span<double> x, std::size_t site, const ChainSweep& sweep,
            std::int64_t draw) const override;
  double step_ = 1;
};

/// Langevin steps x - step grad E + sqrt(2 step) noise. They are accepted by the rule of Metropolis and
/// Hastings (MALA, Roberts and Tweedie, Bernoulli 2, 1996), or always (ULA), with an error of order `step`.
class LangevinKernel final : public ChainKernel {
 public:
  void options(OptionVisitor& o);
  void check(const ChainTarget& target) const override;
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;

 private:
  double step_ = 0.1;
  bool adjust_ = true;
};

/// Mean-field equations: iterates the mean of each site given the means of the others, q_i =
/// tanh(field_i(q)), until all equations hold at once.
class MeanFieldKernel final : public ChainKernel {
 public:
  void options(OptionVisitor& o);
  void check(const ChainTarget& target) const override;
  Yields yields() const override { return Yields::state; }
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;
  double progress(ChainProblem& problem, std::span<const double> x) const override;
  MetricInfo progress_metric() const override;

 private:
  double damping_ = 0;
  bool parallel_ = false;
};

/// Exact enumeration of all states of the spins, in the order of the Gray code. Each sweep takes an equal
/// part of them.
class EnumerateKernel final : public ChainKernel {
 public:
  void options(OptionVisitor&) {}
  void check(const ChainTarget& target) const override;
  Yields yields() const override { return Yields::parts; }
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;
};

/// Expectation and maximisation: the sweeps that the target itself defines.
class EmKernel final : public ChainKernel {
 public:
  void options(OptionVisitor&) {}
  void check(const ChainTarget& target) const override;
  Yields yields() const override { return Yields::state; }
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;
  double progress(ChainProblem& problem, std::span<const double> x) const override;
};

}  // namespace rankine
