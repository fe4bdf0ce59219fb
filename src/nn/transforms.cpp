#include "src/nn/transforms.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/core/strings.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/layers/conv.hpp"
#include "src/nn/layers/dense.hpp"
#include "src/nn/layers/norm.hpp"
#include "src/nn/layers/sparse.hpp"

namespace rankine {
namespace {

template <class S>
S options_of(const DeckNode& node) {
  S options;
  options.options(*node.copy().reader());
  return options;
}

/// Blocks that treat each unit by itself.
bool keeps_units(const FinishedNetwork::Block& block) {
  if (block.kind == "conv2d" || block.kind == "conv1d") {
    const auto options = options_of<ConvOptions>(block.node);
    return options.depthwise && !options.channels;
  }
  static const std::set<std::string> all{
      "relu",    "leaky_relu", "sigmoid",  "silu",       "softplus",           "elu",
      "selu",    "tanh",       "gelu",     "sin",        "max_pool",           "average_pool",
      "flatten", "dropout",    "upsample", "batch_norm", "global_average_pool"};
  return all.contains(block.kind);
}

bool is_convolution(const std::string& kind) { return kind == "conv1d" || kind == "conv2d"; }

/// Whether its outputs are units, each a sum of all inputs.
bool makes_units(const FinishedNetwork::Block& block, const Layer& layer) {
  if (block.kind == "dense")
    return layer.input().rank() == 1 && options_of<Dense::Options>(block.node).parametrisation == "standard";
  if (!is_convolution(block.kind)) return false;
  const auto options = options_of<ConvOptions>(block.node);
  return options.groups == 1 && !options.depthwise;
}

/// Whether a convolution is a product of channels at each place.
bool is_pointwise(const ConvOptions& options) {
  return options.kernel == 1 && options.stride == 1 && options.groups == 1 && !options.depthwise &&
         (options.padding == "same" || options.padding == "valid" || options.padding == "0");
}

/// Units along `axis`, each with as many entries as there are of it: those of `from`, times `factors`.
FinishedNetwork::Part gathered(const FinishedNetwork::Part& part, int axis, std::size_t units,
                               const std::vector<std::size_t>& from, const std::vector<double>& factors) {
  std::size_t before = 1;
  for (int a = 0; a < axis; ++a) before *= static_cast<std::size_t>(part.shape[a]);
  const std::size_t in_unit = part.values.size() / before / units;
  FinishedNetwork::Part out{part.shape, {}, {}};
  out.shape[axis] =
      part.shape[axis] / static_cast<std::int64_t>(units) * static_cast<std::int64_t>(from.size());
  out.values.reserve(before * from.size() * in_unit);
  for (std::size_t row = 0; row < before; ++row)
    for (std::size_t u = 0; u < from.size(); ++u)
      for (std::size_t i = 0; i < in_unit; ++i) {
        const std::size_t at = (row * units + from[u]) * in_unit + i;
        out.values.push_back(part.values[at] * (factors.empty() ? 1 : factors[u]));
        if (!part.mask.empty()) out.mask.push_back(part.mask[at]);
      }
  return out;
}

}  // namespace

FinishedNetwork::FinishedNetwork(const DeckNode& model, const Shape& input, const ParameterSet& parameters)
    : type_(parameters.dtype()), input_(input) {
  if (model.has("parametrise"))
    model.error_at("parametrise",
                   "parametrise: a network whose weights are expressions is not transformed; leave it out");
  for (const DeckNode& item : model.child("blocks").items()) {
    const bool repeated = item.is_mapping() && item.has("repeat");
    for (long copy = repeated ? item.child("repeat").as_integer() : 1; copy > 0; --copy) {
      Block block{item.copy(), item.is_scalar() ? item.as_text() : item.child("name").as_text(), {}};
      block.node.drop("repeat");
      const std::string name = fmt::format("block{}", blocks_.size());
      for (const ParameterInfo& part : parameters.parts())
        if (part.name.starts_with(name + "."))
          block.parts[part.name.substr(name.size())] = {
              part.shape, parameters.view(part).to_vector(),
              part.mask.defined() ? part.mask.to_vector() : std::vector<double>()};
      blocks_.push_back(std::move(block));
    }
  }
}

std::string FinishedNetwork::model(int indent) const {
  const std::string in(static_cast<std::size_t>(indent), ' ');
  std::string text =
      in + "precision: " + (type_ == DType::f64 ? "double" : "float") + "\n" + in + "blocks:\n";
  for (const Block& block : blocks_)
    text +=
        in + (block.node.is_scalar() ? "  - " + block.kind + "\n" : "  -\n" + block.node.yaml(indent + 4));
  return text;
}

Network FinishedNetwork::network() const {
  return read_network(parse_deck_text(model(), "the transformed network"), input_);
}

ParameterSet FinishedNetwork::parameters(const Network& network) const {
  ParameterSet out = network.initial_parameters(0);
  for (int b = 0; b < network.size(); ++b)
    for (const auto& [name, part] : blocks_[static_cast<std::size_t>(b)].parts)
      out.view(network.block(b).name() + name).assign(cast(Tensor::from(part.values, part.shape), type_));
  return out;
}

void FinishedNetwork::write(ParameterSet& parameters) const {
  for (std::size_t b = 0; b < blocks_.size(); ++b)
    for (const auto& [name, part] : blocks_[b].parts) {
      const ParameterInfo& info = parameters.part(fmt::format("block{}{}", b, name));
      parameters.view(info).assign(cast(Tensor::from(part.values, part.shape), type_));
      if (info.mask.defined()) info.mask.assign(cast(Tensor::from(part.mask, part.shape), info.mask.dtype()));
    }
}

std::vector<FinishedNetwork::Edge> FinishedNetwork::edges() const {
  const Network made = network();
  std::vector<Edge> out;
  for (std::size_t from = 0; from < blocks_.size(); ++from) {
    const Layer& layer = made.block(static_cast<int>(from));
    if (!makes_units(blocks_[from], layer)) continue;
    std::size_t to = from + 1;
    while (to < blocks_.size() && keeps_units(blocks_[to])) ++to;
    if (to == blocks_.size()) continue;
    // A dense block behind images acts on their last axis: it is none that takes units.
    if (makes_units(blocks_[to], made.block(static_cast<int>(to))))
      out.push_back({from, to, static_cast<std::size_t>(layer.output()[0])});
  }
  return out;
}

void FinishedNetwork::select(const Edge& edge, const std::vector<std::size_t>& from,
                             const std::vector<double>& factors) {
  for (std::size_t b = edge.from; b < edge.to; ++b)
    for (auto& [name, part] : blocks_[b].parts) part = gathered(part, 0, edge.units, from, {});
  Part& fed = blocks_[edge.to].parts.at(".weight");
  fed = gathered(fed, 1, edge.units, from, factors);
  Block& block = blocks_[edge.from];
  block.node.set_integer(block.kind == "dense" ? "units" : "channels", static_cast<long>(from.size()));
}

std::vector<double>& FinishedNetwork::bias(std::size_t block) {
  Block& of = blocks_[block];
  const std::int64_t units = of.parts.at(".weight").shape[0];
  of.node.drop("bias");  // there is one unless a deck says otherwise
  return of.parts
      .try_emplace(".bias", Part{{units}, std::vector<double>(static_cast<std::size_t>(units)), {}})
      .first->second.values;
}

void FoldNorm::apply(FinishedNetwork& network, std::uint64_t) const {
  std::vector<FinishedNetwork::Block>& blocks = network.blocks();
  for (std::size_t b = 1; b < blocks.size(); ++b) {
    const Network made = network.network();
    const bool before =
        is_convolution(blocks[b - 1].kind) || makes_units(blocks[b - 1], made.block(static_cast<int>(b - 1)));
    if (blocks[b].kind != "batch_norm" || !before) continue;
    const double epsilon = options_of<BatchNorm::Options>(blocks[b].node).epsilon;
    const auto part = [&](const char* name) { return blocks[b].parts.at(name).values; };
    const std::vector<double> mean = part(".running_mean"), variance = part(".running_variance");
    const bool affine = blocks[b].parts.contains(".weight");
    std::vector<double>& bias = network.bias(b - 1);
    std::vector<double>& weight = blocks[b - 1].parts.at(".weight").values;
    const std::size_t in_unit = weight.size() / bias.size();
    for (std::size_t u = 0; u < bias.size(); ++u) {
      const double factor = (affine ? part(".weight")[u] : 1) / std::sqrt(variance[u] + epsilon);
      for (std::size_t i = 0; i < in_unit; ++i) weight[u * in_unit + i] *= factor;
      bias[u] = (bias[u] - mean[u]) * factor + (affine ? part(".bias")[u] : 0);
    }
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(b));
    --b;
  }
}

void PermuteUnits::Options::options(OptionVisitor& o) {
  o("by", by, {.help = "what units are ordered by", .choices = {"norm", "random", "groups"}});
  o("group", group, {.help = "for by: groups: units of a group, as the outputs of a block", .min = 1});
  o("density", density,
    {.help = "for by: groups: part of the inputs that a group keeps",
     .min = 0,
     .max = 1,
     .exclusive_min = true});
}

namespace {

/// Rows of a matrix [rows, columns] in groups that keep much of it.
std::vector<std::size_t> grouped(const std::vector<double>& matrix, std::size_t rows, std::size_t group,
                                 double density) {
  const std::size_t columns = matrix.size() / rows;
  const auto keep =
      static_cast<std::ptrdiff_t>(std::max(1.0, std::round(density * static_cast<double>(columns))));
  // What a group keeps with one more row.
  const auto kept_with = [&](const std::vector<double>& sums, std::size_t row) {
    std::vector<double> with(columns);
    for (std::size_t j = 0; j < columns; ++j) with[j] = sums[j] + std::abs(matrix[row * columns + j]);
    std::nth_element(with.begin(), with.begin() + keep - 1, with.end(), std::greater<>());
    return std::accumulate(with.begin(), with.begin() + keep, 0.0);
  };
  std::vector<std::size_t> order, left(rows);
  std::iota(left.begin(), left.end(), std::size_t{0});
  std::vector<double> sums;
  while (!left.empty()) {
    if (order.size() % group == 0) sums.assign(columns, 0.0);
    std::size_t best = 0;
    double most = -1;
    for (std::size_t i = 0; i < left.size(); ++i)
      if (const double kept = kept_with(sums, left[i]); kept > most) best = i, most = kept;
    for (std::size_t j = 0; j < columns; ++j) sums[j] += std::abs(matrix[left[best] * columns + j]);
    order.push_back(left[best]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
  }
  return order;
}

}  // namespace

void PermuteUnits::apply(FinishedNetwork& network, std::uint64_t seed) const {
  const RandomStream stream(seed, "permute");
  for (const FinishedNetwork::Edge& edge : network.edges()) {
    const std::vector<double>& weight = network.blocks()[edge.from].parts.at(".weight").values;
    const std::size_t in_unit = weight.size() / edge.units;
    if (options_.by == "groups") {
      network.select(
          edge, grouped(weight, edge.units, static_cast<std::size_t>(options_.group), options_.density), {});
      continue;
    }
    std::vector<double> keys;
    for (std::size_t u = 0; u < edge.units; ++u) {
      const auto row = weight.begin() + static_cast<std::ptrdiff_t>(u * in_unit);
      keys.push_back(
          options_.by == "random"
              ? stream.uniform(static_cast<std::int64_t>(edge.from), 0, static_cast<std::int64_t>(u))
              : std::inner_product(row, row + static_cast<std::ptrdiff_t>(in_unit), row, 0.0));
    }
    std::vector<std::size_t> order(edge.units);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return keys[a] > keys[b]; });
    network.select(edge, order, {});
  }
}

void Compact::apply(FinishedNetwork& network, std::uint64_t) const {
  for (bool again = true; again;) {
    again = false;
    for (const FinishedNetwork::Edge& edge : network.edges()) {
      const std::size_t units = edge.units;
      // What each unit without weights gives where it feeds: its bias through the blocks between.
      const auto own_bias = network.blocks()[edge.from].parts.find(".bias");
      const std::vector<double> bias = own_bias == network.blocks()[edge.from].parts.end()
                                           ? std::vector<double>(units, 0.0)
                                           : own_bias->second.values;
      const Network made = network.network();
      const ParameterSet parameters = network.parameters(made);
      const Shape inner = made.block(static_cast<int>(edge.from)).output();
      const std::size_t places = static_cast<std::size_t>(inner.count()) / units;
      std::vector<double> constants;
      for (std::size_t i = 0; i < units * places; ++i) constants.push_back(bias[i / places]);
      Shape shape = inner;
      shape.insert(0, 1);
      shape.insert(0, 1);
      Pass pass{.shards = local_tile_sum(1)};
      const NoGrad off;
      const std::vector<double> given =
          made.forward(parameters.bind(pass.shards), cast(Tensor::from(constants, shape), parameters.dtype()),
                       pass, static_cast<int>(edge.from) + 1, static_cast<int>(edge.to))
              .to_vector();
      const std::size_t given_places = given.size() / units;

      const std::vector<double>& weight = network.blocks()[edge.from].parts.at(".weight").values;
      const FinishedNetwork::Part& fed = network.blocks()[edge.to].parts.at(".weight");
      const auto outputs = static_cast<std::size_t>(fed.shape[0]);
      const std::size_t in_unit = weight.size() / units, of_unit = fed.values.size() / outputs / units;
      const bool dense = network.blocks()[edge.to].kind == "dense";
      const std::string padding =
          dense ? "0" : options_of<ConvOptions>(network.blocks()[edge.to].node).padding;
      const auto zero = [](double w) { return w == 0; };
      std::vector<double> added(outputs, 0.0);
      std::vector<std::size_t> kept;
      for (std::size_t u = 0; u < units; ++u) {
        const auto row = weight.begin() + static_cast<std::ptrdiff_t>(u * in_unit);
        const auto value = given.begin() + static_cast<std::ptrdiff_t>(u * given_places),
                   end = value + static_cast<std::ptrdiff_t>(given_places);
        const auto column = [&](std::size_t o, std::size_t i) {
          return fed.values[(o * units + u) * of_unit + i];
        };
        bool feeds = false;
        for (std::size_t o = 0; o < outputs && !feeds; ++o)
          for (std::size_t i = 0; i < of_unit && !feeds; ++i) feeds = column(o, i) != 0;
        const bool constant = std::all_of(row, row + static_cast<std::ptrdiff_t>(in_unit), zero);
        const bool movable = dense || std::all_of(value, end, zero) ||
                             ((padding == "valid" || padding == "0") &&
                              std::all_of(value, end, [&](double v) { return v == *value; }));
        const bool last = u + 1 == units && kept.empty();  // a block has one unit at least
        if (last || (feeds && !(constant && movable))) {
          kept.push_back(u);
        } else if (feeds) {
          for (std::size_t o = 0; o < outputs; ++o)
            for (std::size_t i = 0; i < of_unit; ++i)
              added[o] += column(o, i) * value[static_cast<std::ptrdiff_t>(dense ? i : 0)];
        }
      }
      if (kept.size() == units) continue;
      std::vector<double>& to = network.bias(edge.to);
      for (std::size_t o = 0; o < outputs; ++o) to[o] += added[o];
      network.select(edge, kept, {});
      again = true;
    }
  }
}

void Widen::Options::options(OptionVisitor& o) {
  o("factor", factor, {.help = "units after over units before, rounded up", .min = 1});
}

void Widen::apply(FinishedNetwork& network, std::uint64_t seed) const {
  const RandomStream stream(seed, "widen");
  for (const FinishedNetwork::Edge& edge : network.edges()) {
    std::vector<std::size_t> from(edge.units);
    std::iota(from.begin(), from.end(), std::size_t{0});
    std::vector<double> copies(edge.units, 1.0);
    const auto wanted =
        static_cast<std::size_t>(std::ceil(options_.factor * static_cast<double>(edge.units)));
    while (from.size() < wanted) {
      from.push_back(static_cast<std::size_t>(stream.integer(static_cast<std::int64_t>(edge.units),
                                                             static_cast<std::int64_t>(edge.from), 0,
                                                             static_cast<std::int64_t>(from.size()))));
      ++copies[from.back()];
    }
    std::vector<double> shares;
    for (const std::size_t u : from) shares.push_back(1 / copies[u]);
    network.select(edge, from, shares);
  }
}

void KeepNonZeros::Options::options(OptionVisitor& o) {
  o("density", density,
    {.help = "largest part of weights other than 0 with which they are kept one by one", .min = 0, .max = 1});
  o("block_density", block_density, {.help = "the same for blocks of outputs", .min = 0, .max = 1});
}

void KeepNonZeros::apply(FinishedNetwork& network, std::uint64_t) const {
  for (FinishedNetwork::Block& block : network.blocks()) {
    const bool dense = block.kind == "dense";
    if (dense ? options_of<Dense::Options>(block.node).parametrisation != "standard"
              : block.kind != "conv2d" || !is_pointwise(options_of<ConvOptions>(block.node)))
      continue;
    FinishedNetwork::Part& weight = block.parts.at(".weight");
    const std::vector<double>& values = weight.values;
    const auto nonzeros = static_cast<double>(
        values.size() - static_cast<std::size_t>(std::count(values.begin(), values.end(), 0.0)));
    const std::int64_t outputs = weight.shape[0];
    for (const std::int64_t size : {8, 4, 1}) {
      if (outputs % size != 0 || nonzeros == 0) continue;
      const SparseMatrix kept = sparse_matrix(values, outputs, size);
      const auto stored = static_cast<double>(kept.pattern->numbers());
      // A few zeros within blocks cost less than weights one by one.
      if (stored > 1.1 * nonzeros || stored > (size > 1 ? options_.block_density : options_.density) *
                                                  static_cast<double>(values.size()))
        continue;
      block.kind = dense ? "sparse_dense" : "sparse_conv2d";
      block.node = parse_deck_text(
          fmt::format("name: {}\n{}: {}\nblock: {}\nbias: {}\npattern:\n  - \"{}\"\n", block.kind,
                      dense ? "units" : "channels", outputs, size, block.parts.contains(".bias"),
                      join(pattern_text(*kept.pattern), "\"\n  - \"")),
          "the transformed network");
      weight = {{kept.pattern->entries(), size}, kept.values.to_vector(), {}};
      break;
    }
  }
}

const Registry<NetworkTransform>& network_transforms() {
  static const Registry<NetworkTransform> table(
      "network_transform", {
                               entry<FoldNorm>("fold_norm", "batch norms go into the weights before them"),
                               entry<PermuteUnits>("permute", "units in another order"),
                               entry<Compact>("compact", "units that are held at zero are removed"),
                               entry<Widen>("widen", "more units, copies of others (Net2WiderNet)"),
                               entry<KeepNonZeros>("sparse", "layers keep the weights that are not 0 alone"),
                           });
  return table;
}

}  // namespace rankine
