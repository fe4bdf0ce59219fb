// How much each weight matters. A sparsifier removes those with the lowest scores.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"

namespace rankine {

/// One part of the parameters whose weights are to be scored.
struct ScoredPart {
  std::string name;
  std::span<const double> weights;
  std::span<const double> gradient;  ///< of the loss; empty where the criterion does not ask for it
  /// For each weight the norm of the input that it multiplies, over some batches; likewise.
  std::span<const double> input_norms;
  std::uint64_t seed = 0;
  std::int64_t event = 0;  ///< number of the pruning within the run: a key for random numbers
};

class Criterion {
 public:
  virtual ~Criterion() = default;
  virtual bool needs_gradient() const { return false; }
  virtual bool needs_inputs() const { return false; }
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

/// |w| ||x||, x being the values of the input that the weight multiplies, of convolutions those of its channel
/// (Sun et al., arXiv 2306.11695, eq. 1).
class Wanda final : public Criterion {
 public:
  void options(OptionVisitor&) {}
  bool needs_inputs() const override { return true; }
  std::vector<double> scores(const ScoredPart& part) const override;
};

/// The table of criteria.
const Registry<Criterion>& criteria();

}  // namespace rankine
