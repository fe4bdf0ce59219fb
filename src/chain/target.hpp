// What chains move on: a density, or a likelihood that is climbed. A target is what a deck says of it; a
// problem is one chain's copy, with the data or the disorder that a seed gives.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/core/metric_info.hpp"
#include "src/deck/registry.hpp"

namespace rankine {

/// What kernels may ask of the problems of a target.
struct ChainAbilities {
  bool conditionals = false;  ///< of one site given the others
  bool spins = false;         ///< all sites are 1 or -1; then energy() too
  bool gradient = false;      ///< and energy()
  bool improves = false;      ///< has a sweep of its own that raises an objective
};

/// The distribution of one site given all others.
struct SiteConditional {
  double value = 0;      ///< of a spin half the log odds of 1 against -1, of a real number its mean
  double deviation = 0;  ///< of a real number, which is normal; 0: a spin
};

class ChainProblem {
 public:
  virtual ~ChainProblem() = default;
  /// The state that the chain begins with.
  virtual std::vector<double> start() const = 0;
  /// The observables of the target, at a state (of a mean field: at the means of the sites).
  virtual void measure(std::span<const double> x, std::span<double> values) const = 0;

  /// Minus the logarithm of the density, up to a constant.
  virtual double energy(std::span<const double> x) const;
  virtual void gradient(std::span<const double> x, std::span<double> of_energy) const;
  virtual SiteConditional conditional(std::span<const double> x, std::size_t site) const;
  /// One sweep of the problem's own, and what it raises.
  virtual void improve(std::span<double> x) const;
  virtual double objective(std::span<const double> x) const;

  /// For problems that keep sums over sites: a sweep begins at x; x[site] was `before`. What is kept must
  /// follow from begin() and the changes since, because a restart begins a sweep too.
  virtual void begin(std::span<const double> x) { static_cast<void>(x); }
  virtual void changed(std::span<const double> x, std::size_t site, double before) {
    static_cast<void>(x), static_cast<void>(site), static_cast<void>(before);
  }
};

class ChainTarget {
 public:
  virtual ~ChainTarget() = default;
  virtual ChainAbilities abilities() const = 0;
  virtual std::size_t size() const = 0;  ///< numbers of a state
  virtual std::vector<MetricInfo> observables() const = 0;
  /// Seconds and bytes of one chain, for --dry-run: of a sweep, and of its data.
  virtual double seconds_of_sweep() const { return 1e-8 * static_cast<double>(size()); }
  virtual double bytes() const { return 8.0 * static_cast<double>(size()); }
  virtual std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const = 0;
};

const Registry<ChainTarget>& chain_targets();

}  // namespace rankine
