// Softmax along the last axis and what is built on it.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// exp(x) / sum exp(x) along the last axis, real; rows of -inf beside finite values are 0.
Tensor softmax(const Tensor& x);
/// x - log sum exp(x) along the last axis.
Tensor log_softmax(const Tensor& x);
/// -sum_c q_c log_softmax(logits)_c with q = (1 - smoothing) onehot(labels) + smoothing / C.
/// logits [..., C], labels [...] i32 in [0, C): [...]. Throws InputError for a label out of range.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing = 0);

}  // namespace rankine
