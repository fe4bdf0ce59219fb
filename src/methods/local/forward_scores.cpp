#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/methods/local/forward_losses.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/softmax.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {
namespace {

/// A state [nodes, F] for samples [L, B, ...].
Tensor of_all(const Tensor& state, const Tensor& like) {
  return contiguous(expand(reshape(state, {1, 1, state.extent(0), state.extent(1)}),
                           {like.extent(0), like.extent(1), state.extent(0), state.extent(1)}));
}

Tensor mean_of(const Tensor& first, const std::vector<Tensor>& others) {
  if (others.empty()) return first;
  Tensor total = first;
  for (const Tensor& other : others) total = add(total, other);
  return scale(total, 1 / static_cast<double>(1 + others.size()));
}

class SingleForward : public LayerLoss {
 public:
  explicit SingleForward(double temperature) : temperature_(temperature) {}

  void check(const RuleSetup& setup) const override {
    if (setup.graph->virtual_nodes == 0)
      throw InputError(
          "forwardgnn: nodes are compared with virtual nodes of the classes; set data.virtual_nodes: true");
  }
  TapeLoss of(int l, const Tensor& output, const RuleSetup& setup, const NetworkBatch& batch,
              const Pass& pass) const override {
    return mean_loss(setup, scores(mean_of(output, above(l, output)), *pass.graph), batch);
  }
  Tensor predict(const Tensor& x, const Layers& layers, const Graph& graph) const override {
    const std::vector<Tensor> all = layers(x);
    Tensor total;
    for (std::size_t l = 0; l < all.size(); ++l) {
      std::vector<Tensor> heard;
      if (looks_up())
        for (std::size_t k = l + 1; k < all.size(); ++k) heard.push_back(unit_rows(all[k]));
      const Tensor p = softmax(scores(mean_of(all[l], heard), graph));
      total = total.defined() ? add(total, p) : p;
    }
    return log(scale(total, 1 / static_cast<double>(all.size())));
  }

 protected:
  /// What a layer hears of those above it, in a step, for samples like `like`.
  virtual std::vector<Tensor> above(int /*l*/, const Tensor& /*like*/) const { return {}; }

 private:
  /// [L, B, nodes, classes] of outputs e.
  Tensor scores(const Tensor& e, const Graph& graph) const {
    return scale(products_with_last(e, graph.virtual_nodes), 1 / temperature_);
  }
  double temperature_;
};

class TopDown final : public SingleForward {
 public:
  using SingleForward::SingleForward;

  void check(const RuleSetup& setup) const override {
    SingleForward::check(setup);
    const Network& network = *setup.network;
    for (int l = 0; l < network.size(); ++l) {
      const Shape out = network.block(l).output();
      if (!(out == network.output()))
        throw InputError(
            fmt::format("forwardgnn: top_down takes the mean of all layers' outputs, and {} gives {} "
                        "where the last gives {}; use equal widths",
                        network.block(l).name(), out.text(), network.output().text()));
    }
  }
  void begin(const RuleSetup& setup) override {
    const Network& network = *setup.network;
    known_ = 0;
    states_.assign(1, Tensor::zeros(network.input(), network.dtype()));
    for (int l = 0; l < network.size(); ++l)
      states_.push_back(Tensor::zeros(network.block(l).output(), network.dtype()));
  }
  void register_state(StateRegistry& registry, const std::string& prefix) override {
    registry.add(prefix + "/known", StateKind::replicated, known_);
    for (std::size_t l = 0; l < states_.size(); ++l)
      registry.add(fmt::format("{}/state{}", prefix, l), StateKind::replicated, states_[l]);
  }

  bool looks_up() const override { return true; }
  Tensor start(const RuleSetup& setup, const RuleContext& context, Pass& pass) override {
    const Tensor h = LayerLoss::start(setup, context, pass);
    tiles_ = context.tiles;
    used_ = states_;
    next_.clear();
    if (known_ != 0) return h;
    const NoGrad off;
    Pass quiet = pass;
    quiet.hooks.clear();
    quiet.update_statistics = false;
    const BoundParameters bound = context.parameters.bind(context.tiles);
    Tensor s = h;
    used_[0] = first_sample(s);
    for (std::size_t l = 1; l < used_.size(); ++l) {
      const int block = static_cast<int>(l) - 1;
      used_[l] = first_sample(s = unit_rows(setup.network->forward(bound, s, quiet, block, block + 1)));
    }
    return h;
  }
  Tensor input(int l, const Tensor& below) const override {
    return l == 0 ? below : of_all(used_[static_cast<std::size_t>(l)], below);
  }
  void passed(const Tensor& h) override { next_.push_back(first_sample(h)); }
  void end(bool updated) override {
    if (!updated) return;
    states_[0].assign(used_[0]);
    for (std::size_t l = 0; l < next_.size(); ++l) states_[l + 1].assign(next_[l]);
    known_ = 1;
  }

 private:
  std::vector<Tensor> above(int l, const Tensor& like) const override {
    std::vector<Tensor> out;
    for (std::size_t k = static_cast<std::size_t>(l) + 2; k < used_.size(); ++k)
      out.push_back(of_all(used_[k], like));
    return out;
  }
  /// Of the whole batch, on all ranks: with dropout samples differ.
  Tensor first_sample(const Tensor& x) const {
    HostArray<double> is_first({x.extent(0), 1, 1});
    for (std::int64_t l = 0; l < x.extent(0); ++l) is_first[l] = l + tiles_->first_tile() == 0 ? 1 : 0;
    const Tensor firsts = reshape(slice(x, 1, 0, 1), {x.extent(0), x.extent(2), x.extent(3)}).detach();
    return sum_over_tiles(mul(firsts, cast(is_first.to_device(), x.dtype())), tiles_);
  }

  SharedTileSum tiles_;
  std::vector<Tensor> states_;       // s_0 ... s_n, [nodes, F]
  std::vector<Tensor> used_, next_;  // in this step, and what it leaves
  std::int64_t known_ = 0;           // whether there are states yet
};

}  // namespace

std::unique_ptr<LayerLoss> make_scores(double temperature, bool top_down) {
  if (top_down) return std::make_unique<TopDown>(temperature);
  return std::make_unique<SingleForward>(temperature);
}

}  // namespace rankine
