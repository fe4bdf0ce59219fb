// Attention between the tokens of a sequence, as ops. Heads are [L, B, heads, T, dim].
#pragma once

#include <array>

#include "src/tensor/ops.hpp"

namespace rankine {

/// Rotary positions (arXiv 2104.09864): elements (i, i + dim/2) of a query or key at position t are turned by
/// the angle t base^(-2i/dim), so that products of queries and keys depend on distances alone.
struct RotaryPositions {
  bool on = false;
  double base = 10000;
  std::int64_t first = 0;  ///< position of the first token
};

/// [L, B, T, 3 heads dim] to queries, keys and values, [L, B, heads, T, dim] each, queries and keys turned.
/// The last axis holds all queries' heads, then the keys', then the values'. dim is even if positions are on.
std::array<Tensor, 3> split_heads(const Tensor& qkv, std::int64_t heads,
                                  const RotaryPositions& positions = {});
/// The adjoint: queries, keys and values (undefined ones are zero, but not all) to [L, B, T, 3 heads dim].
Tensor merge_heads(const Tensor& q, const Tensor& k, const Tensor& v, const RotaryPositions& positions = {});

/// softmax(q k^T / sqrt(dim)) v of each head, [L, B, T, heads dim]. The keys and values `past_k`, `past_v`
/// (both or neither; [L, B, heads, past, dim]) stand before k and v. With `causal`, the last query sees all
/// keys and each one before sees one less; there must be as many keys as queries. The weights are not stored,
/// they are computed again in the backward pass.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal, const Tensor& past_k = {},
                 const Tensor& past_v = {});

}  // namespace rankine
