// Gradients that a rule gathers from several backward passes.
#pragma once

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
    T* to = total.data<T>();
    const T* from = gradient.data<T>();
    for (std::int64_t i = 0; i < total.count(); ++i) to[i] += from[i];
  });
}

}  // namespace rankine
