#include <algorithm>
#include <span>

#include "kernels/error.hpp"
#include "src/methods/local/forward_losses.hpp"
#include "src/nn/activations.hpp"
#include "src/nn/csr.hpp"
#include "src/rules/accumulate.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

/// `x` [L, B, nodes, F] with label(node, its own class or -1) in the last c columns; a node whose label is -1
/// keeps what it has.
Tensor labelled(const Tensor& x, std::int64_t c,
                const std::function<std::int64_t(std::int64_t node, std::int64_t own)>& label) {
  const std::int64_t nodes = x.extent(2), f = x.extent(3) - c;
  // All samples have the same labels.
  const std::vector<double> columns = slice(slice(slice(x, 0, 0, 1), 1, 0, 1), 3, f, f + c).to_vector();
  HostArray<double> changed({1, 1, nodes, c});
  for (std::int64_t node = 0; node < nodes; ++node) {
    const auto row =
        std::span(columns).subspan(static_cast<std::size_t>(node * c), static_cast<std::size_t>(c));
    const auto one = std::find(row.begin(), row.end(), 1.0);
    const std::int64_t own = one == row.end() ? -1 : one - row.begin(), to = label(node, own);
    for (std::int64_t k = 0; k < c; ++k)
      changed[node * c + k] = to < 0 ? row[static_cast<std::size_t>(k)] : to == k ? 1 : 0;
  }
  const Tensor all = expand(cast(changed.to_device(), x.dtype()), {x.extent(0), x.extent(1), nodes, c});
  return concat({slice(x, 3, 0, f), contiguous(all)}, 3);
}

class Goodness final : public LayerLoss {
 public:
  explicit Goodness(double threshold) : threshold_(threshold) {}

  void check(const RuleSetup& setup) const override {
    if (setup.graph->label_columns == 0)
      throw InputError("forwardgnn: goodness judges labels in the input; set data.label_columns: true");
  }
  /// It is a loss of its own, without targets that a teacher could change.
  std::vector<std::string> unused_options() const override { return {"loss", "distill"}; }

  /// Both labels' inputs, side by side along B.
  Tensor start(const RuleSetup&, const RuleContext& context, Pass& pass) override {
    const NetworkBatch& batch = *context.batch;
    const std::int64_t classes = pass.graph->label_columns;
    const RandomStream random(pass.seed, "forwardgnn/wrong-labels");
    const auto wrong = [&](std::int64_t node, std::int64_t own) {
      return own < 0 ? -1 : (own + 1 + random.integer(classes - 1, pass.step, node, 0)) % classes;
    };
    const Tensor h = concat({batch.inputs, labelled(batch.inputs, classes, wrong)}, 1);
    pass.samples.clear();
    for (std::int64_t shard = 0; shard < h.extent(0); ++shard)
      for (int twice = 0; twice < 2; ++twice) {
        const auto ids = batch.ids.begin() + shard * batch.inputs.extent(1);
        pass.samples.insert(pass.samples.end(), ids, ids + batch.inputs.extent(1));
      }
    return unit_rows(h);
  }

  TapeLoss of(int, const Tensor& output, const RuleSetup& setup, const NetworkBatch& batch,
              const Pass&) const override {
    const std::int64_t samples = batch.targets.extent(1);
    const Tensor over = add_scalar(sum(square(output), {3}), -threshold_);
    const Tensor right = slice(over, 1, 0, samples), wrong = slice(over, 1, samples, 2 * samples);
    const Tensor node_loss = add(softplus(neg(right)), softplus(wrong));
    return mean_over_batch(setup, mean(mul(node_loss, sum(batch.targets, {3})), {2}));
  }

  Tensor predict(const Tensor& x, const Layers& layers, const Graph& graph) const override {
    std::vector<Tensor> of_classes;
    for (std::int64_t c = 0; c < graph.label_columns; ++c) {
      const auto label = [&](std::int64_t, std::int64_t own) { return own < 0 ? c : own; };
      Tensor total;
      for (const Tensor& o : layers(labelled(x, graph.label_columns, label))) {
        const Tensor goodness = sum(square(o), {3}, true);
        total = total.defined() ? add(total, goodness) : goodness;
      }
      of_classes.push_back(total);
    }
    return concat(of_classes, 3);
  }

 private:
  double threshold_;
};

}  // namespace

std::unique_ptr<LayerLoss> make_goodness(double threshold) { return std::make_unique<Goodness>(threshold); }

}  // namespace rankine
