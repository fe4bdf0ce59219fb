// Activations: ops of one real argument, pointwise. tanh and gelu are in src/tensor/ops.hpp.
#pragma once

#include <string>
#include <vector>

#include "src/tensor/ops.hpp"

namespace rankine {

Tensor relu(const Tensor& x);
/// x above 0, slope x below; slope >= 0.
Tensor leaky_relu(const Tensor& x, double slope);
Tensor sigmoid(const Tensor& x);
/// x sigmoid(x).
Tensor silu(const Tensor& x);
/// log(1 + exp(b x)) / b, b > 0.
Tensor softplus(const Tensor& x, double b = 1);
/// scale x above 0, scale alpha (exp(x) - 1) below; alpha and scale positive.
Tensor elu(const Tensor& x, double alpha = 1, double scale = 1);
/// elu with the constants whose fixed point is mean 0 and variance 1 (Klambauer et al., arXiv 1706.02515).
Tensor selu(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);

/// What a deck calls them, "none" included.
extern const std::vector<std::string> activation_names;
/// The activation of that name with its usual constants (leaky_relu: slope 0.01).
Tensor activation(const std::string& name, const Tensor& x);

}  // namespace rankine
