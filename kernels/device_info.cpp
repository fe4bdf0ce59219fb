#include "kernels/device_info.hpp"

#include "kernels/error.hpp"

#ifdef RANKINE_DEVICE_BUILD
#include <cuda_runtime_api.h>
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

void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) throw DeviceError(device_failure("", call, cudaGetErrorString(error)));
}

cudaDeviceProp properties(int device) {
  cudaDeviceProp found;
  check(cudaGetDeviceProperties(&found, device), "cudaGetDeviceProperties");
  return found;
}

std::string id_of(const cudaDeviceProp& device) {
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
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const cudaDeviceProp found = properties(device);
  return {found.name, id_of(found), static_cast<double>(free), static_cast<double>(total)};
}

std::vector<std::string> visible_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return {};
  std::vector<std::string> ids;
  for (int device = 0; device < count; ++device) ids.push_back(id_of(properties(device)));
  return ids;
}

std::string kernels::lasting_device_error() {
  const cudaError_t error = cudaPeekAtLastError();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

#else

DeviceInfo device_info() { return {}; }
std::vector<std::string> visible_devices() { return {}; }
std::string kernels::lasting_device_error() { return ""; }

#endif

}  // namespace rankine
