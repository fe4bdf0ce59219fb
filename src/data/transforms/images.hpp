// Transforms of single images [channels, height, width].
#pragma once

#include "src/data/transforms/transform.hpp"

namespace rankine {

/// Throws InputError if the examples are no images; messages call the transform `what`.
void check_images(const char* what, const Dataset& data);

/// Moves each image by up to `reach` whole pixels along both axes, all distances with equal probability.
/// Pixels that come from outside are 0.
class Shift final : public Transform {
 public:
  void options(OptionVisitor& o);
  void check(const Dataset& data) const override { check_images("shift", data); }
  bool off() const override { return reach_ == 0; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 private:
  int reach_ = 2;
};

/// Sets a square of each image to 0. Its centre is a random pixel; parts beyond the border have no effect
/// (DeVries and Taylor, arXiv 1708.04552).
class Cutout final : public Transform {
 public:
  void options(OptionVisitor& o);
  void check(const Dataset& data) const override { check_images("cutout", data); }
  bool off() const override { return size_ == 0; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 private:
  int size_ = 8;
};

}  // namespace rankine
