#include "src/run/wall_limit.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>

namespace rankine {

double seconds_since_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::optional<double> earliest_end(const RunOptions& run) {
  std::optional<double> end;
  if (const std::optional<double> seconds = run.walltime_seconds()) end = seconds_since_epoch() + *seconds;
  if (const char* slurm = std::getenv("SLURM_JOB_END_TIME")) {
    const double at = std::strtod(slurm, nullptr);
    if (at > 0 && (!end || at < *end)) end = at;
  }
  return end;
}

void WallLimit::passed(double now) {
  if (last_) longest_ = std::max(longest_, now - *last_);
  last_ = now;
}

}  // namespace rankine
