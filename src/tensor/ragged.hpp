// Ragged batches: an axis that holds segments of different lengths, one after the other. Segment s is
// [offsets[s], offsets[s + 1]); offsets rise from 0 to the extent. Empty segments are ordinary.
#pragma once

#include <cstdint>
#include <vector>

#include "src/tensor/ops.hpp"

namespace rankine {

using Offsets = std::vector<std::int64_t>;

/// Sum of each segment along `axis`, whose extent becomes the number of segments; adjoint: repeat_segments().
Tensor segment_sum(const Tensor& x, int axis, const Offsets& offsets);
/// Entry s along `axis` for each place of segment s; adjoint: segment_sum().
Tensor repeat_segments(const Tensor& x, int axis, const Offsets& offsets);
/// Largest element of each segment, real; the gradient goes to the first that is largest. Empty segments have
/// -inf.
Tensor segment_max(const Tensor& x, int axis, const Offsets& offsets);
/// exp(x) / sum exp(x) of each segment, real.
Tensor segment_softmax(const Tensor& x, int axis, const Offsets& offsets);

}  // namespace rankine
