// How much each weight matters. A sparsifier removes those with the lowest scores.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// What a criterion judges weights by beside themselves: a number for each. L is the sum of the losses of some
/// batches.
enum class Evidence {
  none,
  gradient,       ///< dL/dw
  gradient_rise,  ///< H g, with the gradient g and the Hessian H of L by the weights that are trained
  squares,        ///< mean over the examples of these batches of the squared gradient of one example's loss
  flow,      ///< gradient of the flow through the network (src/nn/synaptic_flow.hpp), which needs no data
  movement,  ///< -sum of w dL/dw over the steps of training so far, L being that of a step
  inputs,    ///< norm of the input that the weight multiplies, over some batches
};

/// One part of the parameters whose weights are to be scored.
struct ScoredPart {
  std::string name;
  std::span<const double> weights;
  std::span<const double> evidence;  ///< that the criterion needs; empty for none
  std::uint64_t seed = 0;
  std::int64_t event = 0;  ///< number of the pruning within the run: a key for random numbers
  const ParameterSet* parameters = nullptr;  ///< all parts
};

class Criterion {
 public:
  virtual ~Criterion() = default;
  virtual Evidence needs() const { return Evidence::none; }
  /// InputError where it cannot judge the part `name`; called before any work.
  virtual void check(const ParameterSet& network, const std::string& name) const {
    static_cast<void>(network);
    static_cast<void>(name);
  }
  /// A score for each weight.
  virtual std::vector<double> scores(const ScoredPart& part) const = 0;
};

/// |w| (Han et al., NeurIPS 2015).
class Magnitude final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// Uniform random numbers, keyed by the seed, the part's name and the weight's index.
class RandomScore final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// |w dL/dw|: how much the loss feels the weight to first order (SNIP: Lee et al., ICLR 2019, eq. 5).
class Snip final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::gradient; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// w (H g): how much of the gradient's squared norm hangs on the weight, to first order; those go first without
/// which the gradient is largest (GraSP: Wang, Zhang and Grosse, ICLR 2020, eq. 8, with the sign turned).
class Grasp final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::gradient_rise; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// w^2 F / 2: how much the loss rises without the weight, to second order at a minimum, with the mean F of squared
/// gradients for the Hessian's diagonal (Fisher pruning: Theis et al., arXiv 1801.05787, section 2).
class Fisher final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::squares; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// Whether training has moved the weight away from zero or towards it, -sum of w dL/dw over the steps so far
/// (movement pruning: Sanh, Wolf and Rush, arXiv 2005.07683, section 4).
class MovementScore final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::movement; }
  std::vector<double> scores(const ScoredPart& part) const override {
    return {part.evidence.begin(), part.evidence.end()};
  }
};

/// |w| dR/d|w|, the flow through a weight (SynFlow: Tanaka et al., arXiv 2006.05467, eq. 1), for pruning in many
/// rounds of `scope: global`.
class SynFlow final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::flow; }
  std::vector<double> scores(const ScoredPart& part) const override { return Snip().scores(part); }
};

/// |w| ||x||, x being the values of the input that the weight multiplies, of convolutions those of its channel
/// (Sun et al., arXiv 2306.11695, eq. 1).
class Wanda final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  Evidence needs() const override { return Evidence::inputs; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// |m| / s of weights that are `gaussian`, with means m and standard deviations s (Graves, "Practical variational
/// inference for neural networks", NeurIPS 2011, section 6).
class SignalToNoise final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  void check(const ParameterSet& network, const std::string& name) const override;
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// The table of criteria.
const Registry<Criterion>& criteria();

}  // namespace rankine
