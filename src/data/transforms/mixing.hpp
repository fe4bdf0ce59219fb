// Transforms that mix the examples of a batch. A step draws once for the whole batch: whether it mixes, the
// share lam ~ Beta(alpha, alpha) that an example keeps, and a permutation that gives each its partner.
#pragma once

#include "src/data/transforms/transform.hpp"

namespace rankine {

class Mixing : public Transform {
 public:
  void options(OptionVisitor& o);
  bool off() const override { return probability_ == 0; }
  bool mixes() const override { return true; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 protected:
  explicit Mixing(double probability) : probability_(probability) {}

 private:
  /// Mixes example `partner` of `from` into example i, which keeps a share of about `lam`. Returns the share
  /// that it keeps.
  virtual double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i,
                     std::int64_t partner, double lam, const RandomStream& random,
                     std::int64_t step) const = 0;

  double probability_, alpha_ = 1;
};

/// Replaces a box of the image by that of the partner. The box has a share 1 - lam of the area before it is
/// clipped to the image, and is the same for the whole batch. Targets are mixed by the areas that result (Yun
/// et al., arXiv 1905.04899).
class CutMix final : public Mixing {
 public:
  CutMix() : Mixing(0.5) {}
  void check(const Dataset& data) const override;

 private:
  double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i, std::int64_t partner,
             double lam, const RandomStream& random, std::int64_t step) const override;
};

/// Mixes inputs and targets x to lam x + (1 - lam) x_partner (Zhang et al., arXiv 1710.09412).
class Mixup final : public Mixing {
 public:
  Mixup() : Mixing(1) {}

 private:
  double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i, std::int64_t partner,
             double lam, const RandomStream& random, std::int64_t step) const override;
};

}  // namespace rankine
