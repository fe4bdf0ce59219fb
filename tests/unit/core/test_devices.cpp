#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/core/devices.hpp"

namespace rankine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Devices = std::vector<std::string>;

template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Devices, RanksThatSeeTheSameGpusTakeOneEach) {
  const Devices all{"a", "b"}, others{"c", "d"};
  EXPECT_THAT(
      deal_devices(std::vector<RankDevices>{{"n1", all}, {"n2", others}, {"n1", all}, {"n2", others}}, false),
      ElementsAre(0, 0, 1, 1));
}

TEST(Devices, RanksThatSeeTheirOwnGpuTakeIt) {  // Slurm's --gpus-per-task
  EXPECT_THAT(deal_devices(std::vector<RankDevices>{{"n1", {"a"}}, {"n1", {"b"}}, {"n1", {"b", "c"}}}, false),
              ElementsAre(0, 0, 1));
}

TEST(Devices, MoreRanksThanGpusAreRefusedOrShare) {
  const std::vector<RankDevices> ranks{
      {"n0", {"x"}}, {"n1", {"a", "b"}}, {"n1", {"a", "b"}}, {"n1", {"a", "b"}}};
  const std::string why = refusal([&] { deal_devices(ranks, false); });
  EXPECT_THAT(why, HasSubstr("machine n1: 3 ranks are there and see 2 GPUs"));
  EXPECT_THAT(why, HasSubstr("--ntasks-per-node=2"));
  EXPECT_THAT(why, HasSubstr("RANKINE_SHARE_GPUS=1"));
  EXPECT_THAT(deal_devices(ranks, true), ElementsAre(0, 0, 1, 0));
}

TEST(Devices, ARankWithoutAGpuIsRefused) {
  const std::vector<RankDevices> ranks{{"n1", {"a"}}, {"n2", {}}};
  for (const bool share : {false, true}) {
    const std::string why = refusal([&] { deal_devices(ranks, share); });
    EXPECT_THAT(why, HasSubstr("rank 1 on n2 sees no GPU"));
    EXPECT_THAT(why, HasSubstr("nvidia-smi"));
  }
}

TEST(Devices, ARunMustFitTheFreeMemory) {
  const DeviceInfo device{"NVIDIA H200", "a", 8e9, 140e9};
  EXPECT_EQ(refusal([&] { require_device_memory(device, 8e9, 1, 0); }), "");
  const std::string alone = refusal([&] { require_device_memory(device, 8.1e9, 1, 2); });
  EXPECT_THAT(alone, HasSubstr("rank 2: NVIDIA H200 has "));
  EXPECT_THAT(alone, testing::Not(HasSubstr("share")));
  EXPECT_THAT(refusal([&] { require_device_memory(device, 4.1e9, 2, 0); }),
              HasSubstr("for each of the 2 ranks that share it"));
}

TEST(Devices, AFailureSaysPlaceCauseAndRemedy) {
  const std::string text = device_failure("NVIDIA H200", "launch 'softmax'", "an illegal memory access");
  for (const char* part :
       {"NVIDIA H200", "launch 'softmax'", "illegal memory access", "--restart auto", "compute-sanitizer"})
    EXPECT_THAT(text, HasSubstr(part));
}

}  // namespace
}  // namespace rankine
