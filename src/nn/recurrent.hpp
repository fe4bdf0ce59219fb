// Recurrent cells over sequences, as one op.
#pragma once

#include "kernels/recurrent.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

using kernels::Cell;

struct RecurrentResult {
  Tensor hidden;     ///< h after each step, [L, B, T, H]
  Tensor last_cell;  ///< lstm: c after the last, [L, B, H]
};

/// x [L, B, T, gates H] (inputs times their weights), weight [L, gates H, H], candidate_bias [L, H] (gru, or
/// undefined), h0 and (lstm) c0 [L, B, H]; T > 0. The cells' equations: kernels/recurrent.hpp.
RecurrentResult recurrent(Cell cell, const Tensor& x, const Tensor& weight, const Tensor& candidate_bias,
                          const Tensor& h0, const Tensor& c0 = {});

}  // namespace rankine
