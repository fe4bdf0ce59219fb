// What differs between Kokkos 3.4 (Debian 12) and 5.x, in one place: nothing else asks for the Kokkos
// version.
#pragma once

#include <cmath>
#include <cstdlib>
#include <string>

#include <Kokkos_Core.hpp>

namespace rankine {

using ExecutionSpace = Kokkos::DefaultExecutionSpace;
using MemorySpace = ExecutionSpace::memory_space;

/// True where the host may read and write what lives in MemorySpace.
inline constexpr bool kHostAccess = Kokkos::SpaceAccessibility<Kokkos::HostSpace, MemorySpace>::accessible;

/// A named interval for Kokkos tools. Kokkos 3.4 lacks Profiling::ScopedRegion.
class ScopedRegion {
 public:
  explicit ScopedRegion(const std::string& name) { Kokkos::Profiling::pushRegion(name); }
  ~ScopedRegion() { Kokkos::Profiling::popRegion(); }
  ScopedRegion(const ScopedRegion&) = delete;
  ScopedRegion& operator=(const ScopedRegion&) = delete;
};

/// Starts Kokkos if nobody has done so; it then ends when the process exits. A program that calls
/// Kokkos::initialize itself keeps its own order.
inline void ensure_kokkos() {
  if (Kokkos::is_initialized()) return;
  Kokkos::initialize();
  std::atexit([] {
    if (Kokkos::is_initialized()) Kokkos::finalize();
  });
}

}  // namespace rankine
