// Masks that move during training: at intervals the worst of the weights that remain are removed, and as many
// of those that are removed come back, beginning at zero.
#pragma once

#include <cstdint>
#include <vector>

#include "src/sparse/criterion.hpp"

namespace rankine {

class Regrowth {
 public:
  virtual ~Regrowth() = default;
  void options(OptionVisitor& o);
  /// Which weights come back: those with the best scores.
  virtual const Criterion& criterion() const = 0;
  /// Steps, of `total`, before which weights are exchanged.
  std::vector<std::int64_t> steps(std::int64_t total) const;
  /// Part of the remaining weights that is exchanged: fraction / 2 (1 + cos(pi step / last)) (Evci et al.,
  /// "Rigging the lottery", ICML 2020, eq. 1), or the same each time.
  double fraction(std::int64_t step, std::int64_t total) const;

 private:
  double fraction_ = 0.3, until_ = 0.75;
  int every_ = 100;
  std::string decay_ = "cosine";
};

/// Those whose gradient is largest (RigL).
class GradientRegrowth final : public Regrowth {
 public:
  const Criterion& criterion() const override { return criterion_; }

 private:
  class Slope final : public Criterion {
   public:
    Evidence needs() const override { return Evidence::gradient; }
    std::vector<double> scores(const ScoredPart& part) const override;
  } criterion_;
};

/// Any (SET: Mocanu et al., Nature Communications 2018).
class RandomRegrowth final : public Regrowth {
 public:
  const Criterion& criterion() const override { return criterion_; }

 private:
  RandomScore criterion_;
};

/// The table of what a deck's `sparsity.regrow` can name.
const Registry<Regrowth>& regrowths();

}  // namespace rankine
