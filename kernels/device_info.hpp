// The device that this process computes on, and what is said where it fails. No Kokkos here.
#pragma once

#include <string>
#include <vector>

namespace rankine {

/// Whether the program was built for a device that is not the host.
#ifdef RANKINE_DEVICE_BUILD
inline constexpr bool kDeviceBuild = true;
#else
inline constexpr bool kDeviceBuild = false;
#endif

struct DeviceInfo {
  std::string name;  ///< such as "NVIDIA H200"; empty where the device is the host
  std::string id;    ///< no other GPU has it
  double free_bytes = 0, total_bytes = 0;
};
/// Once Kokkos runs. Throws DeviceError where the device does not answer.
DeviceInfo device_info();

/// Ids of the GPUs that this process sees, in the order of their numbers; none where the device is the host.
/// Kokkos need not run.
std::vector<std::string> visible_devices();

/// "the GPU NAME failed in launch 'softmax': CAUSE; ..." with what to do. `doing`: what noticed it.
std::string device_failure(const std::string& name, const std::string& doing, const std::string& cause);

namespace kernels {
/// The last error of the device that it does not recover from, in its own words; empty where there is none.
std::string lasting_device_error();
}  // namespace kernels

}  // namespace rankine
