// What this process holds in memory.
#pragma once

#include <cstdint>

namespace rankine {

/// Bytes of physical memory that the process has held at most so far; 0 where the system does not say.
std::int64_t peak_memory_bytes();

/// Bytes of physical memory that the process holds now; 0 where the system does not say.
std::int64_t current_memory_bytes();

/// Tells the allocator to keep freed memory for the next allocation instead of giving it back to the system:
/// a training step frees and takes the same large arrays again and again, and the system clears every page
/// that it hands out. Does nothing where the allocator is not glibc's.
void keep_freed_memory();

}  // namespace rankine
