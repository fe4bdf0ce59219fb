// Layers on the nodes of a graph: a sample is [nodes, F]. The graph comes with the pass (Pass::graph).
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// y = G x W^T + b with the graph's weights G [nodes, nodes]; on a normalised graph that is the layer of Kipf
/// and Welling (arXiv 1609.02907). Parameters: weight [units, F], bias [units].
class GraphConv final : public Layer {
 public:
  struct Options {
    int units = 0;
    bool bias = true;
    std::string initialisation = "xavier_normal";
    void options(OptionVisitor& o);
  };
  GraphConv(const Options& options, const LayerContext& context);
  Shape output() const override { return {input()[0], options_.units}; }
  bool needs_graph() const override { return true; }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  /// Throws InputError without a graph of the sample's nodes.
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// Attention along edges with heads (Velickovic et al., arXiv 1710.10903): node i hears node j with the
/// softmax over its edges of leaky(a . W x_i + b . W x_j), times the edge's weight; heads side by side.
/// Parameters: weight [heads units, F], receiver and sender [heads, units], bias [heads units].
class GraphAttention final : public Layer {
 public:
  struct Options {
    int units = 0, heads = 1;
    double slope = 0.2;
    bool bias = true;
    void options(OptionVisitor& o);
  };
  GraphAttention(const Options& options, const LayerContext& context);
  Shape output() const override { return {input()[0], options_.heads * options_.units}; }
  bool needs_graph() const override { return true; }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

}  // namespace rankine
