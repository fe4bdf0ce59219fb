#include "src/rules/auglocal.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace rankine {

int auxiliary_depth(int l, int hidden, int depth, double taper) {
  const double part = taper * l / std::max(hidden - depth - 2, 1);
  return std::max(1, static_cast<int>(std::lround(depth * (1 - part) + part)));
}

std::vector<int> auxiliary_blocks(int l, int hidden, int d) {
  const int after = hidden - 1 - l;
  std::vector<int> blocks;
  for (int j = 1; j <= std::min(d, after); ++j)
    blocks.push_back(d >= after ? l + j
                                : static_cast<int>(std::floor(l + static_cast<double>(after) * j / d + 0.5)));
  return blocks;
}

void AugLocalOptions::options(OptionVisitor& o) {
  o("depth", depth, {.help = "hidden blocks that an auxiliary network mirrors at most", .min = 1});
  o("taper", taper,
    {.help = "how much shallower the last module's auxiliary network is (0: all have the full depth)",
     .min = 0,
     .max = 1});
  o("mirror", mirror,
    {.help = "false: greedy local learning, auxiliary networks are pooling and a linear layer"});
  LocalModulesOptions::options(o);
}

std::unique_ptr<Network> AugLocal::auxiliary_network(const Network& network, int end,
                                                     std::int64_t classes) const {
  const int block = end - 1;
  const Shape input = network.block(block).output();
  const bool image = input.rank() == 3;
  std::vector<std::string> texts;
  const int d = options_.mirror ? auxiliary_depth(block, hidden(network), options_.depth, options_.taper) : 0;
  double channels = static_cast<double>(input[0]), debt = 0;
  for (const int j : auxiliary_blocks(block, hidden(network), d)) {
    const std::int64_t width = network.block(j).output()[0];
    if (!image) {
      texts.push_back(fmt::format("{{name: dense, units: {}}}", width));
      texts.push_back("{name: relu}");
      continue;
    }
    debt += std::max(0.0, std::round(std::log2(static_cast<double>(width) / channels)));
    channels = static_cast<double>(width);
    texts.push_back(fmt::format("{{name: residual, channels: {}, stride: {}}}", width, debt > 0 ? 2 : 1));
    debt = std::max(0.0, debt - 1);
  }
  if (image) texts.push_back("{name: global_average_pool}");
  if (options_.mirror && image && d <= 1) texts.push_back("{name: batch_norm}");
  texts.push_back(fmt::format("{{name: dense, units: {}}}", classes));
  return network_of("auxiliary_" + network.block(block).name(), texts, input, network.dtype());
}

}  // namespace rankine
