#include "src/methods/local/forward_graph.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/methods/local/forward_losses.hpp"
#include "src/rules/accumulate.hpp"

namespace rankine {

Tensor unit_rows(const Tensor& x) {
  const Tensor length = sqrt(sum(square(x), {x.rank() - 1}, true));
  return div(x, add_scalar(length, 1e-8));
}

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

Tensor LayerLoss::start(const RuleSetup&, const RuleContext& context, Pass&) {
  return unit_rows(context.batch->inputs);
}

void ForwardGraphOptions::options(OptionVisitor& o) {
  o("loss", loss,
    {.help = "what a layer learns from: scores against the classes' virtual nodes; the same of its output's "
             "mean with the layers above; or the goodness of right and wrong labels (forward-forward)",
     .choices = {"single", "top_down", "goodness"}});
  o("temperature", temperature, {.help = "that scores are divided by", .min = 0, .exclusive_min = true});
  o("threshold", threshold, {.help = "goodness that separates right labels from wrong ones"});
}

ForwardGraph::ForwardGraph(const Options& options)
    : loss_(options.loss == "goodness" ? make_goodness(options.threshold)
                                       : make_scores(options.temperature, options.loss == "top_down")) {}
ForwardGraph::~ForwardGraph() = default;

std::vector<std::string> ForwardGraph::unused_options() const { return loss_->unused_options(); }

void ForwardGraph::check(const RuleSetup& setup) const {
  if (setup.network == nullptr)
    throw InputError("forwardgnn: what is trained is no list of blocks; use backprop");
  const Network& network = *setup.network;
  if (setup.graph == nullptr)
    throw InputError("forwardgnn: needs the nodes of a graph; use the data set csbm");
  for (int l = 0; l < network.size(); ++l) {
    const Shape out = network.block(l).output();
    if (out.rank() != 2 || out[0] != network.input()[0])
      throw InputError(
          fmt::format("forwardgnn: {} gives {} where a layer gives [nodes, F]; put a layer's blocks "
                      "into a chain",
                      network.block(l).name(), out.text()));
  }
  loss_->check(setup);
}

void ForwardGraph::begin(const RuleSetup& setup, const ParameterSet&) {
  setup_ = std::make_unique<RuleSetup>(setup);
  loss_->begin(setup);
}

void ForwardGraph::register_state(StateRegistry& registry, const std::string& prefix) {
  loss_->register_state(registry, prefix);
}

StepOutcome ForwardGraph::step(RuleContext& context) {
  const Network& network = *setup_->network;
  Pass pass = *context.pass;
  Tensor h = loss_->start(*setup_, context, pass);
  StepReport report;
  Tensor flat;
  LossValue loss;
  int count = network.size();  // layers above all that train are left out
  while (!loss_->looks_up() && count > 0 && !trains(context.parameters, count - 1)) --count;
  for (int l = 0; l < count; ++l) {
    h = loss_->input(l, h);
    const BoundParameters bound = context.parameters.bind(context.tiles);
    if (trains(context.parameters, l)) {
      const Tensor output = network.forward(bound, h, pass, l, l + 1);
      const TapeLoss own = loss_->of(l, output, *setup_, *context.batch, pass);
      accumulate(flat, grad(own.outputs, own.seeds, {bound.flat()}).front());
      loss = own.value;
      h = output.detach();
    } else {
      const NoGrad off;
      h = network.forward(bound, h, pass, l, l + 1);
    }
    h = unit_rows(h);
    loss_->passed(h);
  }
  if (!flat.defined()) flat = Tensor::zeros({context.parameters.count()}, context.parameters.dtype());
  const StepOutcome outcome = apply_gradient(context, report, loss, flat);
  loss_->end(outcome.updated);
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
  const auto layers = [&](const Tensor& input) {
    std::vector<Tensor> all;
    for (int l = 0; l < network.size(); ++l)
      all.push_back(network.forward(parameters, unit_rows(l == 0 ? input : all.back()), pass, l, l + 1));
    return all;
  };
  return loss_->predict(x, layers, *pass.graph);
}

}  // namespace rankine
