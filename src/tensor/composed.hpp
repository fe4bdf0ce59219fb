// Second derivatives of ops with fused kernels.
#pragma once

#include "src/tensor/tape.hpp"

namespace rankine {

/// For a vjp under create_graph: the cotangents of `inputs` (undefined ones stay so) by differentiating `fn`,
/// which computes the op from other ops; recorded, so that they can be differentiated again.
std::vector<Tensor> composed_vjp(const Function& fn, const std::vector<Tensor>& inputs,
                                 const std::vector<Tensor>& cotangents, const VjpContext& context);

}  // namespace rankine
