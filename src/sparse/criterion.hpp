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

/// One part of the parameters whose weights are to be scored.
struct ScoredPart {
  std::string name;
  std::span<const double> weights;
  std::span<const double> gradient;  ///< of the loss or the flow; empty where the criterion asks for neither
  /// For each weight the norm of the input that it multiplies, over some batches; likewise.
  std::span<const double> input_norms;
  std::uint64_t seed = 0;
  std::int64_t event = 0;  ///< number of the pruning within the run: a key for random numbers
  const ParameterSet* parameters = nullptr;  ///< all parts
};

class Criterion {
 public:
  virtual ~Criterion() = default;
  virtual bool needs_gradient() const { return false; }
  /// The gradient is that of the flow through the network (src/nn/synaptic_flow.hpp), and needs no data.
  virtual bool needs_flow() const { return false; }
  virtual bool needs_inputs() const { return false; }
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
  bool needs_gradient() const override { return true; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// |w| dR/d|w|, the flow through a weight (SynFlow: Tanaka et al., arXiv 2006.05467, eq. 1), for pruning in many
/// rounds of `scope: global`.
class SynFlow final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  bool needs_flow() const override { return true; }
  std::vector<double> scores(const ScoredPart& part) const override { return Snip().scores(part); }
};

/// |w| ||x||, x being the values of the input that the weight multiplies, of convolutions those of its channel
/// (Sun et al., arXiv 2306.11695, eq. 1).
class Wanda final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  bool needs_inputs() const override { return true; }
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
