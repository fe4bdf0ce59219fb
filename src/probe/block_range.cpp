#include "src/probe/block_range.hpp"

#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {

std::vector<int> block_range(const std::vector<int>& blocks, const Network& network) {
  const int first = blocks.empty() ? 0 : blocks.front(),
            last = blocks.empty() ? network.size() - 1 : blocks.back();
  if (first < 0 || last >= network.size() || first > last)
    throw InputError(fmt::format(
        "blocks: [{}, {}], and the network has the blocks 0 to {}; give the first and the last one", first,
        last, network.size() - 1));
  std::vector<int> out(static_cast<std::size_t>(last - first + 1));
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::vector<int> square_blocks(const std::vector<int>& blocks, const Network& network) {
  std::vector<int> out;
  for (const int b : block_range(blocks, network))
    if (network.block(b).input() == network.block(b).output()) out.push_back(b);
  if (out.empty())
    throw InputError("none of the blocks has an output of its input's shape; name others in `blocks`");
  return out;
}

std::vector<std::string> names_of(const std::vector<int>& blocks, const Network& network) {
  std::vector<std::string> out;
  for (const int b : blocks) out.push_back(network.block(b).name());
  return out;
}

}  // namespace rankine
