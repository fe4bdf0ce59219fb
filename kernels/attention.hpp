// Scaled dot-product attention, forward and backward, block of rows by block of rows: the matrix of weights
// is never stored, only the logarithm of each row's sum, from which the backward pass computes it again (Rabe
// and Staats, arXiv 2112.05682; Dao et al., arXiv 2205.14135). And the way from a token's joint projection to
// the heads and back, with rotary positions (Su et al., arXiv 2104.09864). No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// One head. The keys are `past` ones from a cache, then `fresh` ones; of `keys() = past + fresh`, query i
/// sees the first keys() - queries + i + 1 if `causal` (which needs keys() >= queries), else all.
struct AttentionHead {
  std::int64_t queries, past, fresh, dim;
  bool causal;

  std::int64_t keys() const { return past + fresh; }
  /// Multiply-adds times two of the forward pass; the backward pass costs 2.5 times as much.
  double flops() const;
};

/// `sequences` of `heads` heads each.
struct AttentionShape {
  AttentionHead head;
  std::int64_t sequences, heads;
  std::int64_t units() const { return sequences * heads; }
};

/// q [sequences][heads][queries][dim], k and v [sequences][heads][fresh][dim], past_k and past_v (null
/// without a cache) [sequences][heads][past][dim].
template <class T>
struct AttentionInputs {
  DevicePtr<const T> q, past_k, past_v, k, v;
};
template <class T>
struct AttentionGradients {
  DevicePtr<T> q, past_k, past_v, k, v;
};

/// o[i, :] = sum_j softmax_j(scale q[i] . k[j]) v[j, :] for each head, o [sequences][queries][heads][dim],
/// and log_sum [sequences][heads][queries], the logarithms of sum_j exp(scale q[i] . k[j]). One launch.
template <class T>
void attention_forward(const AttentionShape& shape, T scale, const AttentionInputs<T>& in, DevicePtr<T> o,
                       DevicePtr<T> log_sum);

/// Overwrites the gradients, whose shapes are the inputs'. `work` has attention_backward_work() elements.
/// Sums over queries run in their order. At most two launches.
std::int64_t attention_backward_work(const AttentionShape& shape);
template <class T>
void attention_backward(const AttentionShape& shape, T scale, const AttentionInputs<T>& in,
                        DevicePtr<const T> log_sum, DevicePtr<const T> d_o, const AttentionGradients<T>& out,
                        DevicePtr<T> work);

struct HeadsShape {
  std::int64_t sequences, tokens, heads, dim;
};
/// qkv [sequences][tokens][3][heads][dim] to q, k, v [sequences][heads][tokens][dim]. With `angles` [tokens]
/// [dim / 2][2] (cosine, sine; null: none), q and k are rotated: elements (i, i + dim / 2) of token t by
/// angle [t][i]. One launch.
template <class T>
void split_heads(const HeadsShape& shape, DevicePtr<const T> angles, DevicePtr<const T> qkv, DevicePtr<T> q,
                 DevicePtr<T> k, DevicePtr<T> v);
/// The adjoint; overwrites qkv. Null gradients count as zero. One launch.
template <class T>
void merge_heads(const HeadsShape& shape, DevicePtr<const T> angles, DevicePtr<const T> q,
                 DevicePtr<const T> k, DevicePtr<const T> v, DevicePtr<T> qkv);

/// mask [queries][keys] = 0 where a query sees a key, -infinity elsewhere. One launch.
template <class T>
void attention_mask(const AttentionHead& head, DevicePtr<T> mask);

}  // namespace rankine::kernels
