// A linear layer on vectors.
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// y = x W^T + b along the last axis: [..., in] to [..., units]. Parameters: weight [units, in], bias
/// [units].
class Dense final : public Layer {
 public:
  struct Options {
    int units = 0;
    bool bias = true;
    std::string initialisation = "uniform";
    void options(OptionVisitor& o);
  };
  Dense(const Options& options, const LayerContext& context);

  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// A sample as one vector.
class Flatten final : public Layer {
 public:
  struct Options {
    void options(OptionVisitor&) {}
  };
  Flatten(const Options&, const LayerContext& context) : Layer(context) {}
  Shape output() const override { return {input().count()}; }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

}  // namespace rankine
