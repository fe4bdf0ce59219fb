#include "src/nn/activations.hpp"

#include "kernels/neurons.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

constexpr double kSeluAlpha = 1.6732632423543772, kSeluScale = 1.0507009873554805;

using kernels::Activation;
using kernels::ActivationKind;

Tensor forward(const char* name, const Tensor& x, const Activation& f) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::activate<T>(f, in.count(), in.data<T>(), y.data<T>());
  });
  return y;
}

Tensor backward(const std::string& name, const Activation& f, const Tensor& kept, const Tensor& dy) {
  const Tensor at = dense(kept), from = dense(dy);
  Tensor dx = Tensor::empty(dy.shape(), dy.dtype());
  dispatch_real(dy.dtype(), name.c_str(), [&](auto zero) {
    using T = decltype(zero);
    kernels::activate_backward<T>(f, at.count(), at.data<T>(), from.data<T>(), dx.data<T>());
  });
  count_cost(name.c_str(), {2 * static_cast<double>(dx.count()), 3 * bytes_of(dx)});
  return dx;
}

enum class Keep { input, output };

// An op whose backward pass reads its input or its output; `slope` is its derivative in ops.
template <RegionName Name, class Slope>
Tensor pointwise(const Tensor& x, double flops, Keep keep, const Activation& f, Slope slope) {
  const Region<Name> region;
  Tensor y = forward(Name.text, x, f);
  const Tensor kept = keep == Keep::input ? x : Tensor();
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    const Tensor at = kept.defined() ? kept : context.output(0);
    if (context.create_graph()) return {mul(g[0], slope(at))};
    return {backward(std::string(Name.text) + "_backward", f, at, g[0])};
  };
  return apply_op(Name.text, {x}, y, vjp,
                  {.cost = {flops * static_cast<double>(y.count()), 2 * bytes_of(y)},
                   .save_outputs = keep == Keep::output});
}

// `above` where x > 0, `below` elsewhere: constant but for jumps.
Tensor step_of(const Tensor& x, double above, double below) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "step", [&](auto zero) {
    using T = decltype(zero);
    kernels::step_values<T>(kernels::Bound::above, 0, above, below, in.count(), in.data<T>(), y.data<T>());
  });
  return y;
}

Tensor one_minus(const Tensor& x) { return add_scalar(neg(x), 1); }

}  // namespace

Tensor relu(const Tensor& x) {
  return pointwise<"relu">(x, 1, Keep::output, {ActivationKind::relu},
                           [](const Tensor& y) { return step_of(y, 1, 0); });
}

Tensor leaky_relu(const Tensor& x, double slope) {
  // With slope 0, y does not tell x = 0 from x < 0, which have the same derivative anyway.
  RANKINE_ASSERT(slope >= 0, "leaky_relu with slope " + std::to_string(slope));
  return pointwise<"leaky_relu">(x, 2, Keep::output, {ActivationKind::leaky_relu, slope},
                                 [slope](const Tensor& y) { return step_of(y, 1, slope); });
}

Tensor sigmoid(const Tensor& x) {
  return pointwise<"sigmoid">(x, 22, Keep::output, {ActivationKind::sigmoid},
                              [](const Tensor& y) { return mul(y, one_minus(y)); });
}

Tensor silu(const Tensor& x) {
  return pointwise<"silu">(x, 23, Keep::input, {ActivationKind::silu}, [](const Tensor& at) {
    const Tensor s = sigmoid(at);
    return add(s, mul(at, mul(s, one_minus(s))));
  });
}

Tensor softplus(const Tensor& x, double b) {
  RANKINE_ASSERT(b > 0, "softplus with b = " + std::to_string(b));
  return pointwise<"softplus">(x, 40, Keep::input, {ActivationKind::softplus, b},
                               [b](const Tensor& at) { return sigmoid(scale(at, b)); });
}

Tensor elu(const Tensor& x, double alpha, double factor) {
  RANKINE_ASSERT(alpha > 0 && factor > 0, "elu needs positive constants");
  return pointwise<"elu">(
      x, 20, Keep::output, {ActivationKind::elu, alpha, factor}, [alpha, factor](const Tensor& y) {
        return add(step_of(y, factor, 0), mul(step_of(y, 0, 1), add_scalar(y, alpha * factor)));
      });
}

Tensor selu(const Tensor& x) { return elu(x, kSeluAlpha, kSeluScale); }

Tensor sin(const Tensor& x) {
  return pointwise<"sin">(x, 20, Keep::input, {ActivationKind::sin},
                          [](const Tensor& at) { return cos(at); });
}

Tensor cos(const Tensor& x) {
  return pointwise<"cos">(x, 20, Keep::input, {ActivationKind::cos},
                          [](const Tensor& at) { return neg(sin(at)); });
}

const std::vector<std::string> activation_names{"none", "relu", "leaky_relu", "sigmoid", "silu", "softplus",
                                                "elu",  "selu", "tanh",       "gelu",    "sin"};

Tensor activation(const std::string& name, const Tensor& x) {
  if (name == "relu") return relu(x);
  if (name == "leaky_relu") return leaky_relu(x, 0.01);
  if (name == "sigmoid") return sigmoid(x);
  if (name == "silu") return silu(x);
  if (name == "softplus") return softplus(x);
  if (name == "elu") return elu(x);
  if (name == "selu") return selu(x);
  if (name == "tanh") return tanh(x);
  if (name == "gelu") return gelu(x);
  if (name == "sin") return sin(x);
  RANKINE_ASSERT(name == "none", "no activation '" + name + "'");
  return x;
}

}  // namespace rankine
