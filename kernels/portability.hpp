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

}  // namespace rankine
