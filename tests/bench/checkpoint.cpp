// Bandwidth of writing a checkpoint, against `dd conv=fsync` of as many bytes, alternating:
//   [mpirun -n 2] bench_checkpoint FOLDER [MiB] [rounds]
// The state is replicated, as a model's weights and moments are, in arrays of many sizes. The time is that
// from the first write to the synced folder, with all hashes; reading the file again is timed apart.
#include "src/io/checkpoint.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/core/clock.hpp"

using namespace rankine;

namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const MpiSession session(argc, argv);
  const Communicator world = Communicator::world();
  if (argc < 2) {
    if (world.is_root()) std::fprintf(stderr, "usage: bench_checkpoint FOLDER [MiB] [rounds]\n");
    return 1;
  }
  const std::string folder = argv[1];
  const std::size_t mebibytes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 512;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;

  // As weights are: a few large arrays, more of a medium size, many small ones.
  std::vector<std::vector<std::byte>> arrays;
  const auto add = [&](std::size_t count, std::size_t each) {
    for (std::size_t i = 0; i < count; ++i) arrays.emplace_back(each);
  };
  const std::size_t total = mebibytes << 20U;
  add(6, total / 8 / 8 * 8);
  add(7, total / 32 / 8 * 8);
  add(200, 40000);
  std::size_t used = 0;
  for (const auto& array : arrays) used += array.size();
  arrays.emplace_back((total - used) / 8 * 8);
  std::mt19937_64 engine(1);
  std::vector<CheckpointPart> parts;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    std::vector<std::byte>& bytes = arrays[i];
    for (std::size_t k = 0; k + 8 <= bytes.size(); k += 8) {
      const std::uint64_t random = engine();
      std::memcpy(&bytes[k], &random, 8);
    }
    parts.push_back({"state/array_" + std::to_string(i),
                     StateKind::replicated,
                     {DType::f64, {static_cast<std::int64_t>(bytes.size() / 8)}, bytes}});
  }

  const std::string path = folder + "/bench_checkpoint.h5", other = folder + "/bench_dd.bin";
  const std::string dd =
      "dd if=/dev/zero of=" + other + " bs=1M count=" + std::to_string(mebibytes) + " conv=fsync status=none";
  std::vector<double> by_dd, written, verified;
  const double size = static_cast<double>(mebibytes) / 1024;
  for (int round = 0; round < rounds; ++round) {
    world.on_root([&] {
      std::filesystem::remove(other);
      std::filesystem::remove(path);
      if (std::system("sync") != 0) throw IoError("sync failed");
      const Stopwatch watch;
      if (std::system(dd.c_str()) != 0) throw IoError(dd + " failed");
      by_dd.push_back(size / watch.seconds());
      std::filesystem::remove(other);
      if (std::system("sync") != 0) throw IoError("sync failed");
    });
    const CheckpointCost cost = write_checkpoint(world, path, {}, parts);
    if (!world.is_root()) continue;
    written.push_back(size / cost.write_seconds);
    verified.push_back(size / cost.verify_seconds);
    std::printf("round %d: dd %.3f, checkpoint %.3f GiB/s, ratio %.2f; reading it again %.3f GiB/s\n",
                round + 1, by_dd.back(), written.back(), written.back() / by_dd.back(), verified.back());
    std::fflush(stdout);
  }
  if (world.is_root()) {
    std::filesystem::remove(path);
    std::printf(
        "medians of %d rounds, %zu MiB in %zu arrays, %d ranks: dd %.3f, checkpoint %.3f GiB/s, ratio %.2f; "
        "reading it again %.3f GiB/s\n",
        rounds, mebibytes, arrays.size(), world.size(), median(by_dd), median(written),
        median(written) / median(by_dd), median(verified));
  }
  return 0;
}
