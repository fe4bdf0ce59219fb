#include "src/nn/attention.hpp"

#include <cmath>
#include <sstream>

#include "kernels/attention.hpp"
#include "src/nn/softmax.hpp"
#include "src/nn/tables.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

Tensor dense_or_none(const Tensor& x) { return x.defined() ? dense(x) : x; }

// [T, dim/2, 2]: cosine and sine of each angle; undefined if positions are off.
Tensor angle_table(const RotaryPositions& positions, std::int64_t tokens, std::int64_t dim, DType type) {
  if (!positions.on) return {};
  RANKINE_ASSERT(dim % 2 == 0,
                 "rotary positions turn pairs; a head has " + std::to_string(dim) + " elements");
  std::ostringstream key;
  key << "rotary " << std::hexfloat << positions.base << " " << positions.first;
  return cached_table(key.str(), {tokens, dim / 2, 2}, type, [&](std::int64_t at) {
    const std::int64_t t = at / dim, i = at % dim / 2;
    const double rate = std::pow(positions.base, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
    const double angle = rate * static_cast<double>(positions.first + t);
    return at % 2 == 0 ? std::cos(angle) : std::sin(angle);
  });
}

}  // namespace

std::array<Tensor, 3> split_heads(const Tensor& qkv, std::int64_t heads, const RotaryPositions& positions) {
  const Region<"split_heads"> region;
  RANKINE_ASSERT(qkv.rank() == 4 && qkv.extent(3) % (3 * heads) == 0,
                 "split_heads: " + qkv.shape().text() + " into " + std::to_string(heads) + " heads");
  const std::int64_t sequences = qkv.extent(0) * qkv.extent(1), tokens = qkv.extent(2);
  const std::int64_t dim = qkv.extent(3) / (3 * heads);
  const Shape shape{qkv.extent(0), qkv.extent(1), heads, tokens, dim};
  const Tensor in = dense(qkv), angles = angle_table(positions, tokens, dim, qkv.dtype());
  List out;
  for (int i = 0; i < 3; ++i) out.push_back(Tensor::empty(shape, qkv.dtype()));
  dispatch_real(qkv.dtype(), "split_heads", [&](auto zero) {
    using T = decltype(zero);
    kernels::split_heads<T>({sequences, tokens, heads, dim}, device_or_null<T>(angles), in.data<T>(),
                            out[0].data<T>(), out[1].data<T>(), out[2].data<T>());
  });
  const double flops = positions.on ? 4 * static_cast<double>(out[0].count()) : 0;
  out = apply_op(
      "split_heads", {qkv}, out,
      [positions](const auto& g, const auto&) { return List{merge_heads(g[0], g[1], g[2], positions)}; },
      {.cost = {flops, 2 * bytes_of(qkv)}});
  return {out[0], out[1], out[2]};
}

Tensor merge_heads(const Tensor& q, const Tensor& k, const Tensor& v, const RotaryPositions& positions) {
  const Region<"merge_heads"> region;
  const Tensor& any = q.defined() ? q : k.defined() ? k : v;
  RANKINE_ASSERT(any.defined() && any.rank() == 5, "merge_heads of [L, B, heads, T, dim]");
  const std::int64_t sequences = any.extent(0) * any.extent(1), heads = any.extent(2);
  const std::int64_t tokens = any.extent(3), dim = any.extent(4);
  for (const Tensor& x : {q, k, v})
    RANKINE_ASSERT(!x.defined() || x.shape() == any.shape(), "merge_heads: heads of different shapes");
  const Tensor dq = dense_or_none(q), dk = dense_or_none(k), dv = dense_or_none(v);
  const Tensor angles = angle_table(positions, tokens, dim, any.dtype());
  Tensor y = Tensor::empty({any.extent(0), any.extent(1), tokens, 3 * heads * dim}, any.dtype());
  dispatch_real(any.dtype(), "merge_heads", [&](auto zero) {
    using T = decltype(zero);
    kernels::merge_heads<T>({sequences, tokens, heads, dim}, device_or_null<T>(angles), device_or_null<T>(dq),
                            device_or_null<T>(dk), device_or_null<T>(dv), y.data<T>());
  });
  const double flops = positions.on ? 4 * static_cast<double>(any.count()) : 0;
  return apply_op("merge_heads", {q, k, v}, y,
                  [positions, heads](const auto& g, const auto&) {
                    const auto parts = split_heads(g[0], heads, positions);
                    return List{parts[0], parts[1], parts[2]};
                  },
                  {.cost = {flops, 2 * bytes_of(y)}});
}

namespace {

// Its sequences are those of all shards and samples.
struct AttentionCall : kernels::AttentionShape {
  double factor() const { return 1 / std::sqrt(static_cast<double>(head.dim)); }
  std::int64_t width() const { return heads * head.dim; }
  double flops() const { return head.flops() * static_cast<double>(units()); }
};

// q, k, v and the cache's k and v.
template <class T>
kernels::AttentionInputs<T> arrays_of(const List& x) {
  return {x[0].data<T>(), device_or_null<T>(x[3]), device_or_null<T>(x[4]), x[1].data<T>(), x[2].data<T>()};
}

// 0 where a query sees a key, -inf elsewhere; [queries, keys].
Tensor causal_mask(const kernels::AttentionHead& head, DType type) {
  Tensor mask = Tensor::empty({head.queries, head.keys()}, type);
  dispatch_real(type, "attention", [&](auto zero) {
    using T = decltype(zero);
    kernels::attention_mask<T>(head, mask.data<T>());
  });
  return mask;
}

// The cotangents in ops, for second derivatives.
List backward_in_ops(const AttentionCall& call, const List& inputs, const Tensor& cotangent) {
  const bool cached = call.head.past > 0;
  const Tensor &q = inputs[0], d_o = permute(reshape(cotangent, {q.extent(0), q.extent(1), call.head.queries,
                                                                 call.heads, call.head.dim}),
                                             {0, 1, 3, 2, 4});
  const Tensor k = cached ? concat({inputs[3], inputs[1]}, 3) : inputs[1];
  const Tensor v = cached ? concat({inputs[4], inputs[2]}, 3) : inputs[2];
  Tensor scores = scale(matmul(q, transpose(k, 3, 4)), call.factor());
  if (call.head.causal) scores = add(scores, causal_mask(call.head, q.dtype()));
  const Tensor p = softmax(scores);
  const Tensor dp = matmul(d_o, transpose(v, 3, 4));
  const Tensor ds = scale(mul(p, sub(dp, sum(mul(p, dp), {4}, true))), call.factor());
  const Tensor dq = matmul(ds, k), dk = matmul(transpose(ds, 3, 4), q), dv = matmul(transpose(p, 3, 4), d_o);
  if (!cached) return {dq, dk, dv, {}, {}};
  const std::int64_t past = call.head.past, keys = call.head.keys();
  return {dq, slice(dk, 3, past, keys), slice(dv, 3, past, keys), slice(dk, 3, 0, past),
          slice(dv, 3, 0, past)};
}

List backward_fused(const AttentionCall& call, const List& saved, const Tensor& log_sum,
                    const Tensor& cotangent) {
  const DType type = saved[0].dtype();
  const Tensor d_o = dense(cotangent);
  List back;
  for (const Tensor& x : saved) back.push_back(x.defined() ? Tensor::empty(x.shape(), type) : Tensor());
  const Tensor work = Tensor::empty({kernels::attention_backward_work(call)}, type);
  dispatch_real(type, "attention", [&](auto zero) {
    using T = decltype(zero);
    const kernels::AttentionGradients<T> to{back[0].data<T>(), device_or_null<T>(back[3]),
                                            device_or_null<T>(back[4]), back[1].data<T>(), back[2].data<T>()};
    kernels::attention_backward<T>(call, static_cast<T>(call.factor()), arrays_of<T>(saved),
                                   log_sum.data<T>(), d_o.data<T>(), to, work.data<T>());
  });
  count_cost("attention_backward", {2.5 * call.flops(), 2 * (bytes_of(saved[0]) + bytes_of(saved[1]) +
                                                             bytes_of(saved[2]) + bytes_of(d_o))});
  return back;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal, const Tensor& past_k,
                 const Tensor& past_v) {
  const Region<"attention"> region;
  RANKINE_ASSERT(q.rank() == 5 && k.rank() == 5 && k.shape() == v.shape() && q.extent(4) == k.extent(4) &&
                     q.extent(0) == k.extent(0) && q.extent(1) == k.extent(1) && q.extent(2) == k.extent(2),
                 "attention: queries " + q.shape().text() + ", keys " + k.shape().text() + ", values " +
                     v.shape().text());
  RANKINE_ASSERT(past_k.defined() == past_v.defined(), "attention: a cache has keys and values");
  const bool cached = past_k.defined() && past_k.count() > 0;
  if (cached) {
    Shape expected = k.shape();
    expected[3] = past_k.extent(3);
    RANKINE_ASSERT(past_k.shape() == expected && past_v.shape() == expected,
                   "attention: cached keys " + past_k.shape().text() + " and values " +
                       past_v.shape().text() + " beside keys " + k.shape().text());
  }
  const AttentionCall call{{{q.extent(3), cached ? past_k.extent(3) : 0, k.extent(3), q.extent(4), causal},
                            q.extent(0) * q.extent(1),
                            q.extent(2)}};
  const auto& head = call.head;
  RANKINE_ASSERT(!causal || head.keys() >= head.queries, "causal attention: fewer keys than queries");

  const List inputs{q, k, v, cached ? past_k : Tensor(), cached ? past_v : Tensor()};
  List saved;
  for (const Tensor& x : inputs) saved.push_back(dense_or_none(x));
  Tensor y = Tensor::empty({q.extent(0), q.extent(1), head.queries, call.width()}, q.dtype());
  const Tensor log_sum = Tensor::empty({call.sequences, call.heads, head.queries}, q.dtype());
  dispatch_real(q.dtype(), "attention", [&](auto zero) {
    using T = decltype(zero);
    kernels::attention_forward<T>(call, static_cast<T>(call.factor()), arrays_of<T>(saved), y.data<T>(),
                                  log_sum.data<T>());
  });
  const Cost cost{call.flops(), bytes_of(q) + bytes_of(k) + bytes_of(v) + bytes_of(y)};
  // The tape keeps the inputs themselves where they are dense already; a copy would be held beside them.
  return apply_op("attention", inputs, y,
                  [call, inputs, saved, log_sum](const List& g, const VjpContext& context) {
                    if (context.create_graph()) return backward_in_ops(call, inputs, g[0]);
                    return backward_fused(call, saved, log_sum, g[0]);
                  },
                  {.cost = cost});
}

}  // namespace rankine
