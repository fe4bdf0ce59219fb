#include "src/nn/network.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "src/core/pattern.hpp"
#include "src/core/strings.hpp"
#include "src/deck/lists.hpp"
#include "src/tensor/fault_probe.hpp"

namespace rankine {
namespace {

constexpr double most_copies = 10000;

}  // namespace

Network::Network(const std::vector<DeckNode>& blocks, const Shape& input, DType dtype,
                 const std::string& prefix) {
  Shape shape = input;
  for (const DeckNode& block : blocks) {
    const bool repeated = block.is_mapping() && block.has("repeat");
    const long copies = repeated ? block.child("repeat").as_integer({.min = 1, .max = most_copies}) : 1;
    for (long copy = 0; copy < copies; ++copy) {
      const LayerContext context{prefix + std::to_string(blocks_.size()), shape, dtype};
      try {
        blocks_.push_back(layers().make(block, context));
      } catch (const InputError& error) {
        // What a layer finds wrong with its input knows no place of its own.
        const std::string place = block.where(), what = error.what();
        if (what.rfind(place.substr(0, place.find(':')), 0) == 0) throw;
        block.error(context.name + ": input " + shape.text() + ": " + what);
      }
      shape = blocks_.back()->output();
    }
  }
}

Network::Network(std::vector<std::unique_ptr<Layer>> blocks) : blocks_(std::move(blocks)) {}

SideLayout Network::sides() const {
  SideLayout all;
  for (const auto& block : blocks_) {
    const SideLayout one = block->sides();
    all.gates.insert(all.gates.end(), one.gates.begin(), one.gates.end());
    all.penalty = all.penalty || one.penalty;
  }
  return all;
}

Products Network::products() const {
  Products all;
  for (const auto& block : blocks_) all += block->products();
  return all;
}

ParameterSet Network::initial_parameters(std::uint64_t seed) const {
  ParameterSet parameters(dtype());
  for (const auto& block : blocks_) {
    const std::size_t first = parameters.parts().size();
    block->add_parameters(parameters, seed);
    for (std::size_t p = first, last = parameters.parts().size(); p < last; ++p) {
      const std::string name = parameters.parts()[p].name;
      if (const Expressed* item = expressed(name)) item->how->add_parameters(parameters, name, seed);
    }
  }
  return parameters;
}

const Network::Expressed* Network::expressed(const std::string& part) const {
  for (const Expressed& item : parametrised_)
    if (std::find(item.names.begin(), item.names.end(), part) != item.names.end()) return &item;
  return nullptr;
}

bool Network::added(const std::string& parameter) const {
  for (std::size_t dot = parameter.find('.'); dot != std::string::npos; dot = parameter.find('.', dot + 1))
    if (expressed(parameter.substr(0, dot)) != nullptr) return true;
  return false;
}

void Network::parametrise(const DeckNode& item) {
  ParametriseOptions options;
  options.options(*item.reader());
  const std::shared_ptr<const Parametrisation> how = parametrisations().make_named(item.child("as"), item);
  std::vector<std::string> able, names;
  const ParameterSet fresh = initial_parameters(0);
  for (const ParameterInfo& part : fresh.parts()) {
    if (added(part.name)) continue;
    const bool named = matches_any(options.on, part.name) && !matches_any(options.except, part.name);
    if (named && expressed(part.name) != nullptr)
      item.error_at("on", fmt::format("on: another item of `parametrise` names {} too; leave it out of one "
                                      "of them with `except`",
                                      part.name));
    if (!how->takes(part)) continue;
    able.push_back(part.name);
    if (named) names.push_back(part.name);
  }
  if (names.empty())
    item.error_at("on", "on: names no weight that can be expressed so; these can: " +
                            (able.empty() ? std::string("none") : join(able)));
  parametrised_.push_back({how, names});
  try {
    initial_parameters(0);
  } catch (const InputError& error) {
    item.error(error.what());
  }
}

void Network::express(BoundParameters& parameters, const Pass& pass) const {
  for (const Expressed& item : parametrised_) item.how->express(parameters, item.names, pass);
}

Tensor Network::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass, int begin,
                        int end) const {
  std::optional<BoundParameters> in_place;
  if (parametrised()) {
    in_place = parameters;
    express(*in_place, pass);
  }
  const BoundParameters& values = in_place ? *in_place : parameters;
  Tensor y = x;
  FaultProbe::layer_done("", {});  // what came before belongs to no block
  for (int i = begin; i < (end < 0 ? size() : end); ++i) {
    const Tensor input = pass.hooks.empty() ? Tensor() : y;
    y = block(i).forward(values, y, pass);
    for (const ActivationHook& hook : pass.hooks) {
      const Tensor replaced = hook(block(i).name(), input, y);
      if (replaced.defined()) y = replaced;
    }
    FaultProbe::layer_done(block(i).name(), y);
  }
  return y;
}

std::int64_t Network::draws() const {
  std::int64_t most = 0;
  for (const Expressed& item : parametrised_) most = std::max(most, item.how->draws());
  return most;
}

void NetworkOptions::options(OptionVisitor& o) {
  o("precision", precision, {.help = "type of parameters and activations", .choices = {"float", "double"}});
}

Network read_network(const DeckNode& model, const Shape& input, const std::string& prefix) {
  NetworkOptions options;
  const DeckNode blocks = model.child("blocks");
  if (!blocks.is_sequence() || blocks.items().empty())
    blocks.error("'blocks' must be a list of layers, such as [{name: flatten}, {name: dense, units: 10}]");
  options.options(*model.reader());
  Network network(blocks.items(), input, options.dtype(), prefix);
  for (const DeckNode& item : list_in(model, "parametrise", "[{on: [\"*.weight\"], as: low_rank, rank: 4}]"))
    network.parametrise(item);
  model.reject_unread_keys();
  return network;
}

}  // namespace rankine
