// ForwardGNN: graph networks that learn layer by layer without backpropagation (Park et al., "Forward
// Learning of Graph Neural Networks", ICLR 2024, arXiv 2403.11004; released code:
// facebookresearch/forwardgnn).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/rules/learning_rule.hpp"

namespace rankine {

class LayerLoss;  // forward_losses.hpp

struct ForwardGraphOptions {
  std::string loss = "single";
  double temperature = 1, threshold = 2;
  void options(OptionVisitor& o);
};

/// Each block is a layer; layer l takes n(h_{l-1}) with n(x) = x / (|x| + 1e-8) for each node, off the tape,
/// and gives o_l. No gradient crosses a layer. Layers whose parameters a phase freezes only pass on.
///
/// `single` (single forward): scores of class c are o_l[node] . o_l[virtual node of c] / temperature, judged
/// by the loss; h_l = o_l. The prediction is the mean of the layers' probabilities.
/// `top_down` (SF-Top2Loss): in place of o_l the mean of o_l and the states s_{l+1} ... s_n, s = n(o), that
/// the step before has left; layer l takes s_{l-1} of the step before. A prediction takes all states from one
/// pass.
/// `goodness` (forward-forward with label appending): the last columns of the input are labels. With g =
/// |o_l[node]|^2 the loss of a training node is softplus(threshold - g) with its label, and softplus(g -
/// threshold) with a wrong one, drawn for the node and the step. The score of class c is the sum over the
/// layers of g with c in the columns of all nodes that have no label.
class ForwardGraph final : public LearningRule {
 public:
  using Options = ForwardGraphOptions;
  explicit ForwardGraph(const Options& options);
  ~ForwardGraph() override;

  std::vector<std::string> unused_options() const override;

  /// InputError without a graph with virtual nodes (single, top_down) or label columns (goodness), or for
  /// top_down where layers differ in width.
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  Shape prediction(const Network& network, std::int64_t classes) const override {
    return {network.output()[0], classes};
  }
  Tensor predict(const Network& network, const BoundParameters& parameters, const Tensor& x,
                 Pass& pass) override;
  void register_state(StateRegistry& registry, const std::string& prefix) override;

 private:
  /// Whether a layer has parameters that are not frozen.
  bool trains(const ParameterSet& parameters, int l) const;

  std::unique_ptr<LayerLoss> loss_;
  std::unique_ptr<RuleSetup> setup_;
};

}  // namespace rankine
