// What this process holds in memory.
#pragma once

#include <cstdint>

namespace rankine {

/// Bytes of physical memory that the process has held at most so far; 0 where the system does not say.
std::int64_t peak_memory_bytes();

/// Bytes of physical memory that the process holds now; 0 where the system does not say.
std::int64_t current_memory_bytes();

}  // namespace rankine
