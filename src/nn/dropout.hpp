// Dropout.
#pragma once

#include "src/nn/layer.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// x / (1 - p) with probability 1 - p, else 0, element by element. x [L, B, ...]. Element k of a sample
/// depends on (stream, the pass's step, the sample's id, k) alone, so that evaluating again drops the same
/// elements. p in [0, 1).
Tensor dropout(const Tensor& x, double p, const RandomStream& stream, Pass& pass);

}  // namespace rankine
