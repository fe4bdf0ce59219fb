// A linear layer on vectors.
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// y = x W^T + b along the last axis: [..., in] to [..., units]. Parameters: weight [units, in], bias
/// [units]. In the parametrisation of the neural tangent kernel (Jacot et al., arXiv 1806.07572), y = x W^T /
/// sqrt(in) + bias_scale b with standard normal W and b.
class Dense final : public Layer {
 public:
  struct Options {
    int units = 0;
    bool bias = true;
    std::string initialisation = "uniform", parametrisation = "standard";
    double bias_scale = 0.1;
    void options(OptionVisitor& o);
  };
  Dense(const Options& options, const LayerContext& context);

  bool ntk() const { return options_.parametrisation == "ntk"; }
  /// Factors on weight and bias (0: there is none): 1, or those of parametrisation: ntk.
  double weight_factor() const;
  double bias_factor() const;

  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
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
