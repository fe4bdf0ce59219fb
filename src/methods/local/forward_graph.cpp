#include "src/methods/local/forward_graph.hpp"

#include <algorithm>
#include <functional>
#include <span>

#include <fmt/format.h>

#include "src/nn/activations.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/softmax.hpp"
#include "src/rules/accumulate.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

/// x / (|x| + 1e-8) along the last axis.
Tensor normalised(const Tensor& x) {
  const Tensor length = sqrt(sum(square(x), {x.rank() - 1}, true));
  return div(x, add_scalar(length, 1e-8));
}

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

}  // namespace

Tensor products_with_last(const Tensor& e, std::int64_t count) {
  const std::int64_t nodes = e.extent(2);
  const auto last = [nodes, count](const Tensor& x) { return slice(x, 2, nodes - count, nodes); };
  Tensor y;
  {
    const NoGrad off;
    y = matmul(e.detach(), transpose(last(e.detach()), 2, 3));
  }
  return apply_op("products_with_last", {e}, y,
                  [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
                    const Tensor all = matmul(g[0], last(e)), own = matmul(transpose(g[0], 2, 3), e);
                    if (context.create_graph()) return {add(all, place(own, 2, nodes, nodes - count))};
                    // In place: what nodes there are beside the last ones is not copied.
                    const Tensor rows = all.view(own.shape(), all.strides(), (nodes - count) * e.extent(3));
                    rows.assign(add(rows, own));
                    return {all};
                  });
}

void ForwardGraphOptions::options(OptionVisitor& o) {
  o("loss", loss,
    {.help = "what a layer learns from: scores against the classes' virtual nodes; the same of its output's "
             "mean with the layers above; or the goodness of right and wrong labels (forward-forward)",
     .choices = {"single", "top_down", "goodness"}});
  o("temperature", temperature, {.help = "that scores are divided by", .min = 0, .exclusive_min = true});
  o("threshold", threshold, {.help = "goodness that separates right labels from wrong ones"});
}

void ForwardGraph::check(const RuleSetup& setup) const {
  if (setup.network == nullptr)
    throw InputError("forwardgnn: what is trained is no list of blocks; use backprop");
  const Network& network = *setup.network;
  if (setup.graph == nullptr)
    throw InputError("forwardgnn: needs the nodes of a graph; use the data set csbm");
  if (options_.loss == "goodness") {
    if (setup.graph->label_columns == 0)
      throw InputError("forwardgnn: goodness judges labels in the input; set data.label_columns: true");
  } else if (setup.graph->virtual_nodes == 0) {
    throw InputError(
        fmt::format("forwardgnn: {} compares nodes with virtual nodes of the classes; set "
                    "data.virtual_nodes: true",
                    options_.loss));
  }
  for (int l = 0; l < network.size(); ++l) {
    const Shape out = network.block(l).output();
    if (out.rank() != 2 || out[0] != network.input()[0])
      throw InputError(
          fmt::format("forwardgnn: {} gives {} where a layer gives [nodes, F]; put a layer's blocks "
                      "into a chain",
                      network.block(l).name(), out.text()));
    if (options_.loss == "top_down" && !(out == network.output()))
      throw InputError(
          fmt::format("forwardgnn: top_down takes the mean of all layers' outputs, and {} gives {} "
                      "where the last gives {}; use equal widths",
                      network.block(l).name(), out.text(), network.output().text()));
  }
}

void ForwardGraph::begin(const RuleSetup& setup, const ParameterSet&) {
  setup_ = std::make_unique<RuleSetup>(setup);
  states_.clear();
  known_ = 0;
  if (options_.loss != "top_down") return;
  const Network& network = *setup.network;
  states_.push_back(Tensor::zeros(network.input(), network.dtype()));
  for (int l = 0; l < network.size(); ++l)
    states_.push_back(Tensor::zeros(network.block(l).output(), network.dtype()));
}

void ForwardGraph::register_state(StateRegistry& registry, const std::string& prefix) {
  if (states_.empty()) return;
  registry.add(prefix + "/known", StateKind::replicated, known_);
  for (std::size_t l = 0; l < states_.size(); ++l)
    registry.add(fmt::format("{}/state{}", prefix, l), StateKind::replicated, states_[l]);
}

Tensor ForwardGraph::scores(const Tensor& e, const Graph& graph) const {
  return scale(products_with_last(e, graph.virtual_nodes), 1 / options_.temperature);
}

ForwardGraph::Judged ForwardGraph::judge(int l, const BoundParameters& bound, const Tensor& h,
                                         const std::vector<Tensor>& above, const NetworkBatch& batch,
                                         Pass& pass) const {
  const Tensor o = setup_->network->forward(bound, h, pass, l, l + 1);
  if (options_.loss != "goodness")
    return {o.detach(), mean_loss(*setup_, scores(mean_of(o, above), *pass.graph), batch)};
  const std::int64_t samples = batch.targets.extent(1);
  const Tensor over = add_scalar(sum(square(o), {3}), -options_.threshold);
  const Tensor right = slice(over, 1, 0, samples), wrong = slice(over, 1, samples, 2 * samples);
  const Tensor node_loss = add(softplus(neg(right)), softplus(wrong));
  return {o.detach(), mean_over_batch(*setup_, mean(mul(node_loss, sum(batch.targets, {3})), {2}))};
}

StepOutcome ForwardGraph::step(RuleContext& context) {
  const Network& network = *setup_->network;
  const NetworkBatch& batch = *context.batch;
  const bool top_down = options_.loss == "top_down";
  const std::int64_t classes = context.pass->graph->label_columns;
  Pass pass = *context.pass;
  Tensor h = batch.inputs;
  if (options_.loss == "goodness") {
    const RandomStream random(pass.seed, "forwardgnn/wrong-labels");
    const auto wrong = [&](std::int64_t node, std::int64_t own) {
      return own < 0 ? -1 : (own + 1 + random.integer(classes - 1, pass.step, node, 0)) % classes;
    };
    h = concat({h, labelled(h, classes, wrong)}, 1);
    pass.samples.clear();
    for (std::int64_t shard = 0; shard < h.extent(0); ++shard)
      for (int twice = 0; twice < 2; ++twice) {
        const auto ids = batch.ids.begin() + shard * batch.inputs.extent(1);
        pass.samples.insert(pass.samples.end(), ids, ids + batch.inputs.extent(1));
      }
  }
  h = normalised(h);
  const auto one = [](const Tensor& x) {
    const Tensor first = slice(slice(x, 0, 0, 1), 1, 0, 1);
    return reshape(first, {x.extent(2), x.extent(3)}).clone();
  };
  std::vector<Tensor> states = states_, next;
  if (top_down && known_ == 0) {
    const NoGrad off;
    Pass quiet = pass;
    quiet.hooks.clear();
    quiet.update_statistics = false;
    const BoundParameters bound = context.parameters.bind(context.tiles);
    Tensor s = h;
    states[0] = one(s);
    for (int l = 0; l < network.size(); ++l) {
      s = normalised(network.forward(bound, s, quiet, l, l + 1));
      states[static_cast<std::size_t>(l) + 1] = one(s);
    }
  }
  StepReport report;
  Tensor flat;
  LossValue loss;
  int count = network.size();  // layers above all that train are left out
  while (!top_down && count > 0 && !trains(context.parameters, count - 1)) --count;
  for (int l = 0; l < count; ++l) {
    std::vector<Tensor> above;
    if (top_down) {
      if (l > 0) h = of_all(states[static_cast<std::size_t>(l)], batch.inputs);
      for (std::size_t k = static_cast<std::size_t>(l) + 2; k < states.size(); ++k)
        above.push_back(of_all(states[k], batch.inputs));
    }
    const BoundParameters bound = context.parameters.bind(context.tiles);
    if (trains(context.parameters, l)) {
      Judged judged = judge(l, bound, h, above, batch, pass);
      accumulate(flat, grad(judged.loss.outputs, judged.loss.seeds, {bound.flat()}).front());
      loss = judged.loss.value;
      h = judged.output;
    } else {
      const NoGrad off;
      h = network.forward(bound, h, pass, l, l + 1);
    }
    h = normalised(h);
    if (top_down) next.push_back(one(h));
  }
  if (!flat.defined()) flat = Tensor::zeros({context.parameters.count()}, context.parameters.dtype());
  const StepOutcome outcome = apply_gradient(context, report, loss, flat);
  if (top_down && outcome.updated) {
    states_[0].assign(states[0]);
    for (std::size_t l = 0; l < next.size(); ++l) states_[l + 1].assign(next[l]);
    known_ = 1;
  }
  return outcome;
}

bool ForwardGraph::trains(const ParameterSet& parameters, int l) const {
  const std::string prefix = setup_->network->block(l).name() + ".";
  return std::any_of(parameters.parts().begin(), parameters.parts().end(), [&](const ParameterInfo& part) {
    return !part.frozen && part.name.starts_with(prefix);
  });
}

Tensor ForwardGraph::predict(const Network& network, const BoundParameters& parameters, const Tensor& x,
                             Pass& pass) {
  const auto outputs = [&](const Tensor& input) {
    std::vector<Tensor> all;
    for (int l = 0; l < network.size(); ++l)
      all.push_back(network.forward(parameters, normalised(l == 0 ? input : all.back()), pass, l, l + 1));
    return all;
  };
  if (options_.loss == "goodness") {
    std::vector<Tensor> of_classes;
    const std::int64_t classes = pass.graph->label_columns;
    for (std::int64_t c = 0; c < classes; ++c) {
      const auto label = [&](std::int64_t, std::int64_t own) { return own < 0 ? c : own; };
      Tensor total;
      for (const Tensor& o : outputs(labelled(x, classes, label))) {
        const Tensor goodness = sum(square(o), {3}, true);
        total = total.defined() ? add(total, goodness) : goodness;
      }
      of_classes.push_back(total);
    }
    return concat(of_classes, 3);
  }
  const std::vector<Tensor> all = outputs(x);
  Tensor total;
  for (std::size_t l = 0; l < all.size(); ++l) {
    std::vector<Tensor> above;
    if (options_.loss == "top_down")
      for (std::size_t k = l + 1; k < all.size(); ++k) above.push_back(normalised(all[k]));
    const Tensor p = softmax(scores(mean_of(all[l], above), *pass.graph));
    total = total.defined() ? add(total, p) : p;
  }
  return log(scale(total, 1 / static_cast<double>(all.size())));
}

}  // namespace rankine
