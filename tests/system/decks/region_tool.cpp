// A tool for Kokkos that writes the names of regions to the file that REGION_TOOL_OUTPUT names, one a line,
// and `end` for each end.
#include <cstdio>
#include <cstdlib>

namespace {
std::FILE* out() {
  static std::FILE* const file = std::fopen(std::getenv("REGION_TOOL_OUTPUT"), "w");
  return file;
}
}  // namespace

extern "C" {
void kokkosp_push_profile_region(const char* name) { std::fprintf(out(), "%s\n", name); }
void kokkosp_pop_profile_region() { std::fprintf(out(), "end\n"); }
}
