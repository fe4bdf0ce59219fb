// Gates: weights of the experts of a mixture, sample by sample. What a deck's `gate` and `search` of a block
// `moe` name.
#pragma once

#include <cstdint>
#include <string>

#include "src/nn/layer.hpp"

namespace rankine {

/// What a mixture fixes for its gate.
struct GateContext {
  std::string name;  ///< such as "block2.gate": its parameters are called name + ".weight" and so on
  std::int64_t inputs = 0, experts = 0;
  DType dtype = DType::f32;
};

/// What gates and searches share: names, parameters, and a term of the loss.
class GatePart {
 public:
  explicit GatePart(const GateContext& context) : context_(context) {}
  virtual ~GatePart() = default;
  const std::string& name() const { return context_.name; }
  std::int64_t inputs() const { return context_.inputs; }
  std::int64_t experts() const { return context_.experts; }
  virtual void add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
    static_cast<void>(parameters);
    static_cast<void>(seed);
  }
  virtual Products products() const { return {}; }
  /// Whether it adds to SideOutputs::penalty.
  virtual bool penalises() const { return false; }

 private:
  GateContext context_;
};

class Gate : public GatePart {
 public:
  using GatePart::GatePart;
  /// x [L, B, inputs] to weights [L, B, experts], whose sum is 1.
  virtual Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const = 0;
};

/// Changes which expert a weight goes to.
class GateSearch : public GatePart {
 public:
  using GatePart::GatePart;
  /// Weights [L, B, experts] of a gate to those of the mixture.
  virtual Tensor assign(const BoundParameters& parameters, const Tensor& weights, Pass& pass) const = 0;
};

/// The tables of gates and searches; those of the catalogue among them, so they are written out in
/// src/methods/gating/gates.cpp.
const Registry<Gate, const GateContext&>& gates();
const Registry<GateSearch, const GateContext&>& gate_searches();

/// p_i exp(z_i) / sum_j p_j exp(z_j) along the last axis, for p >= 0 with a positive entry in each row. Where
/// p_i is 0 the result is 0, and so is the gradient by z_i.
Tensor weighted_softmax(const Tensor& z, const Tensor& p);
/// 1 for the k largest of each row, else 0; of equals the first. Off the tape.
Tensor largest(const Tensor& z, std::int64_t k);
/// sum -p log(p + 1e-6) over all axes after the second, mean over the second: [L, B, ...] to [L].
Tensor mean_entropy(const Tensor& p);
/// Adds `weight` times `term` [L] to the penalty of a pass, where somebody asks for it.
void penalise(Pass& pass, double weight, const Tensor& term);

/// softmax(W x + b), all experts active.
class SoftmaxGate : public Gate {
 public:
  struct Options {
    void options(OptionVisitor&) {}
  };
  SoftmaxGate(const Options&, const GateContext& context) : Gate(context) {}
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override { return {.weights = {{name() + ".weight", 1}}}; }
  Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 protected:
  Tensor logits(const BoundParameters& parameters, const Tensor& x) const;
};

/// The softmax of the k largest logits (Shazeer et al., arXiv 1701.06538, without noise).
class TopKGate final : public SoftmaxGate {
 public:
  struct Options {
    int k = 2;
    void options(OptionVisitor& o);
  };
  TopKGate(const Options& options, const GateContext& context);
  Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// Equal weights of k experts that are drawn for each sample's id once and for all (Roller et al., arXiv
/// 2106.04426, with ids in place of tokens). It has no parameters.
class HashGate final : public Gate {
 public:
  struct Options {
    int k = 2;
    long seed = 0;
    void options(OptionVisitor& o);
  };
  HashGate(const Options& options, const GateContext& context);
  Tensor weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

}  // namespace rankine
