// HDF5 does not withstand hostile or damaged files: it may crash, ask for any amount of memory, or never
// return. So what is going to be read from a file of others is first read in a child process with limits.
// Only where that went well does this process do the same.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace rankine {

struct RehearsalLimits {
  std::uint64_t memory = 0;  ///< bytes beyond what this process has now; 0: by the size of the file
  int seconds = 0;           ///< of processor time; 0: by the size of the file
};

/// Calls `work`, which reads the file `path`, in a child process, whose results are lost. Throws InputError
/// with the message of what `work` throws there, or with one that names the file where the child dies or goes
/// beyond its limits. `work` must not communicate.
void rehearse(const std::string& path, const std::function<void()>& work, RehearsalLimits limits = {});

}  // namespace rankine
