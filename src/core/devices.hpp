// Which GPU a rank computes on, and whether the run fits there. Nothing here asks a GPU, so that tests prove
// the rules on any machine.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/device_info.hpp"

namespace rankine {

/// What a rank sees. `devices`: ids, in the order of its numbers.
struct RankDevices {
  std::string host;
  std::vector<std::string> devices;
};

/// For each rank the number of its GPU: of those that it sees, the first that no rank before it on that
/// machine has. That is right where all ranks of a machine see the same GPUs and where each sees its own.
/// With `share`, ranks for whom none is left go round. InputError where a rank has none.
std::vector<int> deal_devices(std::span<const RankDevices> ranks, bool share);

/// InputError where `ranks` that share the device and need `bytes` each have no room there. `rank` is the
/// caller's.
void require_device_memory(const DeviceInfo& device, double bytes, int ranks, int rank);

}  // namespace rankine
