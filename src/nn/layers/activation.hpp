// Activations as blocks.
#pragma once

#include <type_traits>

#include "src/nn/activations.hpp"
#include "src/nn/layer.hpp"

namespace rankine {

/// Applies F, a struct of options with Tensor operator()(const Tensor&) const.
template <class F>
class Activation final : public Layer {
 public:
  using Options = F;
  Activation(const Options& options, const LayerContext& context) : Layer(context), apply_(options) {}
  Shape output() const override { return input(); }
  Tensor forward(const BoundParameters&, const Tensor& x, Pass&) const override { return apply_(x); }

 private:
  F apply_;
};

/// One without options.
template <Tensor (*apply)(const Tensor&)>
struct Plain {
  void options(OptionVisitor&) {}
  Tensor operator()(const Tensor& x) const { return apply(x); }
};

struct LeakyReluOptions {
  double slope = 0.01;
  void options(OptionVisitor& o);
  Tensor operator()(const Tensor& x) const { return leaky_relu(x, slope); }
};
struct SoftplusOptions {
  double sharpness = 1;
  void options(OptionVisitor& o);
  Tensor operator()(const Tensor& x) const { return softplus(x, sharpness); }
};
struct EluOptions {
  double alpha = 1;
  void options(OptionVisitor& o);
  Tensor operator()(const Tensor& x) const { return elu(x, alpha); }
};
struct SinOptions {
  double frequency = 1;
  void options(OptionVisitor& o);
  Tensor operator()(const Tensor& x) const { return sin(frequency == 1 ? x : scale(x, frequency)); }
};

}  // namespace rankine
