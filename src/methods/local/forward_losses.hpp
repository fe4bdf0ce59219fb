// What the layers of ForwardGNN learn from (forward_graph.hpp), a class a loss.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/methods/local/forward_graph.hpp"

namespace rankine {

/// x / (|x| + 1e-8) along the last axis.
Tensor unit_rows(const Tensor& x);

/// y[..., i, c] = e[..., i, :] . e[..., nodes - count + c, :] of e [L, B, nodes, F], in less memory than a
/// slice and a product.
Tensor products_with_last(const Tensor& e, std::int64_t count);

class LayerLoss {
 public:
  /// The outputs of all layers for an input [L, B, nodes, F].
  using Layers = std::function<std::vector<Tensor>(const Tensor& input)>;

  virtual ~LayerLoss() = default;
  /// InputError where network or graph lack what is judged.
  virtual void check(const RuleSetup& setup) const = 0;
  virtual std::vector<std::string> unused_options() const { return {}; }
  virtual void begin(const RuleSetup& setup) { (void)setup; }
  virtual void register_state(StateRegistry& registry, const std::string& prefix) {
    (void)registry, (void)prefix;
  }

  /// Whether layers hear those above them, so that no step may leave these out.
  virtual bool looks_up() const { return false; }
  /// A step begins: the input of the first layer, [L, B, nodes, F]. May change the samples of `pass`.
  virtual Tensor start(const RuleSetup& setup, const RuleContext& context, Pass& pass);
  /// The input of layer `l`, for what the layer below gives.
  virtual Tensor input(int l, const Tensor& below) const {
    (void)l;
    return below;
  }
  /// The loss of layer `l`, for its output.
  virtual TapeLoss of(int l, const Tensor& output, const RuleSetup& setup, const NetworkBatch& batch,
                      const Pass& pass) const = 0;
  /// Layer after layer, in order: what it passes on. Collective.
  virtual void passed(const Tensor& h) { (void)h; }
  virtual void end(bool updated) { (void)updated; }

  /// Logarithms of probabilities, or other scores, [L, B, nodes, classes].
  virtual Tensor predict(const Tensor& x, const Layers& layers, const Graph& graph) const = 0;
};

/// Goodness of right and wrong labels.
std::unique_ptr<LayerLoss> make_goodness(double threshold);
/// Scores against virtual nodes, alone or with the layers above.
std::unique_ptr<LayerLoss> make_scores(double temperature, bool top_down);

}  // namespace rankine
