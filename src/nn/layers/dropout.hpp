// Dropout as a block.
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// Drops elements, or whole channels, in training; nothing otherwise. What is dropped depends on the seed,
/// the layer's name, the step and the sample alone.
class Dropout final : public Layer {
 public:
  struct Options {
    double rate = 0.5;
    bool channels = false;
    void options(OptionVisitor& o);
  };
  Dropout(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

}  // namespace rankine
