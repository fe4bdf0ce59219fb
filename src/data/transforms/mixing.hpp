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
  /// Takes a part of `from`'s example `partner` into example i, which keeps about `lam`; the share that it
  /// keeps.
  virtual double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i,
                     std::int64_t partner, double lam, const RandomStream& random,
                     std::int64_t step) const = 0;

  double probability_, alpha_ = 1;
};

/// A box of the partner's image, of a share 1 - lam of the area before it is cut to the image, the same for
/// the whole batch; targets by the area that is left (Yun et al., arXiv 1905.04899).
class CutMix final : public Mixing {
 public:
  CutMix() : Mixing(0.5) {}
  void check(const Dataset& data) const override;

 private:
  double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i, std::int64_t partner,
             double lam, const RandomStream& random, std::int64_t step) const override;
};

/// lam x + (1 - lam) x of the partner (Zhang et al., arXiv 1710.09412).
class Mixup final : public Mixing {
 public:
  Mixup() : Mixing(1) {}

 private:
  double mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i, std::int64_t partner,
             double lam, const RandomStream& random, std::int64_t step) const override;
};

}  // namespace rankine
