#include "src/nn/counts.hpp"

#include <algorithm>

namespace rankine {

Counts& Counts::operator+=(const Counts& more) {
  forward_multiply_adds += more.forward_multiply_adds;
  parameters += more.parameters;
  nonzeros += more.nonzeros;
  parameter_bytes += more.parameter_bytes;
  return *this;
}

std::vector<Counts> count_network(const Network& network, const ParameterSet& parameters,
                                  const KeptEntries& kept, std::int64_t edges) {
  const auto left = [&](const ParameterInfo& part) {
    const auto found = kept.find(part.name);
    return static_cast<double>(found == kept.end() ? part.shape.count() : found->second);
  };
  const auto size = static_cast<double>(size_of(parameters.dtype()));
  std::vector<Counts> out;
  Counts all{.name = "all"};
  for (int b = 0; b < network.size(); ++b) {
    const Layer& block = network.block(b);
    Counts& own = out.emplace_back(Counts{.name = block.name()});
    const Products products = block.products();
    own.forward_multiply_adds = products.others + products.per_edge * static_cast<double>(edges);
    for (const auto& [weight, times] : products.weights)
      own.forward_multiply_adds += times * left(parameters.part(weight));
    for (const ParameterInfo& part : parameters.parts()) {
      if (!part.name.starts_with(block.name() + ".")) continue;
      const auto entries = static_cast<double>(part.shape.count());
      if (!part.frozen) {
        own.parameters += entries;
        own.nonzeros += left(part);
      }
      own.parameter_bytes += std::min(entries * size, left(part) * size + (part.shape.count() + 7) / 8);
    }
    all += own;
  }
  out.push_back(all);
  return out;
}

}  // namespace rankine
