// Targets of chains: a density to sample from, or a likelihood to maximise. A ChainTarget holds the options
// of a deck. A ChainProblem is the instance of one chain, with the data or the disorder that a seed draws.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/core/metric_info.hpp"
#include "src/deck/registry.hpp"

namespace rankine {

/// The functions that the problems of a target implement, for kernels.
struct ChainAbilities {
  bool conditionals = false;  ///< conditional(): one site given the others
  bool spins = false;         ///< all sites are 1 or -1; energy() is implemented, too
  bool gradient = false;      ///< gradient() and energy()
  bool improves = false;      ///< improve() and objective()
};

/// The distribution of one site given all others.
struct SiteConditional {
  double value = 0;      ///< for a spin half the log odds of 1 against -1, for a real number its mean
  double deviation = 0;  ///< for a real number, which is normal; 0 for a spin
};

class ChainProblem {
 public:
  virtual ~ChainProblem() = default;
  /// The initial state of the chain.
  virtual std::vector<double> start() const = 0;
  /// Computes the observables of the target at a state; for a mean field, at the means of the sites.
  virtual void measure(std::span<const double> x, std::span<double> values) const = 0;

  /// Minus the logarithm of the density, up to a constant.
  virtual double energy(std::span<const double> x) const;
  virtual void gradient(std::span<const double> x, std::span<double> of_energy) const;
  virtual SiteConditional conditional(std::span<const double> x, std::size_t site) const;
  /// One sweep that the problem itself defines, and the objective that it raises.
  virtual void improve(std::span<double> x) const;
  virtual double objective(std::span<const double> x) const;

  /// For problems that keep sums over sites: begin() is called with the state x at the beginning of a sweep,
  /// changed() after x[site] has changed from `before`. The sums must follow from these calls alone, because
  /// a restart begins with a sweep, too.
  virtual void begin(std::span<const double> x) { static_cast<void>(x); }
  virtual void changed(std::span<const double> x, std::size_t site, double before) {
    static_cast<void>(x), static_cast<void>(site), static_cast<void>(before);
  }
};

class ChainTarget {
 public:
  virtual ~ChainTarget() = default;
  virtual ChainAbilities abilities() const = 0;
  virtual std::size_t size() const = 0;  ///< number of values of a state
  virtual std::vector<MetricInfo> observables() const = 0;
  /// For --dry-run: the time of a sweep of one chain, and the memory of its data.
  virtual double seconds_of_sweep() const { return 1e-8 * static_cast<double>(size()); }
  virtual double bytes() const { return 8.0 * static_cast<double>(size()); }
  virtual std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const = 0;
};

const Registry<ChainTarget>& chain_targets();

}  // namespace rankine
