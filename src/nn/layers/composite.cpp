#include "src/nn/layers/composite.hpp"

#include "src/nn/activations.hpp"
#include "src/nn/initialisation.hpp"
#include "src/nn/layers/conv.hpp"

namespace rankine {
namespace {

Network read_blocks(const DeckNode& node, const LayerContext& context) {
  const DeckNode blocks = node.child("blocks");
  if (!blocks.is_sequence() || blocks.items().empty())
    blocks.error("'blocks' must be a list of layers, such as [{name: conv2d, channels: 8}, {name: relu}]");
  node.reject_unread_keys();
  return Network(blocks.items(), context.input, context.dtype, context.name + ".");
}

}  // namespace

Chain::Chain(const DeckNode& node, const LayerContext& context)
    : Layer(context), blocks_(read_blocks(node, context)) {}

void Chain::describe(OptionVisitor& o) {
  std::vector<std::string> blocks;
  o("blocks", blocks, {.help = "layers, each a mapping as in model.blocks", .required = true, .min_size = 1});
}

bool Chain::needs_graph() const {
  for (int b = 0; b < blocks_.size(); ++b)
    if (blocks_.block(b).needs_graph()) return true;
  return false;
}

void Chain::check_batch(std::int64_t batch, std::int64_t shards) const {
  for (int b = 0; b < blocks_.size(); ++b) blocks_.block(b).check_batch(batch, shards);
}

void Chain::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  for (int i = 0; i < blocks_.size(); ++i) blocks_.block(i).add_parameters(parameters, seed);
}

Tensor Chain::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  return blocks_.forward(parameters, x, pass);
}

Skip::Skip(const DeckNode& node, const LayerContext& context) : Chain(node, context) {
  if (!(output() == input()))
    node.error("skip: its blocks make " + output().text() + " of " + input().text() +
               "; both must have the same shape to be added");
}

Tensor Skip::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  return add(x, Chain::forward(parameters, x, pass));
}

void Residual::Settings::options(OptionVisitor& o) {
  o("channels", channels, {.help = "output channels", .min = 1, .required = true});
  o("stride", stride, {.help = "step of the first convolution", .min = 1});
  o("shortcut", shortcut,
    {.help =
         "where channels or extents change: a 1x1 convolution with a norm, or the input at every stride-th "
         "position with channels of zeros (the paper's option A); elsewhere it is the input",
     .choices = {"conv", "pad"}});
  o("activation", activation, {.help = "after each norm", .choices = activation_names});
  o("initialisation", initialisation, {.help = "how weights are drawn", .choices = initialisation_names});
}

void Residual::describe(OptionVisitor& o) {
  Settings options;
  options.options(o);
  std::string norm = "batch_norm";
  o("norm", norm, {.help = "the normalisation: a layer's name, or a mapping with its options"});
}

Residual::Residual(const DeckNode& node, const LayerContext& context) : Layer(context) {
  options_.options(*node.reader());
  const DeckNode norm = node.child_or("norm", "batch_norm");
  node.reject_unread_keys();
  if (input().rank() != 3)
    throw InputError("residual: the input is " + input().text() +
                     "; it needs images [channels, height, width]");
  const auto inside = [&](const std::string& part, const Shape& shape) {
    return LayerContext{context.name + "." + part, shape, context.dtype};
  };
  ConvOptions conv{.channels = options_.channels,
                   .kernel = 3,
                   .stride = options_.stride,
                   .padding = "1",
                   .bias = false,
                   .initialisation = options_.initialisation};
  convolutions_[0] = std::make_unique<Conv<2>>(conv, inside("conv0", input()));
  norms_[0] = layers().make(norm, inside("norm0", convolutions_[0]->output()));
  conv.stride = 1;
  convolutions_[1] = std::make_unique<Conv<2>>(conv, inside("conv1", norms_[0]->output()));
  norms_[1] = layers().make(norm, inside("norm1", convolutions_[1]->output()));
  for (const auto& layer : norms_)
    if (!(layer->output() == layer->input()))
      norm.error("residual: the norm makes " + layer->output().text() + " of " + layer->input().text());
  if (output() == input()) return;
  if (options_.shortcut == "conv") {
    conv.kernel = 1;
    conv.stride = options_.stride;
    conv.padding = "valid";
    shortcut_ = std::make_unique<Conv<2>>(conv, inside("shortcut", input()));
    shortcut_norm_ = layers().make(norm, inside("shortcut_norm", shortcut_->output()));
  } else if (output()[0] < input()[0]) {
    node.error("residual: shortcut 'pad' cannot take the " + std::to_string(input()[0]) +
               " channels down to " + std::to_string(output()[0]) + "; use 'conv'");
  }
}

void Residual::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  for (const int i : {0, 1}) {
    convolutions_[i]->add_parameters(parameters, seed);
    norms_[i]->add_parameters(parameters, seed);
  }
  if (!shortcut_) return;
  shortcut_->add_parameters(parameters, seed);
  shortcut_norm_->add_parameters(parameters, seed);
}

Products Residual::products() const {
  Products all = convolutions_[0]->products();
  all += convolutions_[1]->products();
  if (shortcut_) all += shortcut_->products();
  return all;
}

void Residual::check_batch(std::int64_t batch, std::int64_t shards) const {
  for (const auto& norm : norms_) norm->check_batch(batch, shards);
}

Tensor Residual::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  Tensor y = norms_[0]->forward(parameters, convolutions_[0]->forward(parameters, x, pass), pass);
  y = activation(options_.activation, y);
  y = norms_[1]->forward(parameters, convolutions_[1]->forward(parameters, y, pass), pass);
  Tensor across = x;
  if (shortcut_) {
    across = shortcut_norm_->forward(parameters, shortcut_->forward(parameters, x, pass), pass);
  } else if (!(output() == input())) {
    for (const int axis : {3, 4}) across = slice(across, axis, 0, across.extent(axis), options_.stride);
    across = place(across, 2, output()[0], (output()[0] - input()[0]) / 2);
  }
  return activation(options_.activation, add(y, across));
}

}  // namespace rankine
