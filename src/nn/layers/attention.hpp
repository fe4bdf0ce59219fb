// Layers that let the tokens of a sequence attend to each other: [T, D] to [T, D].
//
// With a carried state (Pass::state) an attention called `name` reads the keys and values of earlier tokens,
// [L, B, heads, past, dim], after rotation, from the entries name + ".keys" and name + ".values" (none: no
// earlier tokens in reach), and leaves its own at name + ".fresh_keys" and name + ".fresh_values", on the
// tape. A learning rule appends these, detached, with append_fresh_keys(); it may also seed their gradients,
// and ask for those of the entries that were read. Pass::position counts all tokens before, also those that
// the cache has dropped. A transformer block's attention is called name + ".attention".
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// Moves all fresh keys and values of `state` behind those cached, detached; leaves no fresh ones.
void append_fresh_keys(CarriedState& state);

struct AttentionOptions {
  int heads = 1;
  bool causal = true;
  bool rotary = false;
  double rotary_base = 10000;
  int cache_length = 0;
  bool bias = true;
  int lora_rank = 0;
  double lora_scale = 1;
  std::string initialisation = "uniform";
  void options(OptionVisitor& o);
};

/// Attention with heads. Parameters: qkv.weight [3 D, D] (queries, keys, values, each by head), qkv.bias,
/// output.weight [D, D], output.bias. With lora_rank r > 0 these are frozen and queries and values gain
/// lora_scale (x A^T) B^T (Hu et al., arXiv 2106.09685): lora_q.in, lora_v.in [r, D], lora_q.out, lora_v.out
/// [D, r], zero at first.
class Attention final : public Layer {
 public:
  using Options = AttentionOptions;
  Attention(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  /// Throws InputError where the tokens so far are more than the cache may hold.
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// A transformer's block: attention and a two-layer perceptron, each around a residual connection.
///   norm pre:  x + f(N(x));  post: N(x + f(x));  peri: x + N(f(N(x)))
/// Parameters: those of the attention below attention., up.weight [hidden, D], up.bias, down.weight [D,
/// hidden], down.bias, norm1.weight, norm1.bias, norm2. ... (peri: norm1_out., norm2_out. too). With `gated`
/// the perceptron is down(activation(gate x) * up x), as in SwiGLU (Shazeer, arXiv 2002.05202), with
/// gate.weight and gate.bias of up's shapes. With LoRA all of them but the added ones are frozen.
class Transformer final : public Layer {
 public:
  struct Options {
    AttentionOptions attention;
    int hidden = 0;
    std::string activation = "gelu";
    bool gated = false;
    std::string norm = "pre";
    std::string norm_kind = "layer";
    double dropout = 0;
    void options(OptionVisitor& o);
  };
  Transformer(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  std::int64_t hidden() const { return options_.hidden == 0 ? 4 * input()[1] : options_.hidden; }
  Tensor norm(const BoundParameters& parameters, const std::string& which, const Tensor& x) const;
  Tensor dropped(const Tensor& x, const std::string& where, Pass& pass) const;
  Options options_;
  Attention attention_;
};

}  // namespace rankine
