#include "src/nn/layers/mixture.hpp"

#include <algorithm>

namespace rankine {
namespace {

struct Settings {
  int experts = 8;
  void options(OptionVisitor& o) { o("experts", experts, {.help = "experts of the mixture", .min = 1}); }
};

}  // namespace

void Mixture::describe(OptionVisitor& o) {
  Settings settings;
  settings.options(o);
  std::vector<std::string> expert;
  o("expert", expert,
    {.help = "layers of an expert, each a mapping as in model.blocks", .required = true, .min_size = 1});
  std::string gate = "softmax", search;
  o("gate", gate, {.help = "weighs the experts: a gate's name, or a mapping with its options"});
  o("search", search,
    {.help = "assigns the gate's weights to experts: a search's name, or a mapping with its options; none if "
             "it is left out"});
}

Mixture::Mixture(const DeckNode& node, const LayerContext& context) : Layer(context) {
  Settings settings;
  settings.options(*node.reader());
  experts_ = settings.experts;
  const DeckNode blocks = node.child("expert"), gate = node.child_or("gate", "softmax");
  const bool searches = node.has("search");
  node.reject_unread_keys();
  if (!blocks.is_sequence() || blocks.items().empty())
    blocks.error("'expert' must be a list of layers, such as [{name: dense, units: 8}, {name: relu}]");
  expert_ = std::make_unique<Network>(blocks.items(), input(), dtype(), name() + ".");
  for (int b = 0; b < expert_->size(); ++b) {
    const SideLayout sides = expert_->block(b).sides();
    if (expert_->block(b).needs_graph() || !sides.gates.empty())
      blocks.error("moe: " + expert_->block(b).name() +
                   " works on a graph or is a mixture itself; an expert has neither");
  }
  const ParameterSet one = expert_->initial_parameters(0);
  for (const ParameterInfo& part : one.parts()) {
    if (part.frozen)
      blocks.error("moe: an expert cannot keep statistics of the batch, as '" + part.name +
                   "' are; use layer_norm or group_norm");
    parts_.emplace_back(part.name, part.shape);
  }
  gate_ = gates().make(gate, {name() + ".gate", input().count(), experts_, dtype()});
  if (searches)
    search_ =
        gate_searches().make(node.child("search"), {name() + ".search", input().count(), experts_, dtype()});
}

SideLayout Mixture::sides() const {
  return {{{name(), experts_}}, gate_->penalises() || (search_ && search_->penalises())};
}

void Mixture::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  // Expert e is drawn from a seed of its own; 0 from the block's, as a chain of its blocks is.
  std::vector<ParameterSet> drawn;
  for (std::int64_t e = 0; e < experts_; ++e)
    drawn.push_back(expert_->initial_parameters(seed + static_cast<std::uint64_t>(e) * 0x9E3779B97F4A7C15U));
  for (const ParameterInfo& part : drawn.front().parts()) {
    ParameterInfo stacked = part;
    stacked.shape.insert(0, experts_);
    parameters.add(stacked);
    const Tensor all = parameters.view(part.name);
    for (std::int64_t e = 0; e < experts_; ++e)
      all.view(part.shape, row_major_strides(part.shape), e * part.shape.count())
          .assign(drawn[static_cast<std::size_t>(e)].view(part.name));
  }
  gate_->add_parameters(parameters, seed);
  if (search_) search_->add_parameters(parameters, seed);
}

Products Mixture::products() const {
  Products all = expert_->products();
  all.others = static_cast<double>(experts_) * (all.others + static_cast<double>(output().count()));
  all += gate_->products();
  if (search_) all += search_->products();
  return all;
}

Tensor Mixture::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t shards = x.extent(0), batch = x.extent(1);
  std::map<std::string, Tensor> own;
  for (const auto& [part, one] : parts_) {
    Shape shape = one;
    shape.insert(0, shards * experts_);
    own.emplace(part, reshape(parameters[part], shape));
  }
  Tensor wide = x;
  if (experts_ > 1) {
    Shape shape = x.shape();
    shape.insert(1, 1);
    wide = reshape(x, shape);
    shape[1] = experts_;
    wide = expand(wide, shape);
    shape = x.shape();
    shape[0] *= experts_;
    wide = reshape(wide, shape);
  }
  Pass inner = pass;
  inner.hooks.clear();
  inner.on_device = {};
  inner.side = nullptr;
  inner.inputs = nullptr;  // the weights of experts lie side by side, each with inputs of its own
  inner.samples.clear();
  for (std::int64_t s = 0; s < shards; ++s)
    for (std::int64_t e = 0; e < experts_; ++e)
      for (std::int64_t b = 0; b < batch; ++b)
        inner.samples.push_back(pass.sample(s * batch + b) * experts_ + e);
  const Tensor y = expert_->forward(BoundParameters({}, std::move(own)), wide, inner);

  Tensor weights = gate_->weights(parameters, reshape(x, {shards, batch, -1}), pass);
  if (search_) weights = search_->assign(parameters, weights, pass);
  if (pass.side != nullptr) pass.side->gates[name()] = weights.detach();
  const Tensor of_expert = reshape(permute(weights, {0, 2, 1}), {shards, experts_, batch, 1});
  const Tensor mixed = sum(mul(reshape(y, {shards, experts_, batch, -1}), of_expert), {1});
  Shape shape = output();
  shape.insert(0, batch);
  shape.insert(0, shards);
  return reshape(mixed, shape);
}

}  // namespace rankine
