// Spikes and their surrogate derivatives, as ops.
#pragma once

#include <utility>

#include "kernels/neurons.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

using kernels::LifDynamics;
using kernels::Surrogate;

/// Names of surrogates, in the order of the enumerators, and back.
extern const std::vector<std::string> surrogate_names;
Surrogate surrogate_of(const std::string& name);

/// 1 where x >= 0, else 0; its derivative is taken to be the surrogate's.
Tensor heaviside_surrogate(const Tensor& x, Surrogate kind = Surrogate::triangle, double width = 1);

/// One time step: the potential before (undefined: 0) and the current, to spikes and the potential after.
std::pair<Tensor, Tensor> lif_step(const Tensor& potential, const Tensor& current,
                                   const LifDynamics& dynamics);

}  // namespace rankine
