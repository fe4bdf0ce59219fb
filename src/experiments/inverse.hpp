// Parameters of a PDE learned from observations of one sample: their place in the network's parameter set,
// Gauss-Newton steps on them alone, and the bound that no unbiased estimate beats.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/data/observations.hpp"
#include "src/deck/node.hpp"
#include "src/experts/storage_problem.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// The deck's `learn: {NAME: {...}}`. The value is initial * exp(rate_factor * theta) with theta, the part
/// `pde.NAME` of the parameter set, starting at 0: it keeps its sign.
struct LearnOptions {
  double initial = 1;
  double rate_factor = 5;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

class LearnedParameters {
 public:
  /// InputError for a name that is no parameter of `pde`, or one that is sampled or zero.
  void read(const DeckNode& section, const Pde& pde);

  bool empty() const { return names_.empty(); }
  int size() const { return static_cast<int>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  /// Indices among the PDE's parameters, and the values that the deck's `pde:` gives: the truth of generated
  /// data.
  const std::vector<int>& indices() const { return indices_; }
  const std::vector<double>& truth() const { return truth_; }

  /// Appends the parts, in a group `pde`.
  void add_to(ParameterSet& parameters) const;
  /// The values [size], f64, on the tape.
  Tensor values(const BoundParameters& bound) const;
  std::vector<double> values(const ParameterSet& parameters) const;
  /// Makes `values` the values of the set.
  void assign(std::span<const double> values, ParameterSet& parameters) const;
  /// `all` of a sample with these values in their places, to be differentiated by them.
  SchemeParameters insert(std::vector<double> all, std::span<const double> values) const;

 private:
  std::vector<std::string> names_;
  std::vector<int> indices_;
  std::vector<double> truth_;
  std::vector<LearnOptions> options_;
};

/// Derivatives of the rows (H u - d) / sigma by the logarithms of the learned parameters' sizes, u solving
/// the discrete equation: H s / sigma with r'(u) s = -dr/dlog p. [learned][row].
std::vector<double> observation_sensitivities(const StorageProblem& problem, const std::vector<double>& u,
                                              const ObservationRows& rows);

/// The Cramer-Rao bound at the parameters of `problem`: the smallest standard deviation of an unbiased
/// estimate of each learned parameter, over its value. NaN where the data do not tell the parameters.
std::vector<double> cramer_rao_bound(const StorageProblem& problem, const ObservationRows& rows);

struct ObservedSample {
  std::vector<double> initial;     ///< [cell][unknown]
  std::vector<double> parameters;  ///< all of the PDE
};

/// At most `steps` Gauss-Newton steps on the learned parameters alone, from `values`: each corrects u
/// (in: the network's solution; out: the last corrected one) to the discrete equation at the values so far,
/// and moves them by the least-squares solution of the linearised rows, in the logarithm and by at most a
/// factor 2. Returns the new values; the old ones where the data do not tell them. Calls `between` before
/// each step, if given; it may throw.
std::vector<double> refine_parameters(const StorageModel& model, const ObservedSample& sample,
                                      const LearnedParameters& learned, const ObservationRows& rows,
                                      int steps, std::vector<double> values, std::vector<double>& u,
                                      const std::function<void()>& between = {});

}  // namespace rankine
