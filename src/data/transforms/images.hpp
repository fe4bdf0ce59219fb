// Transforms of single images [channels, height, width].
#pragma once

#include "src/data/transforms/transform.hpp"

namespace rankine {

/// Throws InputError where the examples are no images.
void check_images(const char* what, const Dataset& data);

/// Each image moved by up to `reach` whole pixels along both axes, each distance equally likely. What moves
/// in is 0.
class Shift final : public Transform {
 public:
  void options(OptionVisitor& o);
  void check(const Dataset& data) const override { check_images("shift", data); }
  bool off() const override { return reach_ == 0; }
  void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const override;

 private:
  int reach_ = 2;
};

/// A square of each image set to 0; its centre is any pixel, and what sticks out is lost (DeVries and Taylor,
/// arXiv 1708.04552).
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
