// How a chain moves: the table of a deck's `chain.kernel`.
#pragma once

#include "src/chain/target.hpp"
#include "src/core/random.hpp"

namespace rankine {

struct ChainSweep {
  std::int64_t number = 0, of = 1;  ///< from 0; sweeps that the deck asks for
  std::int64_t chain = 0;
  const RandomStream& random;
  std::span<double> values;  ///< observables, where the kernel measures them itself
  double log_weight = 0;     ///< of these
};

class ChainKernel {
 public:
  /// What comes of a chain: a sample a sweep, the state in which it settles, or one weighted part of an exact
  /// mean a sweep.
  enum class Yields { samples, state, parts };

  virtual ~ChainKernel() = default;
  /// InputError where the target lacks what the kernel needs.
  virtual void check(const ChainTarget& target) const = 0;
  virtual Yields yields() const { return Yields::samples; }
  /// One sweep; returns the part of its moves that were accepted.
  virtual double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const = 0;
  /// For kernels that settle: the number that no longer changes then; and the metric that its largest value
  /// over the chains becomes, if it has a name.
  virtual double progress(ChainProblem& problem, std::span<const double> x) const;
  virtual MetricInfo progress_metric() const { return {}; }
};

const Registry<ChainKernel>& chain_kernels();

/// One site after the other draws itself given the others (Geman and Geman, 1984).
class GibbsKernel : public ChainKernel {
 public:
  void options(OptionVisitor& o);
  void check(const ChainTarget& target) const override;
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;

 protected:
  /// Moves one site; `draw` counts the sweep's draws. Returns whether it has moved as proposed.
  virtual bool move(ChainProblem& problem, std::span<double> x, std::size_t site, const ChainSweep& sweep,
                    std::int64_t draw) const;

 private:
  std::string order_ = "sequential";
};

/// The same by proposals: the other spin, or a normal step (Metropolis et al., 1953).
class MetropolisKernel final : public GibbsKernel {
 public:
  void options(OptionVisitor& o);

 private:
  bool move(ChainProblem& problem, std::span<double> x, std::size_t site, const ChainSweep& sweep,
            std::int64_t draw) const override;
  double step_ = 1;
};

/// x - step grad E + sqrt(2 step) noise, accepted or refused as Metropolis and Hastings have it (MALA,
/// Roberts and Tweedie, Bernoulli 2, 1996), or taken as it is (ULA), which is off by order `step`.
class LangevinKernel final : public ChainKernel {
 public:
  void options(OptionVisitor& o);
  void check(const ChainTarget& target) const override;
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;

 private:
  double step_ = 0.1;
  bool adjust_ = true;
};

/// Each site's mean given the means of the others, q_i = tanh(field_i(q)), until it holds of all at once.
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

/// All states of the spins, in the order of Gray's code, in as many parts as there are sweeps.
class EnumerateKernel final : public ChainKernel {
 public:
  void options(OptionVisitor&) {}
  void check(const ChainTarget& target) const override;
  Yields yields() const override { return Yields::parts; }
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;
};

/// The sweeps of the target's own: expectation and maximisation.
class EmKernel final : public ChainKernel {
 public:
  void options(OptionVisitor&) {}
  void check(const ChainTarget& target) const override;
  Yields yields() const override { return Yields::state; }
  double sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const override;
  double progress(ChainProblem& problem, std::span<const double> x) const override;
};

}  // namespace rankine
