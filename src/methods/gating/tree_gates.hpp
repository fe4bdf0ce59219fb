// Gates whose weights are products of smooth steps, which reach 0 and 1: what they leave out has weight 0
// exactly (Hazimeh et al., "DSelect-k", arXiv 2106.03760; Ibrahim et al., "COMET", arXiv 2306.02824).
#pragma once

#include "src/nn/gate.hpp"

namespace rankine {

/// 0 for z <= -gamma/2, 1 for z >= gamma/2, and -2 t^3 + 3/2 t + 1/2 with t = z / gamma between.
Tensor smooth_step(const Tensor& z, double gamma);

/// Trees with a leaf for each expert. Node i of a tree has the children 2 i + 1 and 2 i + 2; of its 2 n - 1
/// nodes the first n - 1 are splits, and node n - 1 + e is the leaf of expert e. A split sends s = S(w x + b)
/// to the left child and 1 - s to the right, so leaf e of tree t has the probability p_te. With leaf logits
/// a_te = u_te x + c_te the weight of expert e is sum_t p_te exp(a_te) / sum_tj p_tj exp(a_tj).
class TreeGate final : public Gate {
 public:
  struct Options {
    int trees = 2;
    double gamma = 1, entropy = 0;
    void options(OptionVisitor& o);
  };
  TreeGate(const Options& options, const GateContext& context) : Gate(context), options_(options) {}
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  bool penalises() const override { return options_.entropy > 0; }
  Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// Selectors with a bit s_j = S(w_j x + b_j) for each digit of an expert's number: selector i gives expert e
/// the product r_ie of s_ij or 1 - s_ij, and the gate is the sum of r_ie weighted by softmax_i(a_i x + c_i).
class SelectorGate final : public Gate {
 public:
  struct Options {
    int selectors = 2;
    double gamma = 1, entropy = 0;
    void options(OptionVisitor& o);
  };
  SelectorGate(const Options& options, const GateContext& context);
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  bool penalises() const override { return options_.entropy > 0; }
  Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
  std::int64_t bits_ = 0;
};

}  // namespace rankine
