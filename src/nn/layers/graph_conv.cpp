#include "src/nn/layers/graph_conv.hpp"

#include <algorithm>

#include "src/nn/affine.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/initialisation.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/ragged.hpp"

namespace rankine {
namespace {

void need_nodes(const Shape& input, const char* what) {
  if (input.rank() != 2) throw InputError(std::string(what) + ": needs the nodes of a graph, [nodes, F]");
}

const Graph& graph_of(const Pass& pass, const std::string& name, std::int64_t nodes) {
  if (!pass.graph)
    throw InputError(name + ": there is no graph; use a data set or a learning rule that gives one");
  const CsrPattern& pattern = *pass.graph->pattern;
  if (pattern.rows != nodes || pattern.columns_count != nodes)
    throw InputError(name + ": a graph of " + std::to_string(pattern.rows) + " nodes for samples of " +
                     std::to_string(nodes));
  return *pass.graph;
}

// [L, units] beside [L, B, nodes, units].
Tensor per_shard(const Tensor& x) { return reshape(x, {x.extent(0), 1, 1, x.extent(1)}); }

}  // namespace

void GraphConv::Options::options(OptionVisitor& o) {
  o("units", units, {.help = "features of a node", .min = 1, .required = true});
  o("bias", bias, {.help = "whether a bias is added"});
  o("initialisation", initialisation, {.help = "how weights are drawn", .choices = initialisation_names});
}

GraphConv::GraphConv(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  need_nodes(input(), "graph_conv");
}

void GraphConv::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const std::int64_t in = input()[1], out = options_.units;
  add_parameter(parameters, {.name = name() + ".weight", .shape = {out, in}},
                initialisation_of(options_.initialisation), static_cast<double>(in), static_cast<double>(out),
                seed);
  if (options_.bias) add_constant(parameters, {.name = name() + ".bias", .shape = {out}, .group = "bias"}, 0);
}

Products GraphConv::products() const {
  return {.weights = {{name() + ".weight", static_cast<double>(input()[0])}},
          .per_edge = static_cast<double>(std::min<std::int64_t>(options_.units, input()[1]))};
}

Tensor GraphConv::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const Graph& graph = graph_of(pass, name(), x.extent(2));
  pass.multiplies(name() + ".weight", x, 3);
  const Tensor& weight = parameters[name() + ".weight"];
  // The product with the graph costs its width: it comes after the weight where that narrows.
  const bool narrows = options_.units <= x.extent(3);
  Tensor y = narrows ? spmm(graph.pattern, graph.weights, affine(x, weight))
                     : affine(spmm(graph.pattern, graph.weights, x), weight);
  return options_.bias ? add(y, per_shard(parameters[name() + ".bias"])) : y;
}

void GraphAttention::Options::options(OptionVisitor& o) {
  o("units", units, {.help = "features of a node in each head", .min = 1, .required = true});
  o("heads", heads, {.help = "number of heads", .min = 1});
  o("slope", slope, {.help = "of negative scores before the softmax", .min = 0});
  o("bias", bias, {.help = "whether a bias is added"});
}

GraphAttention::GraphAttention(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  need_nodes(input(), "graph_attention");
}

void GraphAttention::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const std::int64_t in = input()[1], heads = options_.heads, units = options_.units;
  const auto fan_in = static_cast<double>(in), fan_out = static_cast<double>(heads * units);
  add_parameter(parameters, {.name = name() + ".weight", .shape = {heads * units, in}},
                Initialisation::xavier_normal, fan_in, fan_out, seed);
  for (const char* which : {".receiver", ".sender"})
    add_parameter(parameters, {.name = name() + which, .shape = {heads, units}},
                  Initialisation::xavier_normal, static_cast<double>(units), 1, seed);
  if (options_.bias)
    add_constant(parameters, {.name = name() + ".bias", .shape = {heads * units}, .group = "bias"}, 0);
}

Products GraphAttention::products() const {
  const auto nodes = static_cast<double>(input()[0]);
  return {
      .weights = {{name() + ".weight", nodes}, {name() + ".receiver", nodes}, {name() + ".sender", nodes}},
      .per_edge = static_cast<double>(options_.heads * options_.units)};
}

Tensor GraphAttention::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t shards = x.extent(0), samples = x.extent(1), nodes = x.extent(2);
  const std::int64_t heads = options_.heads, units = options_.units;
  const Graph& graph = graph_of(pass, name(), nodes);
  const CsrPattern& pattern = *graph.pattern;
  pass.multiplies(name() + ".weight", x, 3);
  const Tensor wide =
      reshape(affine(x, parameters[name() + ".weight"]), {shards, samples, nodes, heads, units});
  const Tensor h = contiguous(permute(wide, {0, 1, 3, 2, 4}));  // [L, B, heads, nodes, units]
  const auto scores = [&](const char* which) {                  // [L, B, heads, nodes]
    const Tensor direction = reshape(parameters[name() + which], {shards, 1, heads, 1, units});
    return sum(mul(h, direction), {4});
  };
  const Tensor columns = Tensor::from(pattern.columns, {pattern.entries()});
  const Tensor edge =
      add(repeat_segments(scores(".receiver"), 3, pattern.offsets), gather(scores(".sender"), 3, columns));
  const Tensor leaky = add(scale(edge, options_.slope), scale(maximum(edge, 0), 1 - options_.slope));
  const Tensor p = mul(edge_softmax(graph.pattern, leaky), graph.weights);
  const Tensor mixed = spmm(graph.pattern, p, h);
  const Tensor y = reshape(permute(mixed, {0, 1, 3, 2, 4}), {shards, samples, nodes, heads * units});
  return options_.bias ? add(y, per_shard(parameters[name() + ".bias"])) : y;
}

}  // namespace rankine
