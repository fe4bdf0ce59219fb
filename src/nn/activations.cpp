#include "src/nn/activations.hpp"

#include "kernels/activations.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

constexpr double kSeluAlpha = 1.6732632423543772, kSeluScale = 1.0507009873554805;

template <class F>
Tensor map_values(const char* name, const Tensor& x, F f) {
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::map(f, in.count(), in.data<T>(), y.data<T>());
  });
  return y;
}

template <class F>
Tensor map_values(const char* name, const Tensor& kept, const Tensor& dy, F f) {
  const Tensor at = dense(kept), from = dense(dy);
  Tensor dx = Tensor::empty(dy.shape(), dy.dtype());
  dispatch_real(dy.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    kernels::map(f, at.count(), at.data<T>(), from.data<T>(), dx.data<T>());
  });
  count_cost(name, {2 * static_cast<double>(dx.count()), 3 * bytes_of(dx)});
  return dx;
}

enum class Keep { input, output };

// An op whose backward pass reads its input or its output: `backward` as a kernel, `slope` in ops.
template <class Forward, class Backward, class Slope>
Tensor pointwise(const char* name, const Tensor& x, double flops, Keep keep, Forward forward,
                 Backward backward, Slope slope) {
  Tensor y = map_values(name, x, forward);
  const Tensor kept = keep == Keep::input ? x : Tensor();
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    const Tensor at = kept.defined() ? kept : context.output(0);
    if (context.create_graph()) return {mul(g[0], slope(at))};
    return {map_values("activation_backward", at, g[0], backward)};
  };
  return apply_op(name, {x}, y, vjp,
                  {.cost = {flops * static_cast<double>(y.count()), 2 * bytes_of(y)},
                   .save_outputs = keep == Keep::output});
}

// `above` where x > 0, `below` elsewhere: constant but for jumps.
Tensor step_of(const Tensor& x, double above, double below) {
  return map_values("step", x.detach(), [=](auto v) {
    using T = decltype(v);
    return v > T(0) ? static_cast<T>(above) : static_cast<T>(below);
  });
}

Tensor one_minus(const Tensor& x) { return add_scalar(neg(x), 1); }

}  // namespace

Tensor relu(const Tensor& x) {
  return pointwise("relu", x, 1, Keep::output, kernels::Relu{}, kernels::ReluBackward{},
                   [](const Tensor& y) { return step_of(y, 1, 0); });
}

Tensor leaky_relu(const Tensor& x, double slope) {
  // With slope 0, y does not tell x = 0 from x < 0, which have the same derivative anyway.
  RANKINE_ASSERT(slope >= 0, "leaky_relu with slope " + std::to_string(slope));
  return pointwise("leaky_relu", x, 2, Keep::output, kernels::LeakyRelu{slope},
                   kernels::LeakyReluBackward{slope},
                   [slope](const Tensor& y) { return step_of(y, 1, slope); });
}

Tensor sigmoid(const Tensor& x) {
  return pointwise("sigmoid", x, 22, Keep::output, kernels::Sigmoid{}, kernels::SigmoidBackward{},
                   [](const Tensor& y) { return mul(y, one_minus(y)); });
}

Tensor silu(const Tensor& x) {
  return pointwise("silu", x, 23, Keep::input, kernels::Silu{}, kernels::SiluBackward{},
                   [](const Tensor& at) {
                     const Tensor s = sigmoid(at);
                     return add(s, mul(at, mul(s, one_minus(s))));
                   });
}

Tensor softplus(const Tensor& x, double b) {
  RANKINE_ASSERT(b > 0, "softplus with b = " + std::to_string(b));
  return pointwise("softplus", x, 40, Keep::input, kernels::Softplus{b}, kernels::SoftplusBackward{b},
                   [b](const Tensor& at) { return sigmoid(scale(at, b)); });
}

Tensor elu(const Tensor& x, double alpha, double factor) {
  RANKINE_ASSERT(alpha > 0 && factor > 0, "elu needs positive constants");
  return pointwise("elu", x, 20, Keep::output, kernels::Elu{alpha, factor},
                   kernels::EluBackward{alpha, factor}, [alpha, factor](const Tensor& y) {
                     return add(step_of(y, factor, 0), mul(step_of(y, 0, 1), add_scalar(y, alpha * factor)));
                   });
}

Tensor selu(const Tensor& x) { return elu(x, kSeluAlpha, kSeluScale); }

Tensor sin(const Tensor& x) {
  return pointwise("sin", x, 20, Keep::input, kernels::Sin{}, kernels::SinBackward{},
                   [](const Tensor& at) { return cos(at); });
}

Tensor cos(const Tensor& x) {
  return pointwise("cos", x, 20, Keep::input, kernels::Cos{}, kernels::CosBackward{},
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
