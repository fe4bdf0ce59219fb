// Gradients that a rule gathers from several backward passes.
#pragma once

#include "kernels/optimise.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// total += gradient, in place; an undefined total becomes the gradient itself. Both are dense and off the
/// tape. It costs the rule, not the network: no cost is counted, and no memory is taken.
inline void accumulate(Tensor& total, const Tensor& gradient) {
  if (!total.defined()) {
    total = gradient;
    return;
  }
  RANKINE_ASSERT(total.shape() == gradient.shape() && total.contiguous() && gradient.contiguous(),
                 "accumulate: " + total.shape().text() + " and " + gradient.shape().text());
  dispatch_real(total.dtype(), "accumulate", [&](auto zero) {
    using T = decltype(zero);
    kernels::accumulate<T>(total.count(), gradient.data<T>(), total.data<T>());
  });
}

}  // namespace rankine
