// What differs between Kokkos 3.4 (Debian 12) and 5.x, in one place: nothing else asks for the Kokkos
// version.
#pragma once

#include <cmath>

#include <Kokkos_Core.hpp>

#include "kernels/runtime.hpp"

namespace rankine {

using ExecutionSpace = Kokkos::DefaultExecutionSpace;
using MemorySpace = ExecutionSpace::memory_space;

/// True where the host may read and write what lives in MemorySpace.
inline constexpr bool kHostAccess = Kokkos::SpaceAccessibility<Kokkos::HostSpace, MemorySpace>::accessible;

#ifdef RANKINE_DEVICE_BUILD
/// Host memory that the device reaches by itself.
using PinnedSpace = Kokkos::SharedHostPinnedSpace;
#else
using PinnedSpace = Kokkos::HostSpace;
#endif

/// Kokkos, on the GPU of this number, or one of its choice.
inline void initialize_kokkos(int device) {
#ifdef RANKINE_DEVICE_BUILD
  Kokkos::InitializationSettings settings;
  if (device >= 0) settings.set_device_id(device);
  Kokkos::initialize(settings);
#else
  static_cast<void>(device);
  char program[] = "rankine";
  char* arguments[] = {program, nullptr};
  int count = 1;
  Kokkos::initialize(count, arguments);
#endif
}

}  // namespace rankine
