#include "src/methods/gating/tree_gates.hpp"

#include "src/nn/affine.hpp"
#include "src/nn/initialisation.hpp"
#include "src/nn/softmax.hpp"
#include "src/tensor/elementary.hpp"

namespace rankine {
namespace {

const OptionMeta kGamma{.help = "width of the smooth step", .min = 0, .exclusive_min = true};
const OptionMeta kEntropy{
    .help = "factor of the entropy of the probabilities in the loss, which leads to one expert each",
    .min = 0};

/// A linear map name.weight, name.bias to `outputs` numbers, drawn within `bound`.
void add_linear(ParameterSet& parameters, const std::string& name, std::int64_t outputs, std::int64_t inputs,
                double bound, std::uint64_t seed) {
  const double fan_in = 1 / (bound * bound);  // uniform draws within 1 / sqrt(fan_in)
  add_parameter(parameters, {.name = name + ".weight", .shape = {outputs, inputs}}, Initialisation::uniform,
                fan_in, 1, seed);
  add_parameter(parameters, {.name = name + ".bias", .shape = {outputs}, .group = "bias"},
                Initialisation::uniform, fan_in, 1, seed);
}

/// [L, B, groups, -1]
Tensor linear(const BoundParameters& parameters, const std::string& name, const Tensor& x, int groups) {
  return reshape(affine(x, parameters[name + ".weight"], parameters[name + ".bias"]),
                 {x.extent(0), x.extent(1), groups, -1});
}

/// Probabilities p [..., m] of nodes and their steps s [..., m], or [..., 1], to those of their children
/// [..., 2 m], left and right side by side.
Tensor children(const Tensor& p, const Tensor& s) {
  const Tensor left = mul(p, s);
  Shape column = p.shape(), both = p.shape();
  column.push_back(1);
  both[both.rank() - 1] *= 2;
  return reshape(concat({reshape(left, column), reshape(sub(p, left), column)}, p.rank()), both);
}

Tensor root(const Tensor& x, int groups) {
  return Tensor::full({x.extent(0), x.extent(1), groups, 1}, x.dtype(), 1);
}

}  // namespace

Tensor smooth_step(const Tensor& z, double gamma) {
  const Tensor t = clamp(scale(z, 1 / gamma), -0.5, 0.5);
  return add_scalar(mul(t, add_scalar(scale(square(t), -2), 1.5)), 0.5);
}

void TreeGate::Options::options(OptionVisitor& o) {
  o("trees", trees, {.help = "trees: at the end a sample uses so many experts at most", .min = 1});
  o("gamma", gamma, kGamma);
  o("entropy", entropy, kEntropy);
}

void TreeGate::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  // Small enough that every split begins as a fraction.
  if (experts() > 1)
    add_linear(parameters, name() + ".split", options_.trees * (experts() - 1), inputs(),
               options_.gamma / 100, seed);
  add_linear(parameters, name() + ".leaf", options_.trees * experts(), inputs(), 0.05, seed);
}

Products TreeGate::products() const {
  Products all{.weights = {{name() + ".leaf.weight", 1}}};
  if (experts() > 1) all.weights.emplace_back(name() + ".split.weight", 1);
  return all;
}

Tensor TreeGate::weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t splits = experts() - 1;
  const int trees = options_.trees;
  Tensor level = root(x, trees), leaves;
  if (splits > 0) {
    const Tensor s = smooth_step(linear(parameters, name() + ".split", x, trees), options_.gamma);
    // A level has 2^d nodes, of which the first are splits and the rest are leaves.
    for (std::int64_t first = 0, nodes = 1; first < splits; first += nodes, nodes *= 2) {
      const std::int64_t here = std::min(nodes, splits - first);
      const Tensor p = here == nodes ? level : slice(level, 3, 0, here);
      if (here < nodes) leaves = slice(level, 3, here, nodes);
      level = children(p, slice(s, 3, first, first + here));
    }
  }
  const Tensor p = leaves.defined() ? concat({leaves, level}, 3) : level;
  penalise(pass, options_.entropy, mean_entropy(p));
  const Shape all{x.extent(0), x.extent(1), trees * experts()};
  const Tensor logits = reshape(linear(parameters, name() + ".leaf", x, trees), all);
  return sum(reshape(weighted_softmax(logits, reshape(p, all)), p.shape()), {2});
}

void SelectorGate::Options::options(OptionVisitor& o) {
  o("selectors", selectors, {.help = "selectors: a sample uses so many experts at most", .min = 1});
  o("gamma", gamma, kGamma);
  o("entropy", entropy, kEntropy);
}

SelectorGate::SelectorGate(const Options& options, const GateContext& context)
    : Gate(context), options_(options) {
  while ((std::int64_t{1} << bits_) < experts()) ++bits_;
  if (experts() < 2 || (std::int64_t{1} << bits_) != experts())
    throw InputError("dselect_k: " + std::to_string(experts()) +
                     " experts; their numbers are binary codes, so it needs 2, 4, 8, ... of them");
}

void SelectorGate::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  add_linear(parameters, name() + ".code", options_.selectors * bits_, inputs(), options_.gamma / 100, seed);
  add_linear(parameters, name() + ".mix", options_.selectors, inputs(), 0.05, seed);
}

Products SelectorGate::products() const {
  return {.weights = {{name() + ".code.weight", 1}, {name() + ".mix.weight", 1}}};
}

Tensor SelectorGate::weights(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const int selectors = options_.selectors;
  const Tensor s = smooth_step(linear(parameters, name() + ".code", x, selectors), options_.gamma);
  Tensor r = root(x, selectors);
  for (std::int64_t bit = 0; bit < bits_; ++bit) r = children(r, slice(s, 3, bit, bit + 1));
  penalise(pass, options_.entropy, mean_entropy(r));
  const Tensor mix = reshape(softmax(reshape(linear(parameters, name() + ".mix", x, selectors),
                                             {x.extent(0), x.extent(1), selectors})),
                             {x.extent(0), x.extent(1), selectors, 1});
  return sum(mul(mix, r), {2});
}

}  // namespace rankine
