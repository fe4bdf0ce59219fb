#include "src/methods/local/momentum_auxiliary.hpp"

#include <fmt/format.h>

namespace rankine {
namespace {

const std::string ahead = "ahead.", bias = "bias.";

}  // namespace

void MomentumAuxiliaryOptions::options(OptionVisitor& o) {
  o("momentum", momentum,
    {.help = "share that the average of the next block's parameters keeps in a step (1: it stays as drawn)",
     .min = 0,
     .max = 1});
  o("ahead", ahead, {.help = "whether the average of the next block is part of the auxiliary path"});
  o("bias", bias, {.help = "whether a copy of the next block that trains is part of it"});
  o("convolution", convolution,
    {.help =
         "channels of a convolution of stride 2 with batch norm at the head's beginning, on images (0: none)",
     .min = 0});
  o("units", units, {.help = "units of the head's hidden layer (0: none)", .min = 0});
  LocalModulesOptions::options(o);
}

std::vector<std::string> MomentumAuxiliary::paths() const {
  std::vector<std::string> all;
  if (options_.ahead) all.push_back(ahead);
  if (options_.bias) all.push_back(bias);
  return all;
}

std::unique_ptr<Network> MomentumAuxiliary::auxiliary_network(const Network& network, int end,
                                                              std::int64_t classes) const {
  const Shape input = copies() > 0 ? network.block(end).output() : network.block(end - 1).output();
  const bool image = input.rank() == 3;
  std::vector<std::string> blocks;
  if (image && options_.convolution > 0)
    blocks = {fmt::format("{{name: conv2d, channels: {}, stride: 2, bias: false}}", options_.convolution),
              "{name: batch_norm}", "{name: relu}"};
  if (image) blocks.emplace_back("{name: global_average_pool}");
  if (options_.units > 0) {
    blocks.push_back(fmt::format("{{name: dense, units: {}}}", options_.units));
    blocks.emplace_back("{name: relu}");
  }
  blocks.push_back(fmt::format("{{name: dense, units: {}}}", classes));
  return network_of("head_" + network.block(end - 1).name(), blocks, input, network.dtype());
}

void MomentumAuxiliary::add_copies(const Network& network, const ParameterSet& parameters, int end,
                                   ParameterSet& auxiliary) const {
  const ParameterSet next = block_parameters(network, parameters, end, end + 1);
  for (const std::string& path : paths())
    for (ParameterInfo part : next.parts()) {
      const Tensor values = next.view(part);
      part.name = path + part.name;
      part.frozen = part.frozen || path == ahead;
      auxiliary.add(part);
      auxiliary.view(part.name).assign(values);
    }
}

Tensor MomentumAuxiliary::through_copies(const Network& network, int end, const ParameterSet& names,
                                         const BoundParameters& auxiliary, const Tensor& h,
                                         Pass& pass) const {
  Tensor sum;
  for (const std::string& path : paths()) {
    std::map<std::string, Tensor> values;  // under the names that the block knows
    for (const ParameterInfo& part : names.parts())
      if (part.name.starts_with(path))
        values.emplace(part.name.substr(path.size()),
                       path == ahead ? auxiliary[part.name].detach() : auxiliary[part.name]);
    const Tensor y = network.forward(BoundParameters({}, std::move(values)), h, pass, end, end + 1);
    sum = sum.defined() ? add(sum, y) : y;
  }
  return sum;
}

void MomentumAuxiliary::follow(const ParameterSet& next, ParameterSet& auxiliary) const {
  const NoGrad off;
  for (const ParameterInfo& part : next.parts()) {
    if (part.group == "statistics") continue;
    const Tensor average = auxiliary.view(ahead + part.name);
    average.assign(add(scale(average, options_.momentum), scale(next.view(part), 1 - options_.momentum)));
  }
}

}  // namespace rankine
