#include "src/core/devices.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/log.hpp"

namespace rankine {

std::vector<int> deal_devices(std::span<const RankDevices> ranks, bool share) {
  std::vector<int> dealt;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const auto& [host, devices] = ranks[r];
    if (devices.empty()) {
      throw InputError(fmt::format(
          "rank {} on {} sees no GPU, and this program was built for one; start it on a machine that has a "
          "GPU and its driver (`nvidia-smi` lists them; CUDA_VISIBLE_DEVICES hides those that it does not "
          "name; Slurm gives them with --gpus-per-node), or take a build without CUDA (preset release)",
          r, host));
    }
    std::set<std::string> there(devices.begin(), devices.end()), taken;
    int here = 0, before = 0;
    for (std::size_t other = 0; other < ranks.size(); ++other) {
      if (ranks[other].host != host) continue;
      ++here;
      there.insert(ranks[other].devices.begin(), ranks[other].devices.end());
      if (other >= r) continue;
      ++before;
      taken.insert(ranks[other].devices[static_cast<std::size_t>(dealt[other])]);
    }
    const auto free = std::find_if(devices.begin(), devices.end(),
                                   [&](const std::string& id) { return !taken.contains(id); });
    if (free == devices.end() && !share) {
      throw InputError(fmt::format(
          "machine {}: {} ranks are there and see {} GPU{}, and each rank needs one of its own; start fewer "
          "ranks on a machine (mpirun --map-by ppr:{}:node, Slurm: --ntasks-per-node={}), ask for more GPUs, "
          "or let ranks share them and their memory with RANKINE_SHARE_GPUS=1",
          host, here, there.size(), there.size() == 1 ? "" : "s", there.size(), there.size()));
    }
    dealt.push_back(free != devices.end() ? static_cast<int>(free - devices.begin())
                                          : before % static_cast<int>(devices.size()));
  }
  return dealt;
}

void require_device_memory(const DeviceInfo& device, double bytes, int ranks, int rank) {
  if (bytes * ranks <= device.free_bytes) return;
  throw InputError(fmt::format(
      "rank {}: {} has {} of {} free, and the run needs about {}{}; stop what else uses the GPU "
      "(`nvidia-smi` shows it), take more ranks with a GPU each, or a smaller train.batch or grid (`rankine "
      "run --dry-run` estimates)",
      rank, device.name, bytes_text(device.free_bytes), bytes_text(device.total_bytes), bytes_text(bytes),
      ranks > 1 ? fmt::format(" for each of the {} ranks that share it", ranks) : ""));
}

}  // namespace rankine
