#include "kernels/device_info.hpp"

#include "kernels/error.hpp"

// HIP has CUDA's runtime under names of its own.
#ifdef RANKINE_HIP_BUILD
#include <hip/hip_runtime_api.h>
#define RANKINE_RUNTIME(name) hip##name
#elif defined(RANKINE_DEVICE_BUILD)
#include <cuda_runtime_api.h>
#define RANKINE_RUNTIME(name) cuda##name
#endif

namespace rankine {

std::string device_failure(const std::string& name, const std::string& doing, const std::string& cause) {
  return "the device" + (name.empty() ? "" : " (" + name + ")") + " failed in " + doing +
         ", or in a launch before it: " + cause +
         "; the last checkpoint is intact, and `rankine run --restart auto` goes on from it; if it fails "
         "again, choose another device (its errors are in `nvidia-smi -q` and the system's log), or look for "
         "the cause with compute-sanitizer";
}

#ifdef RANKINE_DEVICE_BUILD

namespace {

void check(RANKINE_RUNTIME(Error_t) error, const char* call) {
  if (error != RANKINE_RUNTIME(Success))
    throw DeviceError(device_failure("", call, RANKINE_RUNTIME(GetErrorString)(error)));
}

#ifdef RANKINE_HIP_BUILD
using Properties = hipDeviceProp_t;
#else
using Properties = cudaDeviceProp;
#endif
Properties properties(int device) {
  Properties found;
  check(RANKINE_RUNTIME(GetDeviceProperties)(&found, device), "GetDeviceProperties");
  return found;
}

std::string id_of(const Properties& device) {
  constexpr char digits[] = "0123456789abcdef";
  std::string id;
  for (const char byte : device.uuid.bytes)
    for (const int shift : {4, 0}) id += digits[(static_cast<unsigned char>(byte) >> shift) & 15];
  return id;
}

}  // namespace

DeviceInfo device_info() {
  int device = 0;
  std::size_t free = 0, total = 0;
  check(RANKINE_RUNTIME(GetDevice)(&device), "GetDevice");
  check(RANKINE_RUNTIME(MemGetInfo)(&free, &total), "MemGetInfo");
  const Properties found = properties(device);
  return {found.name, id_of(found), static_cast<double>(free), static_cast<double>(total)};
}

std::vector<std::string> visible_devices() {
  int count = 0;
  if (RANKINE_RUNTIME(GetDeviceCount)(&count) != RANKINE_RUNTIME(Success)) return {};
  std::vector<std::string> ids;
  for (int device = 0; device < count; ++device) ids.push_back(id_of(properties(device)));
  return ids;
}

std::string kernels::lasting_device_error() {
  const RANKINE_RUNTIME(Error_t) error = RANKINE_RUNTIME(PeekAtLastError)();
  return error == RANKINE_RUNTIME(Success) ? "" : RANKINE_RUNTIME(GetErrorString)(error);
}

#else

DeviceInfo device_info() { return {}; }
std::vector<std::string> visible_devices() { return {}; }
std::string kernels::lasting_device_error() { return ""; }

#endif

}  // namespace rankine
