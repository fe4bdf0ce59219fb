// Dropout.
#pragma once

#include <span>

#include "src/core/random.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// x / (1 - p) with probability 1 - p, else 0, element by element. x [L, B, ...]; sample[i] is the id of
/// sample i of L * B. Element k of a sample depends on (stream, step, id, k) alone, so that evaluating again
/// drops the same elements. p in [0, 1).
Tensor dropout(const Tensor& x, double p, const RandomStream& stream, std::int64_t step,
               std::span<const std::int64_t> samples);

}  // namespace rankine
