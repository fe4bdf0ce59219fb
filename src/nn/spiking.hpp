// Spikes and their surrogate derivatives, as ops.
#pragma once

#include <utility>

#include "kernels/spiking.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

using kernels::Surrogate;

/// Names of surrogates, in the order of the enumerators, and back.
extern const std::vector<std::string> surrogate_names;
Surrogate surrogate_of(const std::string& name);

/// 1 where x >= 0, else 0; its derivative is taken to be the surrogate's.
Tensor heaviside_surrogate(const Tensor& x, Surrogate kind = Surrogate::triangle, double width = 1);

/// See kernels::LifStep.
struct LifDynamics {
  double decay = 0.5, gain = 1, threshold = 1, reset_to = 0, width = 1;
  kernels::Reset reset = kernels::Reset::soft;
  bool detach_reset = false;
  Surrogate surrogate = Surrogate::triangle;
};

/// One time step: the potential before (undefined: 0) and the current, to spikes and the potential after.
std::pair<Tensor, Tensor> lif_step(const Tensor& potential, const Tensor& current,
                                   const LifDynamics& dynamics);

}  // namespace rankine
