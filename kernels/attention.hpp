// Scaled dot-product attention of one head, forward and backward, block of rows by block of rows: the matrix
// of weights is never stored, only the logarithm of each row's sum, from which the backward pass computes it
// again (Rabe and Staats, arXiv 2112.05682; Dao et al., arXiv 2205.14135). And the way from a token's joint
// projection to the heads and back, with rotary positions (Su et al., arXiv 2104.09864).
#pragma once

#include <cstdint>

namespace rankine::kernels {

/// One head. The keys are `past` ones from a cache, then `fresh` ones; of `keys() = past + fresh`, query i
/// sees the first keys() - queries + i + 1 if `causal` (which needs keys() >= queries), else all.
struct AttentionHead {
  std::int64_t queries, past, fresh, dim;
  bool causal;

  std::int64_t keys() const { return past + fresh; }
  /// Elements of `work` that forward and backward need.
  std::int64_t forward_work() const;
  std::int64_t backward_work() const;
  /// Multiply-adds times two of the forward pass; the backward pass costs 2.5 times as much.
  double flops() const;
};

/// o[i, :] = sum_j softmax_j(scale q[i] . k[j]) v[j, :] with rows of `o` at distance `stride`, and log_sum[i]
/// = log sum_j exp(scale q[i] . k[j]). q [queries][dim], k and v [fresh][dim], past_k and past_v [past][dim].
template <class T>
void attention_forward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                       const T* k, const T* v, T* o, std::int64_t stride, T* log_sum, T* work);

/// Overwrites the gradients; d_o has rows at distance `stride`. dk, dv [fresh][dim], d_past_k, d_past_v
/// [past][dim].
template <class T>
void attention_backward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                        const T* k, const T* v, const T* log_sum, const T* d_o, std::int64_t stride, T* dq,
                        T* d_past_k, T* d_past_v, T* dk, T* dv, T* work);

/// qkv [tokens][3][heads][dim] to q, k, v [heads][tokens][dim]. With `angles` [tokens][dim / 2][2] (cosine,
/// sine; null: none), q and k are rotated: elements (i, i + dim / 2) of token t by angle [t][i].
template <class T>
void split_heads(std::int64_t tokens, std::int64_t heads, std::int64_t dim, const T* angles, const T* qkv,
                 T* q, T* k, T* v);
/// The adjoint; overwrites qkv. Null gradients count as zero.
template <class T>
void merge_heads(std::int64_t tokens, std::int64_t heads, std::int64_t dim, const T* angles, const T* q,
                 const T* k, const T* v, T* qkv);

}  // namespace rankine::kernels
